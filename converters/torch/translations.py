"""Operators of PyTorch that the exporter writes in a form with other numbers or gradients, written in another one."""

import importlib
import math
from collections.abc import Callable
from typing import Any


def table(torch: Any) -> dict[Any, Callable[..., Any]]:
    """PyTorch's operator -> what writes it, for torch.onnx.export's ``custom_translation_table``."""
    aten = torch.ops.aten
    return {
        aten.log_sigmoid.default: _log_sigmoid,
        aten.logaddexp.default: _logaddexp,
        aten.logaddexp2.default: _logaddexp2,
        aten.logcumsumexp.default: _logcumsumexp,
        aten.max.dim: _max,
        aten.min.dim: _min,
    }


def _operators() -> Any:
    return importlib.import_module("onnxscript").opset18


def _log_sigmoid(x: Any) -> Any:
    """log(1 / (1 + exp(-x))); the exporter writes Log(Sigmoid(x)), which is -inf where ONNX Runtime's Sigmoid is 0.

    That is below x = -18 already.
    """
    op = _operators()
    return op.Neg(op.Softplus(op.Neg(x)))


def _logaddexp(self: Any, other: Any) -> Any:
    """max(a, b) + log(1 + exp(-|a - b|)); the exporter writes Log(Exp(a) + Exp(b)), which is inf from 89 on."""
    op = _operators()
    largest, distance = _largest_and_distance(self, other)
    return op.Add(largest, op.Softplus(op.Neg(distance)))


def _logaddexp2(self: Any, other: Any) -> Any:
    """max(a, b) + log2(1 + 2^-|a - b|)."""
    op = _operators()
    largest, distance = _largest_and_distance(self, other)
    above = op.Softplus(op.Mul(distance, op.CastLike(-math.log(2), self)))
    return op.Add(largest, op.Div(above, op.CastLike(math.log(2), self)))


def _largest_and_distance(self: Any, other: Any) -> tuple[Any, Any]:
    """max(a, b) and |a - b|.

    Of equal numbers they are (a + b) / 2, which divides the gradient as PyTorch does, and 0, for infinite ones too.
    """
    op = _operators()
    equal, half = op.Equal(self, other), op.CastLike(0.5, self)
    mean = op.Add(op.Mul(self, half), op.Mul(other, half))
    largest = op.Where(equal, mean, op.Max(self, other))
    return largest, op.Where(equal, op.CastLike(0.0, self), op.Abs(op.Sub(self, other)))


def _logcumsumexp(self: Any, dim: int) -> Any:
    """Sums over 1, 2, 4, ... predecessors; the exporter takes the largest of a row from all, so that far ones are -inf.

    An axis of unknown length is written as the exporter writes it.
    """
    op = _operators()
    rank = len(self.shape)
    size = self.shape[dim] if rank else 1
    if not isinstance(size, int):
        largest = op.ReduceMax(self, op.Constant(value_ints=[dim]), keepdims=1)
        return op.Add(op.Log(op.CumSum(op.Exp(op.Sub(self, largest)), op.Constant(value_int=dim))), largest)
    axes, reach = op.Constant(value_ints=[dim % max(rank, 1)]), 1
    while reach < size:
        before = op.Slice(self, op.Constant(value_ints=[0]), op.Constant(value_ints=[size - reach]), axes)
        lowest = op.CastLike(float("-inf"), self)
        pads = op.Constant(value_ints=[reach, 0])
        self = _logaddexp(self, op.Pad(before, pads, lowest, axes))
        reach *= 2
    return self


def _max(self: Any, dim: int, keepdim: bool = False) -> Any:
    """The first of the largest, which alone has a gradient in PyTorch; the exporter's ReduceMax divides it."""
    return _first(self, dim, keepdim, "ArgMax")


def _min(self: Any, dim: int, keepdim: bool = False) -> Any:
    return _first(self, dim, keepdim, "ArgMin")


def _first(self: Any, dim: int, keepdim: bool, position: str) -> Any:
    op = _operators()
    if not len(self.shape):
        return op.Identity(self), op.Constant(value_int=0)
    index = getattr(op, position)(self, axis=dim, keepdims=1)
    found = op.GatherElements(self, index, axis=dim)
    if keepdim:
        return found, index
    axes = op.Constant(value_ints=[dim])
    return op.Squeeze(found, axes), op.Squeeze(index, axes)
