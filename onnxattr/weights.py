"""Where a model's weights are: inside the file, or beside it in files of their own."""

from __future__ import annotations

import hashlib
import math
import os
from pathlib import Path
from typing import Any

import onnx
import onnx.external_data_helper
from google.protobuf.message import EncodeError

from onnxattr.errors import ModelError

#: External tensors up to this size are read at once: they may be shapes, which inference and the runtime must see.
_SMALL = 4096


def with_small_data(proto: onnx.ModelProto, folder: Path | None) -> onnx.ModelProto:
    """A model whose small external tensors are inside it.

    Raises:
        ModelError: If a file of weights is missing.
    """

    def is_small(tensor: onnx.TensorProto) -> bool:
        return tensor.data_location == onnx.TensorProto.EXTERNAL and math.prod(tensor.dims) * 8 <= _SMALL

    if not any(map(is_small, proto.graph.initializer)):
        return proto
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for tensor in filter(is_small, copy.graph.initializer):
        read(tensor, folder)
    return copy


def read(tensor: onnx.TensorProto, folder: Path | None) -> None:
    """Reads an external tensor into the model.

    Raises:
        ModelError: If its file is missing.
    """
    try:
        onnx.external_data_helper.load_external_data_for_tensor(tensor, str(folder or ""))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelError(f"The weights of {tensor.name!r} are not beside the model: {error}.") from error
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]


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
