"""Reads a model from whatever the caller has."""

from __future__ import annotations

import hashlib
import importlib
import io
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError, EncodeError

from onnxattr.errors import ModelError, one_door
from onnxattr.home import at_home
from onnxattr.loading.reading.external_data import Located, locate
from onnxattr.loading.reading.other_files import told_by_content
from onnxattr.loading.reading.wellformed import check_wellformed

ModelSource = Any
#: What holds the bytes of a file.
BYTES = (bytes, bytearray, memoryview, io.BytesIO)
#: What protobuf can read at most.
_LARGEST = 2**31 - 1


def read_model(source: ModelSource) -> Located:
    """Reads a model and finds its external data; the arguments and errors are those of ``read_proto``.

    Raises:
        ModelError: If its external data is not in regular files of its folder, or not as the model says.
    """
    source = at_home(source)
    proto = read_proto(source)
    check_wellformed(proto)
    if not isinstance(source, (str, os.PathLike)):
        return locate(proto, None, _folder_of(source))
    path = Path(source)
    located = locate(proto, None if is_keras(path) else path)
    return replace(located, files=(path, *located.files) if path.is_file() else located.files)


def metadata_of(proto: onnx.ModelProto) -> dict[str, str]:
    """The metadata of a model, by their keys."""
    return {entry.key: entry.value for entry in proto.metadata_props}


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The metadata of an ONNX file; none for a Keras model, which is not converted for them.

    Raises:
        ModelError: If the file is missing, damaged or not ONNX.
    """
    if is_keras(Path(at_home(path))):
        return {}
    with one_door(f"{path} cannot be read"):
        return metadata_of(read_proto(path))


def read_proto(source: ModelSource) -> onnx.ModelProto:
    """Reads a model without its external data.

    Args:
        source: A path, the bytes of a file or a buffer of them, an ``onnx.ModelProto``, an ``onnx_ir.Model``, or a
            model of Keras, PyTorch or scikit-learn.

    Raises:
        ModelError: If the file is missing, damaged or not ONNX, or the object is none of the above.
    """
    if isinstance(source, onnx.ModelProto):
        return source
    if isinstance(source, ir.Model):
        return ir.serde.serialize_model(source)
    if (given := bytes_given(source)) is not None:
        return _parse(given, "the given bytes")
    if isinstance(source, (str, os.PathLike)):
        path = Path(at_home(source))
        if is_keras(path):
            proto: onnx.ModelProto = converter("keras").to_onnx(path)
            return proto
        return _parse(_bytes_of(path), str(path))
    found: onnx.ModelProto = converted(source)
    if found is not source:
        return found
    raise ModelError(
        f"A model was given as {type(source).__name__}; expected a path, the bytes of an ONNX file, an "
        "onnx.ModelProto, an onnx_ir.Model, a Keras model, a PyTorch module or a scikit-learn estimator."
        f"{_instead_of(source)}"
    )


def bytes_given(source: Any) -> bytes | None:
    """The bytes of a file, if that is what was given: bytes, or a buffer of them."""
    if not isinstance(source, BYTES):
        return None
    return source.getvalue() if isinstance(source, io.BytesIO) else bytes(source)


def _instead_of(source: Any) -> str:
    """What to give instead of an object that stands for a model."""
    if type(source).__name__ == "InferenceSession":
        return " A session does not hold its model: give the file that it was made of."
    if hasattr(source, "read"):
        return " Give the path of an open file, or what its read() returns."
    return ""


def converted(source: ModelSource, sample: Any = None, keep: Sequence[str] = ()) -> ModelSource:
    """The ONNX model of an object of Keras, PyTorch or scikit-learn; anything else as it is.

    Args:
        source: What was given as a model.
        sample: One batch as the model takes it, which converting may need; not looked at for other models.
        keep: Paths of layers of Keras or PyTorch models whose outputs must stay values of the graph.

    Raises:
        ConversionError: If the model cannot be converted.
    """
    framework = framework_of(source)
    if framework is None:
        return at_home(source)
    return converter("objects").to_onnx(source, framework, sample, keep)


def converter(name: str) -> Any:
    """A module of the converters. They are built on this package, so they are looked up by name when one is needed."""
    return importlib.import_module(f"onnxattr.converters.{name}")


def framework_of(source: Any) -> str | None:
    """The framework whose model an object is: "keras", "torch" or "sklearn"; None for files and ONNX models."""
    packages = {cls.__module__.split(".")[0] for cls in type(source).__mro__}
    names = {"keras": "keras", "tf_keras": "keras", "torch": "torch", "sklearn": "sklearn"}
    return next((names[package] for package in names if package in packages), None)


def is_keras(path: Path) -> bool:
    """Whether a path is that of a Keras model: a file, or the folder of a SavedModel."""
    return path.suffix in (".keras", ".h5", ".hdf5") or (path / "saved_model.pb").exists()


def _bytes_of(path: Path) -> bytes:
    """The bytes of a regular file that protobuf can read."""
    try:
        size = path.stat().st_size if path.is_file() else None
        if size is None:
            raise ModelError(f"{path} does not exist or is not a file; expected the path of an ONNX model.")
        if size > _LARGEST:
            raise ModelError(
                f"{path} has {size} bytes; a file of protobuf has up to {_LARGEST}. "
                "Export the model with external data."
            )
        with open(path, "rb") as file:
            # No field of protobuf starts with 0: what may be gigabytes of zeros is not read.
            if file.peek(1)[:1] == b"\0":
                raise ModelError(f"{path} is not an ONNX model: it starts with a zero. Export it again.")
            return file.read()
    except (OSError, ValueError) as error:
        raise ModelError(f"{str(path)!r} cannot be read: {error}. Give the path of an ONNX model.") from error


def _folder_of(source: Any) -> Path | None:
    """The folder of the external data of a model of onnx-ir.

    Raises:
        ModelError: If there are several.
    """
    if not isinstance(source, ir.Model):
        return None
    tensors = (value.const_value for value in source.graph.initializers.values())
    folders = {os.path.realpath(t.base_dir or ".") for t in tensors if isinstance(t, ir.ExternalTensor)}
    if len(folders) > 1:
        raise ModelError(
            f"The model's external data is in several folders {sorted(folders)[:3]}; save it with its data in one."
        )
    return Path(folders.pop()) if folders else None


def _parse(data: bytes, where: str) -> onnx.ModelProto:
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        if kind := told_by_content(data):
            raise ModelError(f"{where} is not an ONNX model: it is {kind}.") from error
        raise ModelError(
            f"{where} is not an ONNX model, or is damaged or nested too deeply: {error}. Export it again."
        ) from error
    if not proto.graph.node and not proto.graph.output:
        if os.path.basename(where) == "saved_model.pb":
            raise ModelError(f"{where} is part of a SavedModel of TensorFlow: give the folder that it is in.")
        raise ModelError(f"{where} holds no ONNX graph ({len(data)} bytes read). Export the model again.")
    return proto


def default_opset(proto: onnx.ModelProto) -> int:
    """The ai.onnx opset of a model; 0 if it imports none."""
    return next(
        (entry.version for entry in reversed(proto.opset_import) if entry.domain in ("", "ai.onnx")), 0
    )


def name_of(source: ModelSource) -> str:
    """What errors call a model."""
    return str(Path(source)) if isinstance(source, (str, os.PathLike)) else "The model"


def digest(source: Any, proto: onnx.ModelProto) -> str:
    """The SHA-256 of a model's file, or of what its file would be; empty for one too large for a single file."""
    source = at_home(source)
    if isinstance(source, (str, os.PathLike)) and Path(source).is_file():
        with open(source, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    if (given := bytes_given(source)) is not None:
        return hashlib.sha256(given).hexdigest()
    proto = source if isinstance(source, onnx.ModelProto) else proto
    try:
        return hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest()
    except (ValueError, EncodeError):
        return ""
