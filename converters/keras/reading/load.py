"""Load Keras models from files without running code from them: `.keras`, `.h5`, `.hdf5`, SavedModel folders."""

import contextlib
import importlib.util
import os
import re
from pathlib import Path
from typing import Any

from onnxattr.errors import ConversionError
from onnxattr.home import at_home

from ...common import dependencies
from ...common.causes import cause
from . import archive as keras_archive
from . import guard as keras_guard
from .budget import weights_within
from .saved_model_layers import load_saved_model
from .saved_models import SavedSignature, refuse_signature
from .steps import steps_within

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_OWN_CODE = (
    "Load the model yourself and pass the object: to_onnx(keras.models.load_model(path, custom_objects=..., "
    "compile=False)), with tf_keras in place of keras for a file of Keras 2"
)


def load(model_or_path: Any, trust: bool = False, signature: str | None = None) -> Any:
    """The model itself, or the one a path leads to.

    Args:
        model_or_path: A Keras 3 or tf_keras model, a path, or a SavedSignature.
        trust: Load a file whatever is in it, Python code too.
        signature: Which one of a SavedModel folder; its only one or "serving_default" if None.

    Returns:
        The Keras model, or a `SavedSignature` for a SavedModel folder.

    Raises:
        ConversionError: Not a Keras model; no such file; another or a damaged format; a file that may do
            more than compute, without trust; a signature of anything but a SavedModel that has it.
    """
    if isinstance(model_or_path, (str, os.PathLike)):
        return _load_path(Path(at_home(model_or_path)), trust, signature)
    refuse_signature(signature, f"a {type(model_or_path).__name__} was given")
    dependencies.tensorflow()
    packages = dependencies.keras_packages()
    if isinstance(model_or_path, SavedSignature) or any(isinstance(model_or_path, p.Model) for p in packages):
        if type(model_or_path).__module__.startswith("keras."):
            dependencies.keras()
        return model_or_path
    if any(isinstance(model_or_path, package.layers.Layer) for package in packages):
        raise ConversionError(
            f"A layer ({type(model_or_path).__name__}) was given, a whole Keras model is needed: wrap it as "
            "keras.Sequential([keras.Input(shape), layer])."
        )
    kind = type(model_or_path)
    raise ConversionError(
        f"A Keras model or the path of one is needed, got {kind.__module__}.{kind.__qualname__}. ONNX models are "
        "used as they are and need no conversion."
    )


def _load_path(path: Path, trust: bool, signature: str | None) -> Any:
    if not path.exists():
        raise ConversionError(f"There is no file or folder {str(path)!r}.")
    if path.is_dir():
        if not (path / "saved_model.pb").is_file():
            raise ConversionError(
                f"The folder {str(path)!r} is no SavedModel: it has no saved_model.pb. Pass a .keras, .h5 or .hdf5 "
                "file, or the folder that model.export() wrote."
            )
        return load_saved_model(path, trust, signature)
    refuse_signature(signature, f"{str(path)!r} is none")
    if not path.is_file():
        raise ConversionError(f"{str(path)!r} is a device or a pipe. Pass a file, or a SavedModel folder.")
    hdf5 = _is_hdf5(path)
    suffixes = (".h5", ".hdf5") if hdf5 else (".keras",)
    if path.suffix not in suffixes:
        raise ConversionError(
            f"{str(path)!r} holds a Keras model of the format {suffixes[0]}; rename it to end in "
            f"{' or '.join(suffixes)}."
        )
    dependencies.keras()
    if trust:
        return _load_keras_file(path, None)
    stored = keras_archive.read_hdf5(path) if hdf5 else keras_archive.read_zip(path)
    keras_guard.check(stored.config, path)
    return _load_keras_file(path, stored.elements)


def _is_hdf5(path: Path) -> bool:
    """True for HDF5, False for a `.keras` archive."""
    try:
        with open(path, "rb") as file:
            start = file.read(8)
    except OSError as error:
        raise ConversionError(f"{str(path)!r} cannot be read: {error}.") from error
    if start == _HDF5_MAGIC:
        return True
    if not start.startswith(b"PK") or not keras_archive.is_keras_zip(path):
        raise ConversionError(
            f"{str(path)!r} is no Keras model file: its contents are neither those of a .keras file (zip with "
            "config.json) nor HDF5. It may be damaged or incomplete; save the model again with "
            "model.save('model.keras')."
        )
    return False


def _load_keras_file(path: Path, elements: int | None) -> Any:
    """Load with Keras 3, or with tf_keras what only Keras 2 understands.

    Args:
        path: The file.
        elements: Number of elements of the stored weights, which bounds what is made; None if the file is trusted.
    """
    try:
        return _load_with(dependencies.keras(), path, elements)
    except ConversionError:
        raise
    except Exception as error:
        first = error
    others = ""
    if importlib.util.find_spec("tf_keras") is not None:
        import tf_keras

        try:
            return _load_with(tf_keras, path, elements)
        except ConversionError:
            raise
        except Exception as error:
            others = f"; nor can tf_keras, which reads files of Keras 2: {cause(error)}"
    if own := re.search(r"Could not locate (class|function) '([^']+)'", str(first)):
        raise ConversionError(
            f"Keras cannot load {str(path)!r}: the {own[1]} {own[2]!r} in it is its author's own, and no imported "
            "module has registered it. Import the one that does (@keras.saving.register_keras_serializable()). Or: "
            f"{_OWN_CODE}."
        ) from first
    raise ConversionError(f"Keras cannot load {str(path)!r}: {cause(first)}{others}. {_OWN_CODE}") from first


def _load_with(package: Any, path: Path, elements: int | None) -> Any:
    bounded = contextlib.nullcontext() if elements is None else weights_within(elements, path)
    with bounded, steps_within():
        return package.models.load_model(path, compile=False, safe_mode=elements is not None)
