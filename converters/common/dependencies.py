"""Lazy imports of TensorFlow, Keras and tf2onnx, with errors that say what to install.

Nothing else in onnxattr imports these packages, and this module imports them only when a conversion starts.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

from onnxattr.errors import ConversionError, RuntimeMissingError

# Private functions of tf2onnx that the converter calls; the public ones repeat the freezing or hide failures.
_TF2ONNX_FUNCTIONS = {
    "tf2onnx.convert": ("_convert_common",),
    "tf2onnx.tf_loader": ("from_function",),
}


def tensorflow() -> Any:
    """Import TensorFlow.

    Raises:
        ConversionError: TensorFlow is not installed.
    """
    return _import("tensorflow")


def tf2onnx() -> Any:
    """Import tf2onnx and check that the private functions used here are where they were in 1.17.0.

    Raises:
        ConversionError: tf2onnx is not installed, or is a version without those functions.
    """
    package = _import("tf2onnx")
    for module_name, attributes in _TF2ONNX_FUNCTIONS.items():
        module = importlib.import_module(module_name)
        for attribute in attributes:
            if not hasattr(module, attribute):
                raise ConversionError(
                    f"tf2onnx {package.__version__} has no {module_name}.{attribute}, which the Keras converter "
                    "calls. It is tested with tf2onnx 1.17.0: pip install 'tf2onnx==1.17.0'"
                )
    return package


def keras() -> Any:
    """Import Keras 3 on its TensorFlow backend.

    Raises:
        ConversionError: Keras is not installed, is older than 3, or runs on another backend.
    """
    package = _import("keras")
    if int(package.__version__.split(".")[0]) < 3:
        raise ConversionError(
            f"Keras {package.__version__} is installed, Keras 3 is needed: pip install 'onnxattr[keras]'. "
            "Keras 2 models convert through the tf_keras package."
        )
    backend = package.backend.backend()
    if backend != "tensorflow":
        raise ConversionError(
            f"Keras runs on the {backend!r} backend here, the converter traces TensorFlow graphs. Set the "
            "environment variable KERAS_BACKEND=tensorflow before Python starts and load the model again."
        )
    return package


def onnxruntime() -> Any:
    """Import ONNX Runtime.

    Raises:
        RuntimeMissingError: ONNX Runtime is not installed.
    """
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise RuntimeMissingError(
            "Checking a converted model needs ONNX Runtime: pip install 'onnxattr[cpu]' (or [gpu]). "
            "to_onnx(..., verify=False) converts without the check."
        ) from error


def keras_packages() -> list[ModuleType]:
    """Those of keras and tf_keras that are imported already; a model object's own package is among them."""
    return [sys.modules[name] for name in ("keras", "tf_keras") if name in sys.modules]


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConversionError(
            f"Converting a Keras model needs the package {name!r}, which cannot be imported ({error}): "
            "pip install 'onnxattr[keras]'"
        ) from error
