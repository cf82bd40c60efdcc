"""Operators of PyTorch that look at the elements along an axis, written in those of ONNX."""

import math
from typing import Any

from .elementwise import logaddexp, operators


def distances(x1: Any, x2: Any, p: float, compute_mode: int | None = None) -> Any:
    """y[i, j] = the p-norm of x1[i] - x2[j]; (..., P, M) and (..., R, M) give (..., P, R).

    Raises:
        NotImplementedError: For another norm than 1, 2 and infinity.
    """
    op = operators()
    before, axis = op.Constant(value_ints=[-2]), op.Constant(value_ints=[-1])
    apart = op.Sub(op.Unsqueeze(x1, before), op.Unsqueeze(x2, op.Constant(value_ints=[-3])))
    if p == 1.0:
        return op.ReduceL1(apart, axis, keepdims=0)
    if p == 2.0:
        return op.ReduceL2(apart, axis, keepdims=0)
    if math.isinf(p):
        return op.ReduceMax(op.Abs(apart), axis, keepdims=0)
    raise NotImplementedError(f"torch.cdist with p={p}; supported: 1, 2 and inf")


def largest(self: Any, dim: int, keepdim: bool = False) -> Any:
    """The first of the largest, which alone has a gradient in PyTorch; the exporter's ReduceMax divides it."""
    return _first(self, dim, keepdim, "ArgMax")


def smallest(self: Any, dim: int, keepdim: bool = False) -> Any:
    """The first of the smallest."""
    return _first(self, dim, keepdim, "ArgMin")


def _first(self: Any, dim: int, keepdim: bool, position: str) -> Any:
    if not len(self.shape):
        return _alone(self)
    return _at(self, getattr(operators(), position)(self, axis=dim, keepdims=1), dim, keepdim)


def median(self: Any, dim: int, keepdim: bool = False) -> Any:
    """The lower one of two in the middle."""
    return kth_value(self, (_length(self, dim, "median") + 1) // 2, dim, keepdim)


def kth_value(self: Any, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """The k-th smallest, and its place."""
    if not len(self.shape):
        return _alone(self)
    op = operators()
    _, places = op.TopK(self, op.Constant(value_ints=[k]), axis=dim, largest=0)
    place = op.Slice(places, *(op.Constant(value_ints=[number]) for number in (k - 1, k, dim)))
    return _at(self, place, dim, keepdim)


def _alone(self: Any) -> tuple[Any, Any]:
    """What is chosen of one number, and its place."""
    op = operators()
    return op.Identity(self), op.Constant(value_int=0)


def _at(self: Any, place: Any, dim: int, keepdim: bool) -> tuple[Any, Any]:
    """The elements at a place of each row, and the place."""
    op = operators()
    found = op.GatherElements(self, place, axis=dim)
    if keepdim:
        return found, place
    axes = op.Constant(value_ints=[dim])
    return op.Squeeze(found, axes), op.Squeeze(place, axes)


def logcumsumexp(self: Any, dim: int) -> Any:
    """Sums over 1, 2, 4, ... predecessors; the exporter takes the largest of a row from all, so that far ones are -inf.

    An axis of unknown length is written as the exporter writes it.
    """
    op = operators()
    rank = len(self.shape)
    size, axis, reach = self.shape[dim] if rank else 1, dim % max(rank, 1), 1
    if not isinstance(size, int):
        most = op.ReduceMax(self, op.Constant(value_ints=[dim]), keepdims=1)
        return op.Add(op.Log(op.CumSum(op.Exp(op.Sub(self, most)), op.Constant(value_int=dim))), most)
    while reach < size:
        self = logaddexp(self, _moved(self, axis, reach, size, op.CastLike(float("-inf"), self)))
        reach *= 2
    return self


def product_so_far(self: Any, dim: int, dtype: int | None = None) -> Any:
    """Products over 1, 2, 4, ... predecessors.

    Raises:
        NotImplementedError: For an axis of unknown length or a change of type.
    """
    op = operators()
    if dtype is not None and dtype != self.dtype:
        raise NotImplementedError(f"torch.cumprod of {self.dtype} with dtype={dtype}; cast its input instead")
    axis, size, reach = dim % max(len(self.shape), 1), _length(self, dim, "cumprod"), 1
    while reach < size:
        self = op.Mul(self, _moved(self, axis, reach, size, op.CastLike(1.0, self)))
        reach *= 2
    return self


def largest_so_far(self: Any, dim: int) -> Any:
    """The largest up to each element, and its place."""
    return _extreme_so_far(self, dim, "GreaterOrEqual", float("-inf"))


def smallest_so_far(self: Any, dim: int) -> Any:
    """The smallest up to each element, and its place."""
    return _extreme_so_far(self, dim, "LessOrEqual", float("inf"))


def _extreme_so_far(self: Any, dim: int, later: str, least: float) -> Any:
    """Values and places of the extremes over 1, 2, 4, ... predecessors; of equal ones the last, NaN before any.

    Raises:
        NotImplementedError: For an axis of unknown length.
    """
    op = operators()
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
    op = operators()
    axes = op.Constant(value_ints=[axis])
    kept = op.Slice(x, op.Constant(value_ints=[0]), op.Constant(value_ints=[size - reach]), axes)
    return op.Pad(kept, op.Constant(value_ints=[reach, 0]), filling, axes)


def _length(x: Any, dim: int, operator: str) -> int:
    """The length of an axis.

    Raises:
        NotImplementedError: If the exporter does not know it.
    """
    size = x.shape[dim] if len(x.shape) else 1
    if not isinstance(size, int):
        raise NotImplementedError(f"torch.{operator} along axis {dim}, whose length is not fixed")
    return size


def sorted_in_order(self: Any, *, stable: bool, dim: int = -1, descending: bool = False) -> tuple[Any, Any]:
    """The sorted values and their places; of equal ones the first place comes first, as TopK has it."""
    op = operators()
    if not len(self.shape):
        return op.Identity(self), op.Constant(value_int=0)
    size = op.Shape(self, start=dim, end=dim + 1 if dim != -1 else None)
    values, places = op.TopK(self, size, axis=dim, largest=int(descending), sorted=1)
    return values, places


def squeezed(self: Any, dim: int) -> Any:
    """Without an axis of one element; one of more stays, of which the exporter writes a Squeeze that is not valid."""
    op = operators()
    if not len(self.shape) or self.shape[dim] != 1:
        return op.Identity(self)
    return op.Squeeze(self, op.Constant(value_ints=[dim]))
