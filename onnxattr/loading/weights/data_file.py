"""A file of weights: the large tensors of one model or of several, each content once."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO

import onnx
from google.protobuf.message import DecodeError

from onnxattr.loading.reading.external_data import read, set_entry
from onnxattr.loading.reading.own_data import NAME

#: Tensors from this size on go into a file of weights, each at a page boundary so that it can be mapped.
_LARGE, _PAGE = 1024, 4096
_FIELDS = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data")


class DataFile:
    """Writes the large tensors of models into an open file; equal contents, of whatever model, stand there once."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._offsets: dict[bytes, int] = {}

    @property
    def empty(self) -> bool:
        """Whether no model had a large tensor."""
        return not self._offsets

    def take(self, proto: onnx.ModelProto, folder: Path | None) -> list[onnx.TensorProto]:
        """Moves the large tensors of a model into the file.

        Args:
            proto: The model; changed in place.
            folder: Where its external tensors are now.

        Returns:
            The tensors that were moved, which still need the name of the file as their "location".
        """
        moved = []
        for tensor in proto.graph.initializer:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                read(tensor, folder)
            if tensor.ByteSize() < _LARGE or tensor.data_type == onnx.TensorProto.STRING:
                continue
            raw = tensor.raw_data or onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor)).raw_data
            for field in _FIELDS:
                tensor.ClearField(field)
            tensor.data_location = onnx.TensorProto.EXTERNAL
            set_entry(tensor, "offset", str(self._place(raw)))
            set_entry(tensor, "length", str(len(raw)))
            moved.append(tensor)
        return moved

    def _place(self, raw: bytes) -> int:
        """Where some bytes are in the file, at the end of which they are written if they are new."""
        content = hashlib.sha256(raw).digest()
        if content not in self._offsets:
            self._file.write(b"\0" * (-self._file.tell() % _PAGE))
            self._offsets[content] = self._file.tell()
            self._file.write(raw)
        return self._offsets[content]


def own_data_of(path: Path) -> str:
    """The name of the data file that was written together with the model at a path; empty if there is none."""
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(path.read_bytes())
    except (OSError, DecodeError):
        return ""
    return next((kept.value for kept in proto.metadata_props if kept.key == NAME), "")
