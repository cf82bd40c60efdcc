"""Tensors of PyTorch and TensorFlow as NumPy can read them."""

from __future__ import annotations

from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """A tensor of PyTorch on the CPU, written out, of a type that NumPy has, also those in lists; else as it is."""
    if isinstance(value, (list, tuple)) and _of_tensors(value):
        return [plain(each) for each in value]
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


def _of_tensors(value: Any) -> bool:
    """Whether the first thing in nested lists is a tensor of PyTorch."""
    while isinstance(value, (list, tuple)) and len(value):
        value = value[0]
    return hasattr(value, "detach")


def dense(value: Any) -> Any:
    """A sparse matrix of SciPy or a sparse tensor of TensorFlow with its zeros; anything else as it is."""
    if is_sparse(value):
        return value.toarray()
    if all(hasattr(value, name) for name in ("indices", "values", "dense_shape")):
        numbers = np.asarray(value.values)
        found = np.zeros(np.asarray(value.dense_shape), numbers.dtype)
        found[tuple(np.asarray(value.indices).T)] = numbers
        return found
    return value


def is_sparse(value: Any) -> bool:
    """Whether something is a sparse matrix or array of SciPy, which NumPy takes for an object."""
    return hasattr(value, "toarray") and hasattr(value, "nnz")


def not_yet_an_array(value: Any) -> str | None:
    """What to do with something that is no array of numbers as it is; None for anything else."""
    if hasattr(value, "row_splits") and hasattr(value, "to_tensor"):
        return "its rows may have different lengths; fill them up to one length first: x.to_tensor()"
    if hasattr(value, "collect") and hasattr(value, "lazy"):
        return "it is a table that is not computed yet; compute it first: x.collect()"
    return None
