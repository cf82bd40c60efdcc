"""What a file given to `onnxattr convert` is, as far as its name tells."""

import os
from pathlib import Path

from onnxattr.errors import ConversionError

_TORCH = (".pt2", ".pt", ".pth", ".ckpt", ".safetensors")
_SKLEARN = (".pkl", ".pickle", ".joblib", ".skops")


def refuse_others(path: str | os.PathLike[str]) -> None:
    """Refuse files that no converter reads, those whose loading runs code of theirs among them.

    Args:
        path: What shall be converted.

    Raises:
        ConversionError: Says what to do in Python for a PyTorch or scikit-learn file.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".onnx":
        raise ConversionError(
            f"{path} is ONNX already: `onnxattr explain` and `onnxattr export` take it as it is."
        )
    if suffix in _TORCH:
        raise ConversionError(
            f"{path} is a PyTorch file. It holds weights, or pickled objects that can run code while they are loaded, "
            "so it is not opened here. If you trust it, load it in Python (torch.export.load for .pt2; or make the "
            "module and load its state dict) and call onnxattr.converters.torch.to_onnx(module, example_inputs, path)."
        )
    if suffix in _SKLEARN:
        raise ConversionError(
            f"{path} holds pickled objects, which can run code while they are loaded, so it is not opened here. "
            "If you trust it, load the estimator in Python and call "
            "onnxattr.converters.sklearn.to_onnx(estimator, sample, path)."
        )
