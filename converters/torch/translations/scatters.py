"""Functions of PyTorch that fold elements of groups, as pools of graph networks do, written in operators of ONNX."""

import importlib
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from .elementwise import operators

_REDUCTIONS = {"sum": "add", "mean": "add", "prod": "mul", "amin": "min", "amax": "max"}
_NOTHING = {"sum": 0.0, "mean": 0.0, "prod": 1.0, "amin": math.inf, "amax": -math.inf}


def scattered(self: Any, dim: int, index: Any, src: Any) -> Any:
    """y[i[k]] = the k-th of the source, which may be larger than the index."""
    return _written(self, dim, index, src, "none")


def scattered_sum(self: Any, dim: int, index: Any, src: Any) -> Any:
    """y[i[k]] += the k-th of the source, which may be larger than the index."""
    return _written(self, dim, index, src, "add")


def scattered_by_name(self: Any, dim: int, index: Any, src: Any, reduce: str) -> Any:
    """One of these, which PyTorch calls add or multiply."""
    return _written(self, dim, index, src, {"add": "add", "multiply": "mul"}[reduce])


def index_reduced(
    self: Any, dim: int, index: Any, source: Any, reduce: str, include_self: bool = True
) -> Any:
    """Slices of the source along an axis folded into those of y that the index names."""
    op, rank = operators(), max(len(self.shape), 1)
    if not len(source.shape):
        return scatter_reduced(self, dim, index, source, reduce, include_self)
    lengths = [-1 if axis == dim % rank else 1 for axis in range(rank)]
    places = op.Expand(op.Reshape(index, op.Constant(value_ints=lengths)), op.Shape(source))
    return _folded(self, places, source, dim, reduce, include_self)


def scatter_reduced(self: Any, dim: int, index: Any, src: Any, reduce: str, include_self: bool = True) -> Any:
    """The elements of the source folded into those of y that the index names.

    The exporter writes the last of a group for its mean.
    """
    if len(self.shape):
        return _folded(self, index, _cut(src, index), dim, reduce, include_self)
    fold = partial(_folded, dim=0, reduce=reduce, include_self=include_self)
    return _without_axes(fold, self, index, src)


def _folded(self: Any, index: Any, src: Any, dim: int, reduce: str, include_self: bool) -> Any:
    op, start = operators(), self
    if not include_self:
        nothing = op.Expand(_nothing(self, reduce), op.Shape(index))
        start = op.ScatterElements(self, index, nothing, axis=dim)
    folded = op.ScatterElements(start, index, src, axis=dim, reduction=_REDUCTIONS[reduce])
    if reduce != "mean":
        return folded
    one = op.CastLike(1, self)
    first = op.Expand(one if include_self else op.CastLike(0, self), op.Shape(self))
    ones = op.Expand(one, op.Shape(index))
    number = op.Max(op.ScatterElements(first, index, ones, axis=dim, reduction="add"), one)
    if self.dtype.is_floating_point():
        return op.Div(folded, number)
    return op.Div(op.Sub(folded, op.Mod(folded, number)), number)  # PyTorch rounds down


def _nothing(self: Any, reduce: str) -> Any:
    """What a fold may begin with."""
    op, value = operators(), _NOTHING[reduce]
    if not math.isinf(value) or self.dtype.is_floating_point():
        return op.CastLike(value, self)
    kind = np.iinfo(self.dtype.numpy())
    return op.CastLike(op.Constant(value_int=int(kind.max if value > 0 else kind.min)), self)


def _written(self: Any, dim: int, index: Any, src: Any, reduction: str) -> Any:
    write = partial(operators().ScatterElements, reduction=reduction)
    if len(self.shape):
        return write(self, index, _cut(src, index), axis=dim)
    return _without_axes(write, self, index, src)


def _without_axes(write: Callable[..., Any], self: Any, index: Any, src: Any) -> Any:
    """What is written to a tensor without axes, which PyTorch treats as one element, as it does the index."""
    op, one = operators(), operators().Constant(value_ints=[1])
    row = op.Reshape(self, one)
    row.dtype = self.dtype
    return op.Squeeze(write(row, op.Reshape(index, one), op.Reshape(src, one)), op.Constant(value_ints=[0]))


def _cut(src: Any, index: Any) -> Any:
    """The part of the source that the index names a place for; ONNX wants them of one size."""
    if [str(size) for size in src.shape] == [str(size) for size in index.shape]:
        return src
    op, axes = operators(), list(range(len(src.shape)))
    return op.Slice(
        src, op.Constant(value_ints=[0] * len(axes)), op.Shape(index), op.Constant(value_ints=axes)
    )


def put(self: Any, indices: Sequence[Any], values: Any, accumulate: bool = False) -> Any:
    """y = self with values at places, which the exporter writes as they are, where ONNX takes 64 bits alone."""
    return _core().aten_index_put(self, _long(indices), values, accumulate)


def taken(self: Any, indices: Sequence[Any]) -> Any:
    """The values at places."""
    return _core().aten_index(self, _long(indices))


def _core() -> Any:
    return importlib.import_module("onnxscript.function_libs.torch_lib.ops.core")


def _long(indices: Sequence[Any]) -> list[Any]:
    """Places in 64 bits; flags stay."""
    op, found = operators(), list(indices)
    for number, index in enumerate(found):
        if index is not None and str(index.dtype) in ("INT8", "INT16", "INT32"):
            wide = op.Cast(index, to=7)
            wide.dtype, wide.shape = type(index.dtype).INT64, index.shape  # by which the exporter chooses
            found[number] = wide
    return found
