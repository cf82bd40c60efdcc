"""Layers of PyTorch modules that its exporter does not take, or writes without a part of them."""

from typing import Any

from onnxattr.errors import ConversionError

#: How the modules are called in which layers are that compute with integers.
_INTEGER_LAYERS = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized")


def check_layers(torch: Any, module: Any) -> None:
    """Refuses layers that the exporter writes without a part of them, or does not take.

    Raises:
        ConversionError: If there is one.
    """
    for path, part in module.named_modules():
        kind = type(part)
        if kind.__module__.startswith(_INTEGER_LAYERS) and any(
            hasattr(part, name) for name in ("_packed_params", "get_weight")
        ):
            dynamic = ".dynamic" in kind.__module__
            raise ConversionError(
                f"Layer {path or kind.__name__!r} ({kind.__name__}) is quantised by torch.ao, with weights that "
                "torch.export does not see. "
                + ("No exporter has an ONNX form of it: convert the module that was quantised. " if dynamic else
                   "The older exporter writes it as QuantizeLinear and DequantizeLinear, into a file to explain: "
                   "torch.onnx.export(module, inputs, path, dynamo=False). ")
                + "The maps of the float module show what the weights do before they are rounded."
            )  # fmt: skip
        if isinstance(part, torch.nn.LSTM) and part.proj_size:
            raise ConversionError(
                f"Layer {path or type(part).__name__!r} is an LSTM with proj_size={part.proj_size}, for which ONNX "
                "has no place, and which the exporter leaves out. Project its output by a Linear layer, or write the "
                "steps in a loop of nn.LSTMCell."
            )


def compiled(torch: Any, source: Any) -> str:
    """Which layers are compiled by torch.jit, where an export has failed: of some it is the reason."""
    parts = source.named_modules() if isinstance(source, torch.nn.Module) else ()
    paths = [path for path, part in parts if isinstance(part, torch.jit.ScriptModule)]
    if not paths:
        return ""
    return f" Layer {paths[0]!r} is compiled by torch.jit: put the module that it was made of in its place."
