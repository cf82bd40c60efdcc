"""Reads a model from whatever the caller has."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError, EncodeError

from onnxattr.errors import ModelError

ModelSource = Any


def read_proto(source: ModelSource) -> tuple[onnx.ModelProto, Path | None]:
    """Reads a model without its external data; returns it with the folder that holds that data.

    Args:
        source: A path, the bytes of a file, an ``onnx.ModelProto``, an ``onnx_ir.Model``, or a Keras model.

    Raises:
        ModelError: If the file is missing, damaged or not ONNX, or the object is none of the above.
    """
    if isinstance(source, onnx.ModelProto):
        return source, None
    if isinstance(source, ir.Model):
        return ir.serde.serialize_model(source), None
    if isinstance(source, bytes):
        return _parse(source, "the given bytes"), None
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if is_keras(path):
            return _convert_keras(path), None
        if not path.is_file():
            raise ModelError(f"{path} does not exist or is not a file; expected the path of an ONNX model.")
        return _parse(path.read_bytes(), str(path)), path.parent
    if any(cls.__module__.split(".")[0] in ("keras", "tf_keras") for cls in type(source).__mro__):
        return _convert_keras(source), None
    raise ModelError(
        f"A model was given as {type(source).__name__}; expected a path, the bytes of an ONNX file, an "
        "onnx.ModelProto, an onnx_ir.Model or a Keras model."
    )


def is_keras(path: Path) -> bool:
    """Whether a path is that of a Keras model: a file, or the folder of a SavedModel."""
    return path.suffix in (".keras", ".h5", ".hdf5") or (path / "saved_model.pb").exists()


def _convert_keras(model: Any) -> onnx.ModelProto:
    from onnxattr.converters import keras

    return keras.to_onnx(model)


def _parse(data: bytes, where: str) -> onnx.ModelProto:
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise ModelError(f"{where} is not an ONNX model, or is damaged: {error}. Export it again.") from error
    if not proto.graph.node and not proto.graph.output:
        raise ModelError(f"{where} holds no ONNX graph ({len(data)} bytes read). Export the model again.")
    return proto


def digest(source: Any, proto: onnx.ModelProto) -> str:
    """The SHA-256 of a model's file, or of what its file would be; empty for one too large for a single file."""
    if isinstance(source, (str, os.PathLike)) and Path(source).is_file():
        with open(source, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    try:
        return hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest()
    except (ValueError, EncodeError):
        return ""
