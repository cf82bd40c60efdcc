"""The functions for symbolic arrays, by their names in the array API standard: ``from onnxattr import xp``.

Beyond the standard there are sigmoid, softmax and log_softmax. Functions that make arrays of nothing traced, such as
``arange(5)``, are NumPy's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy import arange, e, eye, full, inf, linspace, nan, newaxis, ones, pi, tril, triu, zeros  # noqa: F401

from onnxattr.errors import OperatorError
from onnxattr.graph.intervals import FLOATS
from onnxattr.scores.arrays import Array, binary, common, negated, unary

float16, float32, float64, int32, int64, bool = (
    np.dtype(name) for name in ("float16", "float32", "float64", "int32", "int64", "bool")
)

# One element at a time.

add, subtract, multiply = binary("Add"), binary("Sub"), binary("Mul")
divide, pow = binary("Div", real=True), binary("Pow", real=True)
maximum, minimum = binary("Max"), binary("Min")
equal, less, greater = binary("Equal"), binary("Less"), binary("Greater")
less_equal, greater_equal = binary("LessOrEqual"), binary("GreaterOrEqual")
not_equal = negated(equal)
exp, log, sqrt, tanh, sigmoid, erf = (unary(n) for n in ("Exp", "Log", "Sqrt", "Tanh", "Sigmoid", "Erf"))
sin, cos, tan, sinh, cosh = (unary(n) for n in ("Sin", "Cos", "Tan", "Sinh", "Cosh"))
asin, acos, atan, asinh, acosh, atanh = (
    unary(n) for n in ("Asin", "Acos", "Atan", "Asinh", "Acosh", "Atanh")
)
floor, ceil, round = unary("Floor"), unary("Ceil"), unary("Round")
negative, abs, sign = (unary(n, real=False) for n in ("Neg", "Abs", "Sign"))
isnan, isinf = unary("IsNaN"), unary("IsInf")


def positive(a: Any) -> Array:
    """The operand itself."""
    return common(a)[0]


def square(a: Any) -> Array:
    """a * a."""
    return multiply(a, a)


def reciprocal(a: Any) -> Array:
    """1 / a."""
    return divide(1.0, a)


def trunc(a: Any) -> Array:
    """Rounded towards zero."""
    return multiply(sign(a), floor(abs(a)))


def log1p(a: Any) -> Array:
    """log(1 + a), as exact as 1 + a is."""
    return log(add(a, 1))


def expm1(a: Any) -> Array:
    """exp(a) - 1, as exact as exp(a) is."""
    return subtract(exp(a), 1)


def log2(a: Any) -> Array:
    """The logarithm to base 2."""
    return multiply(log(a), 1 / math.log(2))


def log10(a: Any) -> Array:
    """The logarithm to base 10."""
    return multiply(log(a), 1 / math.log(10))


def logaddexp(a: Any, b: Any) -> Array:
    """log(exp(a) + exp(b)), without overflow."""
    return add(maximum(a, b), log1p(exp(negative(abs(subtract(a, b))))))


def hypot(a: Any, b: Any) -> Array:
    """sqrt(a^2 + b^2)."""
    return sqrt(add(square(a), square(b)))


def floor_divide(a: Any, b: Any) -> Array:
    """The quotient rounded down."""
    left, right = common(a, b)
    if left.kind in FLOATS:
        return floor(divide(left, right))
    return left.new(left.op.Div(subtract(left, remainder(left, right)).value, right.value))


def remainder(a: Any, b: Any) -> Array:
    """What the quotient rounded down leaves, with the sign of the divisor."""
    left, right = common(a, b)
    if left.kind in FLOATS:
        return subtract(left, multiply(floor(divide(left, right)), right))
    return left.new(left.op.Mod(left.value, right.value))


def clip(a: Any, min: Any = None, max: Any = None) -> Array:
    """a, no less than ``min`` and no more than ``max``."""
    (array,) = common(a)
    plain = [limit is None or np.ndim(limit) == 0 for limit in (min, max) if not isinstance(limit, Array)]
    if len(plain) == 2 and all(plain) and array.kind in FLOATS:
        low, high = (None if v is None else array.constant(v, array.kind).value for v in (min, max))
        return array.new(array.op.Clip(array.value, low, high))
    array = array if min is None else maximum(array, min)
    return array if max is None else minimum(array, max)


def isfinite(a: Any) -> Array:
    """Whether elements are neither NaN nor infinite."""
    return logical_not(logical_or(isnan(a), isinf(a)))


def _truth(a: Any) -> Array:
    return common(a)[0].astype(ir.DataType.BOOL)


def logical_not(a: Any) -> Array:
    """Whether elements are 0 or False."""
    array = _truth(a)
    return array.new(array.op.Not(array.value))


def _logical(op_type: str) -> Any:
    def function(a: Any, b: Any) -> Array:
        left, right = (v.astype(ir.DataType.BOOL) for v in common(a, b))
        return left.new(left.op.node(op_type, [left.value, right.value]))

    return function


logical_and, logical_or, logical_xor = _logical("And"), _logical("Or"), _logical("Xor")


def where(condition: Any, a: Any, b: Any) -> Array:
    """a where the condition holds, b elsewhere."""
    if not isinstance(condition, Array):
        traced = next((v for v in (a, b) if isinstance(v, Array)), None)
        if traced is None:
            raise OperatorError("The operator calls where() on no traced array.")
        condition = traced.constant(np.asarray(condition, np.bool_))
    if not isinstance(a, Array) and not isinstance(b, Array):
        floats = any(np.asarray(v).dtype.kind == "f" for v in (a, b))
        a = condition.constant(a, condition.real if floats else None)
    left, right = common(a, b)
    return left.new(left.op.Where(condition.astype(ir.DataType.BOOL).value, left.value, right.value))


# Along axes.

Axis = int | Sequence[int] | None


def _axes(array: Array, axis: Axis) -> list[int] | None:
    if axis is None:
        return None
    rank, given = array.ndim, [axis] if isinstance(axis, (int, np.integer)) else list(axis)
    for entry in given:
        if not isinstance(entry, (int, np.integer)) or not -rank <= entry < rank:
            raise OperatorError(
                f"The operator names axis {entry!r:.40} of a traced array of {rank} axes, {array!r}."
            )
    return [int(entry) % rank for entry in given]


def _reduction(op_type: str, real: Any = False) -> Any:
    def function(a: Any, axis: Axis = None, *, keepdims: Any = False) -> Array:
        (array,) = common(a)
        if real:
            array = array.as_real()
        elif array.kind == ir.DataType.BOOL:
            array = array.astype(ir.DataType.INT64)
        axes = _axes(array, axis)
        operands: list[Any] = [array.value] if axes is None else [array.value, axes]
        return array.new(array.op.node(f"Reduce{op_type}", operands, {"keepdims": int(keepdims)}))

    return function


sum, prod, mean = _reduction("Sum"), _reduction("Prod"), _reduction("Mean", real=True)
max, min = _reduction("Max"), _reduction("Min")


def any(a: Any, axis: Axis = None, *, keepdims: Any = False) -> Array:
    """Whether some element is not 0."""
    return max(_truth(a).astype(ir.DataType.INT32), axis, keepdims=keepdims).astype(ir.DataType.BOOL)


def all(a: Any, axis: Axis = None, *, keepdims: Any = False) -> Array:
    """Whether no element is 0."""
    return min(_truth(a).astype(ir.DataType.INT32), axis, keepdims=keepdims).astype(ir.DataType.BOOL)


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


def _arg(op_type: str) -> Any:
    def function(a: Any, axis: int | None = None, *, keepdims: Any = False) -> Array:
        (array,) = common(a)
        if axis is None:
            array, axis = reshape(array, (-1,)), 0
        (place,) = _axes(array, axis) or [0]
        return array.new(array.op.node(op_type, [array.value], {"axis": place, "keepdims": int(keepdims)}))

    return function


argmax, argmin = _arg("ArgMax"), _arg("ArgMin")


def cumulative_sum(a: Any, *, axis: int | None = None) -> Array:
    """The sums up to each element."""
    (array,) = common(a)
    (place,) = _axes(array, array.ndim - 1 if axis is None else axis) or [0]
    return array.new(array.op.CumSum(array.value, np.array(place)))


def softmax(a: Any, axis: int = -1) -> Array:
    """exp(a) / sum of exp(a) along an axis."""
    (array,) = common(a)
    return array.new(array.op.Softmax(array.as_real().value, axis=axis))


def log_softmax(a: Any, axis: int = -1) -> Array:
    """The logarithm of softmax."""
    (array,) = common(a)
    return array.new(array.op.LogSoftmax(array.as_real().value, axis=axis))


# Products.


def matmul(a: Any, b: Any) -> Array:
    """The product of matrices, or stacks of them."""
    return binary("MatMul")(a, b)


def vecdot(a: Any, b: Any, *, axis: int = -1) -> Array:
    """The sum of products along an axis."""
    return sum(multiply(a, b), axis)


def matrix_transpose(a: Any) -> Array:
    """The last two axes swapped."""
    (array,) = common(a)
    axes = list(range(array.ndim))
    return permute_dims(array, (*axes[:-2], axes[-1], axes[-2]))


# Shapes.


def _size_vector(like: Array, sizes: Any) -> ir.Value:
    """A shape whose sizes may be traced."""
    given = [sizes] if isinstance(sizes, (int, np.integer, Array)) else list(sizes)
    if not any_traced(given):
        return like.op.constant(np.array([int(size) for size in given], np.int64))
    parts = [
        like.op.Reshape(size.astype(ir.DataType.INT64).value, [1])
        if isinstance(size, Array)
        else like.op.constant(np.array([size], np.int64))
        for size in given
    ]
    return like.op.Concat(*parts, axis=0)


def any_traced(given: Sequence[Any]) -> Any:
    """Whether one of several things is a traced array."""
    return next((True for size in given if isinstance(size, Array)), False)


def reshape(a: Any, shape: Any) -> Array:
    """The elements in another shape; one size may be -1."""
    (array,) = common(a)
    return array.new(array.op.Reshape(array.value, _size_vector(array, shape)))


def broadcast_to(a: Any, shape: Any) -> Array:
    """The elements repeated to a shape."""
    (array,) = common(a)
    return array.new(array.op.Expand(array.value, _size_vector(array, shape)))


def permute_dims(a: Any, axes: Sequence[int] | None = None) -> Array:
    """The axes in another order; by default reversed."""
    (array,) = common(a)
    order = list(range(array.ndim))[::-1] if axes is None else _axes(array, axes)
    return array.new(array.op.Transpose(array.value, perm=order))


def moveaxis(a: Any, source: Axis, destination: Axis) -> Array:
    """Axes in other places, the rest in their order."""
    (array,) = common(a)
    taken, places = _axes(array, source) or [], _axes(array, destination) or []
    order = [axis for axis in range(array.ndim) if axis not in taken]
    for place, axis in sorted(zip(places, taken, strict=True)):
        order.insert(place, axis)
    return permute_dims(array, order)


def squeeze(a: Any, axis: Axis = None) -> Array:
    """Without some axes of size 1."""
    (array,) = common(a)
    if axis is None:
        raise OperatorError(
            "The operator calls squeeze() without an axis, which may take the samples' too: name it."
        )
    return array.new(array.op.Squeeze(array.value, _axes(array, axis)))


def expand_dims(a: Any, axis: Axis = 0) -> Array:
    """With more axes of size 1."""
    (array,) = common(a)
    return array.new(array.op.Unsqueeze(array.value, [axis] if isinstance(axis, int) else list(axis or ())))


def concat(arrays: Sequence[Any], axis: int | None = 0) -> Array:
    """Arrays one after the other along an axis."""
    parts = common(*arrays)
    if axis is None:
        parts, axis = [reshape(part, (-1,)) for part in parts], 0
    return parts[0].new(parts[0].op.Concat(*[part.value for part in parts], axis=int(axis)))


def stack(arrays: Sequence[Any], axis: int = 0) -> Array:
    """Arrays of one shape along a new axis."""
    return concat([expand_dims(part, axis) for part in common(*arrays)], axis)


def flip(a: Any, axis: Axis = None) -> Array:
    """Mirrored along axes."""
    (array,) = common(a)
    mirrored = range(array.ndim) if axis is None else _axes(array, axis) or []
    return array[tuple(slice(None, None, -1) if k in mirrored else slice(None) for k in range(array.ndim))]


def roll(a: Any, shift: int, axis: int) -> Array:
    """Shifted along an axis, what leaves at one end coming in at the other."""
    (array,) = common(a)
    (place,) = _axes(array, axis) or [0]
    before = (slice(None),) * place
    return (
        concat([array[(*before, slice(-shift, None))], array[(*before, slice(None, -shift))]], place)
        if shift
        else array
    )


def tile(a: Any, repetitions: Sequence[int]) -> Array:
    """Repeated along each axis."""
    (array,) = common(a)
    return array.new(array.op.Tile(array.value, _size_vector(array, repetitions)))


def take(a: Any, indices: Any, axis: int | None = None) -> Array:
    """The elements at places along an axis."""
    (array,) = common(a)
    if axis is None:
        array, axis = reshape(array, (-1,)), 0
    (place,) = _axes(array, axis) or [0]
    return array[(*(slice(None),) * place, indices if isinstance(indices, Array) else np.asarray(indices))]


def take_along_axis(a: Any, indices: Any, axis: int = -1) -> Array:
    """For each place along the other axes, the elements at its own places along an axis."""
    (array,) = common(a)
    (place,) = _axes(array, axis) or [0]
    at = indices if isinstance(indices, Array) else array.constant(np.asarray(indices, np.int64))
    return array.new(array.op.GatherElements(array.value, at.astype(ir.DataType.INT64).value, axis=place))


# New arrays.


def astype(a: Array, dtype: Any, **_: Any) -> Array:
    """The elements in another type."""
    return a.astype(dtype)


def asarray(a: Any, dtype: Any = None, **_: Any) -> Any:
    """A traced array as it is; other numbers as a NumPy array."""
    if not isinstance(a, Array):
        return np.asarray(a, dtype)
    return a if dtype is None else a.astype(dtype)


def full_like(a: Array, fill: float, *, dtype: Any = None) -> Array:
    """An array of the same shape with one number everywhere."""
    like = a if dtype is None else a.astype(dtype)
    return a.new(a.op.expand_like(fill, like.value))


def zeros_like(a: Array, *, dtype: Any = None) -> Array:
    """An array of the same shape with 0 everywhere."""
    return full_like(a, 0, dtype=dtype)


def ones_like(a: Array, *, dtype: Any = None) -> Array:
    """An array of the same shape with 1 everywhere."""
    return full_like(a, 1, dtype=dtype)


def _as_method(name: str, function: Any) -> None:
    def method(self: Array, *arguments: Any, **options: Any) -> Array:
        return function(self, *arguments, **options)

    method.__name__, method.__doc__ = name, function.__doc__
    setattr(Array, name, method)


def _give_methods() -> None:
    """Gives arrays the methods and operators that NumPy's have."""
    for name in "sum prod mean max min any all var std argmax argmin clip round squeeze take".split():
        _as_method(name, globals()[name])
    _as_method("reshape", lambda a, *shape: reshape(a, shape[0] if len(shape) == 1 else shape))
    _as_method(
        "transpose", lambda a, *axes: permute_dims(a, (axes[0] if len(axes) == 1 and axes else axes) or None)
    )
    _as_method("flatten", lambda a: reshape(a, (-1,)))
    pairs = {
        "add": add, "sub": subtract, "mul": multiply, "truediv": divide, "pow": _power, "matmul": matmul,
        "floordiv": floor_divide, "mod": remainder, "and": logical_and, "or": logical_or, "xor": logical_xor,
    }  # fmt: skip
    for name, function in pairs.items():
        _as_method(f"__{name}__", function)
        _as_method(f"__r{name}__", lambda a, b, function=function: function(b, a))
    compared = {
        "lt": less,
        "gt": greater,
        "le": less_equal,
        "ge": greater_equal,
        "eq": equal,
        "ne": not_equal,
    }
    for name, function in {
        **compared,
        "neg": negative,
        "pos": positive,
        "abs": abs,
        "invert": logical_not,
    }.items():
        _as_method(f"__{name}__", function)


def _power(a: Any, b: Any) -> Array:
    """a ** b; squares and roots as what they are, whose gradients are exact at 0."""
    if not isinstance(b, Array) and np.ndim(b) == 0 and float(b) in (1.0, 2.0, 0.5):
        return {1.0: positive, 2.0: square, 0.5: sqrt}[float(b)](a)
    return pow(a, b)


_give_methods()
