"""Functions along axes: reductions, products, softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import onnx_ir as ir

from onnxattr.scores.arrays import Array
from onnxattr.scores.operands import axes_of, binary, common
from onnxattr.scores.xp.elementwise import divide, multiply, sqrt, square, subtract, truth
from onnxattr.scores.xp.shapes import expand_dims, ones_like, reshape, squeeze

#: An axis, several, or all.
Axis = int | Sequence[int] | None


class Reduction(Protocol):
    """A function that reduces an array along axes."""

    def __call__(self, a: Any, axis: Axis = None, *, keepdims: Any = False) -> Array:  # noqa: D102
        ...


class ArgReduction(Protocol):
    """A function that gives places along one axis, or in the flat array."""

    def __call__(self, a: Any, axis: int | None = None, *, keepdims: Any = False) -> Array:  # noqa: D102
        ...


def _reduction(op_type: str, real: Any = False) -> Reduction:
    def function(a: Any, axis: Axis = None, *, keepdims: Any = False) -> Array:
        (array,) = common(a)
        truths = array.kind == ir.DataType.BOOL
        if real:
            array = array.as_real()
        elif truths:
            array = array.astype(ir.DataType.INT64)
        axes = axes_of(array, axis)
        if axes == []:
            return array
        operands: list[Any] = [array.value] if axes is None else [array.value, axes]
        found = array.new(array.op.node(f"Reduce{op_type}", operands, {"keepdims": int(keepdims)}))
        return found.astype(ir.DataType.BOOL) if truths and op_type in ("Max", "Min") else found

    return function


sum, prod, mean = _reduction("Sum"), _reduction("Prod"), _reduction("Mean", real=True)
max, min = _reduction("Max"), _reduction("Min")


def any(a: Any, axis: Axis = None, *, keepdims: Any = False) -> Array:
    """Whether some element is not 0."""
    return max(truth(a).astype(ir.DataType.INT32), axis, keepdims=keepdims).astype(ir.DataType.BOOL)


def all(a: Any, axis: Axis = None, *, keepdims: Any = False) -> Array:
    """Whether no element is 0."""
    return min(truth(a).astype(ir.DataType.INT32), axis, keepdims=keepdims).astype(ir.DataType.BOOL)


def var(a: Any, axis: Axis = None, *, correction: float = 0.0, keepdims: Any = False) -> Array:
    """The mean square of the distance from the mean; divided by n - correction."""
    (array,) = common(a)
    squares = square(subtract(array.as_real(), mean(array, axis, keepdims=True)))
    if not correction:
        return mean(squares, axis, keepdims=keepdims)
    count = sum(ones_like(squares), axis, keepdims=keepdims)
    return divide(sum(squares, axis, keepdims=keepdims), subtract(count, correction))


def std(a: Any, axis: Axis = None, *, correction: float = 0.0, keepdims: Any = False) -> Array:
    """The square root of the variance."""
    return sqrt(var(a, axis, correction=correction, keepdims=keepdims))


def _arg(op_type: str) -> ArgReduction:
    def function(a: Any, axis: int | None = None, *, keepdims: Any = False) -> Array:
        (array,) = common(a)
        array = array.astype(ir.DataType.INT32) if array.kind == ir.DataType.BOOL else array
        if axis is None:
            array, axis = reshape(array, (-1,)), 0
        (place,) = axes_of(array, axis) or [0]
        return array.new(array.op.node(op_type, [array.value], {"axis": place, "keepdims": int(keepdims)}))

    return function


argmax, argmin = _arg("ArgMax"), _arg("ArgMin")


def cumulative_sum(a: Any, *, axis: int | None = None) -> Array:
    """The sums up to each element."""
    (array,) = common(a)
    (place,) = axes_of(array, array.ndim - 1 if axis is None else axis) or [0]
    return array.new(array.op.CumSum(array.value, np.array(place)))


def softmax(a: Any, axis: int = -1) -> Array:
    """exp(a) / sum of exp(a) along an axis."""
    (array,) = common(a)
    return array.new(array.op.Softmax(array.as_real().value, axis=axis))


def log_softmax(a: Any, axis: int = -1) -> Array:
    """The logarithm of softmax."""
    (array,) = common(a)
    return array.new(array.op.LogSoftmax(array.as_real().value, axis=axis))


def matmul(a: Any, b: Any) -> Array:
    """The product of matrices, or stacks of them; a vector counts as a row or column."""
    left, right = common(a, b)
    row, column = left.ndim == 1, right.ndim == 1
    matrices = expand_dims(left, 0) if row else left, expand_dims(right, 1) if column else right
    product = binary("MatMul")(*matrices)
    return squeeze(product, [-2] * row + [-1] * column) if row or column else product


def vecdot(a: Any, b: Any, *, axis: int = -1) -> Array:
    """The sum of products along an axis."""
    return sum(multiply(a, b), axis)


def vector_norm(a: Any, axis: Axis = None, *, keepdims: Any = False) -> Array:
    """The square root of the sum of squares; its gradient at 0 is 0."""
    return _reduction("L2", real=True)(a, axis, keepdims=keepdims)
