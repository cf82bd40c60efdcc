"""Losses of PyTorch that the exporter writes without a part of them, in operators of ONNX."""

import importlib
from typing import Any

from .elementwise import operators


def cross_entropy(
    self: Any,
    target: Any,
    weight: Any = None,
    reduction: int = 1,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Any:
    """y = -sum_c q_c w_c log softmax(x)_c, where q = (1 - s) onehot(target) + s / C; the exporter leaves out s.

    The mean is the sum over that of the weights of the classes; a target of `ignore_index` counts 0 in both.
    """
    library = importlib.import_module("onnxscript.function_libs.torch_lib.ops.nn")
    if str(target.dtype) in ("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16"):
        return _of_shares(self, target, weight, reduction, label_smoothing)
    if not label_smoothing:
        return library.aten_cross_entropy_loss(self, target, weight, reduction, ignore_index)
    op, rank = operators(), len(self.shape)
    axis = min(rank - 1, 1)
    axes = op.Constant(value_ints=[axis])
    logs = op.LogSoftmax(self, axis=axis)
    ignored = op.Equal(target, op.CastLike(op.Constant(value_int=ignore_index), target))
    labels = op.Where(ignored, op.CastLike(op.Constant(value_int=0), target), target)
    picked = op.Squeeze(op.GatherElements(logs, op.Unsqueeze(labels, axes), axis=axis), axes)
    if weight is None:
        weights, every = op.Expand(op.CastLike(1.0, self), op.Shape(labels)), logs
    else:
        weights = op.Gather(weight, labels)
        wide = [-1 if place == axis else 1 for place in range(rank)]
        every = op.Mul(logs, op.Reshape(weight, op.Constant(value_ints=wide)))
    classes = self.shape[axis]
    share = op.CastLike(label_smoothing / classes, self)
    own = op.Mul(op.Mul(picked, weights), op.CastLike(1.0 - label_smoothing, self))
    zero = op.CastLike(0.0, self)
    total = op.Add(own, op.Mul(op.ReduceSum(every, axes, keepdims=0), share))
    losses = op.Where(ignored, zero, op.Neg(total))
    if reduction == 0:
        return losses
    summed = op.ReduceSum(losses, keepdims=0)
    if reduction == 2:
        return summed
    return op.Div(summed, op.ReduceSum(op.Where(ignored, zero, weights), keepdims=0))


def _of_shares(self: Any, target: Any, weight: Any, reduction: int, label_smoothing: float) -> Any:
    """Of a target that has a share for each class; the mean is that over the samples."""
    op, rank = operators(), len(self.shape)
    axis = min(rank - 1, 1)
    terms = op.Mul(op.LogSoftmax(self, axis=axis), _blended(target, label_smoothing, self.shape[axis]))
    if weight is not None:
        wide = [-1 if place == axis else 1 for place in range(rank)]
        terms = op.Mul(terms, op.Reshape(weight, op.Constant(value_ints=wide)))
    losses = op.Neg(op.ReduceSum(terms, op.Constant(value_ints=[axis]), keepdims=0))
    if reduction == 0:
        return losses
    return (op.ReduceSum if reduction == 2 else op.ReduceMean)(losses, keepdims=0)


def _blended(target: Any, label_smoothing: float, classes: int) -> Any:
    op = operators()
    if not label_smoothing:
        return target
    kept, even = (op.CastLike(number, target) for number in (1 - label_smoothing, label_smoothing / classes))
    return op.Add(op.Mul(target, kept), even)
