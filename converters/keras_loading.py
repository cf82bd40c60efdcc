"""Load Keras models from files without running code from them: `.keras`, `.h5`, `.hdf5`, SavedModel folders."""

import importlib.util
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnxattr.errors import ConversionError

from . import dependencies

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_OWN_CODE = (
    "Load the model yourself and pass the object: to_onnx(keras.models.load_model(path, custom_objects=..., "
    "compile=False))"
)


@dataclass(frozen=True)
class SavedSignature:
    """The serving signature of a SavedModel: a function without layers.

    Attributes:
        name: Name of the folder.
        function: The concrete function.
        weights: The variables it reads.
        layers: Always empty; a signature remembers no layers.
        owner: The loaded object, which keeps the variables alive.
    """

    name: str
    function: Any
    weights: Sequence[Any]
    owner: Any = field(repr=False)
    layers: tuple[Any, ...] = ()


def load(model_or_path: Any) -> Any:
    """The model itself, or the one a path leads to.

    Args:
        model_or_path: A Keras 3 or tf_keras model, a path, or a SavedSignature.

    Returns:
        The Keras model, or a `SavedSignature` for a SavedModel folder.

    Raises:
        ConversionError: Not a Keras model; no such file; another or a damaged format; a file that holds Python code.
    """
    if isinstance(model_or_path, (str, os.PathLike)):
        return _load_path(Path(model_or_path))
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


def _load_path(path: Path) -> Any:
    if not path.exists():
        raise ConversionError(f"There is no file or folder {str(path)!r}.")
    if path.is_dir():
        if not (path / "saved_model.pb").exists():
            raise ConversionError(
                f"The folder {str(path)!r} is no SavedModel: it has no saved_model.pb. Pass a .keras, .h5 or .hdf5 "
                "file, or the folder that model.export() wrote."
            )
        return _load_saved_model(path)
    with open(path, "rb") as file:
        start = file.read(8)
    if start == _HDF5_MAGIC:
        _check_hdf5(path)
    elif not start.startswith(b"PK") or not _is_keras_zip(path):
        raise ConversionError(
            f"{str(path)!r} is no Keras model file: its contents are neither those of a .keras file (zip with "
            "config.json) nor HDF5. It may be damaged or incomplete; save the model again with "
            "model.save('model.keras')."
        )
    suffixes = (".h5", ".hdf5") if start == _HDF5_MAGIC else (".keras",)
    if path.suffix not in suffixes:
        raise ConversionError(
            f"{str(path)!r} holds a Keras model of the format {suffixes[0]}; rename it to end in "
            f"{' or '.join(suffixes)}."
        )
    return _load_keras_file(path)


def _load_keras_file(path: Path) -> Any:
    """Load with Keras 3, or with tf_keras what only Keras 2 understands."""
    try:
        return dependencies.keras().models.load_model(path, compile=False, safe_mode=True)
    except ConversionError:
        raise
    except Exception as error:
        first = error
    if _asks_for_code(first):
        raise ConversionError(
            f"{str(path)!r} contains Python code (a Lambda layer), which is not run from a file. If you trust "
            "the file, load it yourself and pass the model: to_onnx(keras.models.load_model(path, safe_mode=False))"
        ) from first
    if importlib.util.find_spec("tf_keras") is not None and not _has_lambda(path):
        import tf_keras

        try:
            return tf_keras.models.load_model(path, compile=False, safe_mode=True)
        except Exception:
            pass  # the error of Keras 3 below says more
    raise ConversionError(
        f"Keras cannot load {str(path)!r}: {type(first).__name__}: {' '.join(str(first).split())[:500]}. {_OWN_CODE}"
    ) from first


def _asks_for_code(error: Exception) -> bool:
    text = str(error)
    return "safe_mode" in text or "unsafe" in text.lower()


def _has_lambda(path: Path) -> bool:
    """Whether the configuration in a file has a Lambda layer; tf_keras would run the code of one in HDF5 files."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            config = archive.read("config.json").decode(errors="replace")
    else:
        config = _hdf5_config(path) or ""
    return '"Lambda"' in config


def _is_keras_zip(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return "config.json" in archive.namelist()
    except zipfile.BadZipFile:
        return False


def _hdf5_config(path: Path) -> str | None:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            config = file.attrs.get("model_config")
    except OSError as error:
        raise ConversionError(f"The HDF5 file {str(path)!r} is damaged or incomplete: {error}") from error
    return config.decode() if isinstance(config, bytes) else config


def _check_hdf5(path: Path) -> None:
    dependencies.keras()
    if _hdf5_config(path) is None:
        raise ConversionError(
            f"{str(path)!r} holds weights only, not the model. Build the model in Python, call "
            "model.load_weights(path) and pass the model to to_onnx."
        )


def _revived(path: Path) -> Any:
    """The tf_keras model that a SavedModel remembers, with its layers; None if it remembers none or others' code.

    A Lambda layer's code would be run. Layers that are not tf_keras' own would be imitations of themselves.
    """
    metadata = path / "keras_metadata.pb"
    if (
        not metadata.is_file()
        or importlib.util.find_spec("tf_keras") is None
        or b"Lambda" in metadata.read_bytes()
    ):
        return None
    import tf_keras

    try:
        model = tf_keras.models.load_model(path, compile=False)
    except Exception:
        return None  # its signature remains
    layers = [layer for layer in model._flatten_layers() if layer is not model]
    own = all(type(layer).__module__.startswith("tf_keras.src.") for layer in [model, *layers])
    return model if own and layers and type(model).__name__ in ("Functional", "Sequential") else None


def _load_saved_model(path: Path) -> Any:
    tf = dependencies.tensorflow()
    model = _revived(path)
    if model is not None:
        return model
    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:
        raise ConversionError(
            f"TensorFlow cannot load the SavedModel {str(path)!r}: {type(error).__name__}: {error}"
        ) from error
    signatures = dict(getattr(loaded, "signatures", {}))
    name = "serving_default" if "serving_default" in signatures else next(iter(sorted(signatures)), None)
    if name is None:
        raise ConversionError(
            f"The SavedModel {str(path)!r} has no signature, so its inputs and outputs have no names. Save it with "
            "model.export(folder), or pass the model object."
        )
    function = signatures[name]
    return SavedSignature(path.name, function, tuple(function.variables), loaded)
