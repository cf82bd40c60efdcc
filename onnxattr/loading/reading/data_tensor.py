"""Tensors in data files that have been checked, as onnx_ir holds them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir


class DataTensor(ir.ExternalTensor):
    """A tensor in a data file that has been checked, which is read also where the file has several names."""

    def __init__(self, tensor: ir.ExternalTensor):
        where, what = (tensor.offset, tensor.length, tensor.dtype), (tensor.shape, tensor.name)
        super().__init__(
            tensor.location, *where, shape=what[0], name=what[1], base_dir=tensor.base_dir
        )  # fmt: skip
        # With no folder onnx-ir checks nothing itself: it would refuse a file with several hard links.
        self._data = ir.ExternalTensor(os.path.abspath(tensor.path), *where, shape=what[0], name=what[1])

    def numpy(self) -> Any:
        """The tensor as an array, mapped into memory."""
        return self._data.numpy()

    def tobytes(self) -> bytes:
        """The bytes of the tensor."""
        return self._data.tobytes()

    def tofile(self, file: Any) -> None:
        """Writes the bytes of the tensor to a file."""
        self._data.tofile(file)

    def __array__(self, dtype: Any = None) -> Any:
        return self._data.__array__(dtype)


def place_tensors(graph: ir.Graph, folder: Path | None) -> None:
    """Lets the external tensors of a graph be read where they were located, not in the current folder."""
    for value in graph.initializers.values():
        tensor = value.const_value
        if isinstance(tensor, ir.ExternalTensor):
            tensor.base_dir = str(folder or "")
            value.const_value = DataTensor(tensor)


def reshaped(tensor: ir.TensorProtocol, shape: Sequence[int]) -> ir.TensorProtocol:
    """The same elements in another shape; those of a data file stay there."""
    if isinstance(tensor, ir.ExternalTensor):
        where = (tensor.location, tensor.offset, tensor.length, tensor.dtype)
        return DataTensor(
            ir.ExternalTensor(*where, shape=ir.Shape(shape), name=tensor.name, base_dir=tensor.base_dir)
        )
    return ir.Tensor(tensor.numpy().reshape(shape), dtype=tensor.dtype)
