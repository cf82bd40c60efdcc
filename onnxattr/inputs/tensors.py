"""Tensors of PyTorch as NumPy can read them."""

from __future__ import annotations

from typing import Any


def plain(value: Any) -> Any:
    """A tensor of PyTorch on the CPU, written out, of a type that NumPy has; anything else as it is."""
    if not hasattr(value, "detach"):
        return value
    tensor = value.detach().cpu()
    if getattr(tensor, "is_quantized", False):
        tensor = tensor.dequantize()
    if str(getattr(tensor, "layout", "torch.strided")) != "torch.strided":
        tensor = tensor.to_dense()
    if any(name in str(getattr(tensor, "dtype", "")) for name in ("bfloat16", "float8")):
        tensor = tensor.float()
    return tensor.resolve_neg() if hasattr(tensor, "resolve_neg") else tensor
