"""Operators of PyTorch that the exporter does not write at all, written in those of ONNX."""

import importlib
import math
from collections.abc import Callable
from typing import Any


def table(torch: Any) -> dict[Any, Callable[..., Any]]:
    """PyTorch's operator -> what writes it, for torch.onnx.export's ``custom_translation_table``."""
    aten = torch.ops.aten
    return {
        aten._cdist_forward.default: _distances,
        aten.copysign.Scalar: _with_sign,
        aten.copysign.Tensor: _with_sign,
        aten.cummax.default: _largest_so_far,
        aten.cummin.default: _smallest_so_far,
        aten.cumprod.default: _product_so_far,
        aten.fmax.default: _largest_number,
        aten.fmin.default: _smallest_number,
        aten.hypot.default: _hypotenuse,
        aten.kthvalue.default: _kth_value,
        aten.median.dim: _median,
    }


def _operators() -> Any:
    return importlib.import_module("onnxscript").opset18


def _distances(x1: Any, x2: Any, p: float, compute_mode: int | None = None) -> Any:
    """y[i, j] = the p-norm of x1[i] - x2[j]; (..., P, M) and (..., R, M) give (..., P, R).

    Raises:
        NotImplementedError: For another norm than 1, 2 and infinity.
    """
    op = _operators()
    before, axis = op.Constant(value_ints=[-2]), op.Constant(value_ints=[-1])
    apart = op.Sub(op.Unsqueeze(x1, before), op.Unsqueeze(x2, op.Constant(value_ints=[-3])))
    if p == 1.0:
        return op.ReduceL1(apart, axis, keepdims=0)
    if p == 2.0:
        return op.ReduceL2(apart, axis, keepdims=0)
    if math.isinf(p):
        return op.ReduceMax(op.Abs(apart), axis, keepdims=0)
    raise NotImplementedError(f"torch.cdist with p={p}; supported: 1, 2 and inf")


def _hypotenuse(self: Any, other: Any) -> Any:
    op = _operators()
    return op.Sqrt(op.Add(op.Mul(self, self), op.Mul(other, other)))


def _with_sign(self: Any, other: Any) -> Any:
    """|a| with the sign of b, which -0.0 has too."""
    op = _operators()
    other, zero = op.CastLike(other, self), op.CastLike(0.0, self)
    under = op.Less(op.Div(op.CastLike(1.0, self), other), zero)
    negative = op.Or(op.Less(other, zero), op.And(op.Equal(other, zero), under))
    return op.Where(negative, op.Neg(op.Abs(self)), op.Abs(self))


def _largest_number(self: Any, other: Any) -> Any:
    """The larger one, or the one that is a number; the first of equal ones has the gradient."""
    op = _operators()
    return op.Where(op.Or(op.GreaterOrEqual(self, other), op.IsNaN(other)), self, other)


def _smallest_number(self: Any, other: Any) -> Any:
    op = _operators()
    return op.Where(op.Or(op.LessOrEqual(self, other), op.IsNaN(other)), self, other)


def _product_so_far(self: Any, dim: int, dtype: int | None = None) -> Any:
    """Products over 1, 2, 4, ... predecessors.

    Raises:
        NotImplementedError: For an axis of unknown length or a change of type.
    """
    op = _operators()
    if dtype is not None and dtype != self.dtype:
        raise NotImplementedError(f"torch.cumprod of {self.dtype} with dtype={dtype}; cast its input instead")
    axis, size, reach = dim % max(len(self.shape), 1), _length(self, dim, "cumprod"), 1
    while reach < size:
        self = op.Mul(self, _moved(self, axis, reach, size, op.CastLike(1.0, self)))
        reach *= 2
    return self


def _largest_so_far(self: Any, dim: int) -> Any:
    return _extreme_so_far(self, dim, "GreaterOrEqual", float("-inf"))


def _smallest_so_far(self: Any, dim: int) -> Any:
    return _extreme_so_far(self, dim, "LessOrEqual", float("inf"))


def _extreme_so_far(self: Any, dim: int, later: str, least: float) -> Any:
    """Values and places of the extremes over 1, 2, 4, ... predecessors; of equal ones the last, NaN before any.

    Raises:
        NotImplementedError: For an axis of unknown length.
    """
    op = _operators()
    rank, size, reach = len(self.shape), _length(self, dim, "cummax and torch.cummin"), 1
    axis = dim % max(rank, 1)
    lengths = [size if each == axis else 1 for each in range(rank)]
    places = op.Reshape(op.Constant(value_ints=list(range(size))), op.Constant(value_ints=lengths))
    places = op.Expand(places, op.Shape(self))
    while reach < size:
        before = _moved(self, axis, reach, size, op.CastLike(least, self))
        place = _moved(places, axis, reach, size, op.Constant(value_int=0))
        chosen = op.Or(getattr(op, later)(self, before), op.IsNaN(self))
        self, places = op.Where(chosen, self, before), op.Where(chosen, places, place)
        reach *= 2
    return self, places


def _moved(x: Any, axis: int, reach: int, size: int, filling: Any) -> Any:
    """A tensor moved along an axis, which begins with the filling."""
    op = _operators()
    axes = op.Constant(value_ints=[axis])
    kept = op.Slice(x, op.Constant(value_ints=[0]), op.Constant(value_ints=[size - reach]), axes)
    return op.Pad(kept, op.Constant(value_ints=[reach, 0]), filling, axes)


def _median(self: Any, dim: int, keepdim: bool = False) -> Any:
    """The lower one of two in the middle."""
    return _kth_value(self, (_length(self, dim, "median") + 1) // 2, dim, keepdim)


def _kth_value(self: Any, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    op = _operators()
    if not len(self.shape):
        return op.Identity(self), op.Constant(value_int=0)
    _, places = op.TopK(self, op.Constant(value_ints=[k]), axis=dim, largest=0)
    place = op.Slice(places, *(op.Constant(value_ints=[number]) for number in (k - 1, k, dim)))
    found = op.GatherElements(self, place, axis=dim)
    if keepdim:
        return found, place
    axes = op.Constant(value_ints=[dim])
    return op.Squeeze(found, axes), op.Squeeze(place, axes)


def _length(x: Any, dim: int, operator: str) -> int:
    """The length of an axis.

    Raises:
        NotImplementedError: If the exporter does not know it.
    """
    size = x.shape[dim] if len(x.shape) else 1
    if not isinstance(size, int):
        raise NotImplementedError(f"torch.{operator} along axis {dim}, whose length is not fixed")
    return size
