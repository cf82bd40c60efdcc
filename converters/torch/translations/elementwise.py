"""Operators of PyTorch on elements, written in those of ONNX."""

import importlib
import math
from typing import Any


def operators() -> Any:
    """onnxscript's operators, with which translations write."""
    return importlib.import_module("onnxscript").opset18


def log_sigmoid(x: Any) -> Any:
    """log(1 / (1 + exp(-x))); the exporter writes Log(Sigmoid(x)), which is -inf where ONNX Runtime's Sigmoid is 0.

    That is below x = -18 already.
    """
    op = operators()
    return op.Neg(op.Softplus(op.Neg(x)))


def expm1(self: Any) -> Any:
    """exp(x) - 1, which is tanh(x / 2) (exp(x) + 1) and has all digits as that where x is small."""
    op = operators()
    one, powers = op.CastLike(1.0, self), op.Exp(self)
    far = op.Sub(powers, one)
    if not _is_single(self):
        return far
    near = op.Mul(op.Tanh(op.Mul(self, op.CastLike(0.5, self))), op.Add(powers, one))
    return op.Where(op.Less(op.Abs(self), one), near, far)


def log1p(self: Any) -> Any:
    """log(1 + x), which is 2 artanh(x / (x + 2)) and has all digits as that where x is small."""
    op = operators()
    two, far = op.CastLike(2.0, self), op.Log(op.Add(self, op.CastLike(1.0, self)))
    if not _is_single(self):  # ONNX Runtime has an Atanh of 32 bits alone
        return far
    near = op.Mul(op.Atanh(op.Div(self, op.Add(self, two))), two)
    return op.Where(op.Less(op.Abs(self), op.CastLike(0.5, self)), near, far)


def _is_single(x: Any) -> bool:
    """Whether a value is known to have 32 bits; what another translation computed is of no known type."""
    return x.dtype is not None and x.dtype.name == "FLOAT"


def logaddexp(self: Any, other: Any) -> Any:
    """max(a, b) + log(1 + exp(-|a - b|)); the exporter writes Log(Exp(a) + Exp(b)), which is inf from 89 on."""
    op = operators()
    largest, distance = _largest_and_distance(self, other)
    return op.Add(largest, op.Softplus(op.Neg(distance)))


def logaddexp2(self: Any, other: Any) -> Any:
    """max(a, b) + log2(1 + 2^-|a - b|)."""
    op = operators()
    largest, distance = _largest_and_distance(self, other)
    above = op.Softplus(op.Mul(distance, op.CastLike(-math.log(2), self)))
    return op.Add(largest, op.Div(above, op.CastLike(math.log(2), self)))


def _largest_and_distance(self: Any, other: Any) -> tuple[Any, Any]:
    """max(a, b) and |a - b|, which is 0 of equal numbers, infinite ones too."""
    op = operators()
    distance = op.Where(op.Equal(self, other), op.CastLike(0.0, self), op.Abs(op.Sub(self, other)))
    return _shared(self, other, op.Max(self, other)), distance


def largest(self: Any, other: Any) -> Any:
    """max(a, b)."""
    return _shared(self, other, operators().Max(self, other))


def smallest(self: Any, other: Any) -> Any:
    """min(a, b)."""
    return _shared(self, other, operators().Min(self, other))


def _shared(self: Any, other: Any, chosen: Any) -> Any:
    """Of equal floats (a + b) / 2, which divides the gradient as PyTorch does; Max and Min give it to the first.

    What another translation computed is of no known type: floats.
    """
    if self.dtype is not None and not self.dtype.is_floating_point():
        return chosen
    op = operators()
    half = op.CastLike(0.5, self)
    return op.Where(op.Equal(self, other), op.Add(op.Mul(self, half), op.Mul(other, half)), chosen)


def hard_tanh(self: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """min(max(x, low), high), without a gradient at the bounds.

    The exporter's Clip has one there, but for a lower bound of 0: that is ReLU6 and stays.
    """
    op = operators()
    if not min_val:
        return op.Clip(self, op.CastLike(min_val, self), op.CastLike(max_val, self))
    low, high = op.CastLike(min_val, self), op.CastLike(max_val, self)
    return op.Where(op.LessOrEqual(self, low), low, op.Where(op.GreaterOrEqual(self, high), high, self))


def hypotenuse(self: Any, other: Any) -> Any:
    """sqrt(a^2 + b^2)."""
    op = operators()
    return op.Sqrt(op.Add(op.Mul(self, self), op.Mul(other, other)))


def with_sign(self: Any, other: Any) -> Any:
    """|a| with the sign of b, which -0.0 has too."""
    op = operators()
    return op.Where(_is_negative(op.CastLike(other, self)), op.Neg(op.Abs(self)), op.Abs(self))


def largest_number(self: Any, other: Any) -> Any:
    """The larger one, or the one that is a number; the first of equal ones has the gradient."""
    op = operators()
    return op.Where(op.Or(op.GreaterOrEqual(self, other), op.IsNaN(other)), self, other)


def smallest_number(self: Any, other: Any) -> Any:
    """The smaller one, or the one that is a number; the first of equal ones has the gradient."""
    op = operators()
    return op.Where(op.Or(op.LessOrEqual(self, other), op.IsNaN(other)), self, other)


def product_with_log(self: Any, other: Any) -> Any:
    """x log(y), 0 where x is 0; there the gradient for x is log(y), of which the exporter's form makes 1."""
    op = operators()
    self, other = _of_one_type(self, other)
    return op.Mul(self, op.Log(_usable(self, other, 0.0)))


def product_with_log1p(self: Any, other: Any) -> Any:
    """x log(1 + y), 0 where x is 0; there the gradient for x is log(1 + y)."""
    op = operators()
    self, other = _of_one_type(self, other)
    return op.Mul(self, op.Log(op.Add(_usable(self, other, -1.0), op.CastLike(1.0, self))))


def _of_one_type(self: Any, other: Any) -> tuple[Any, Any]:
    """Two operands, of which one may be a number of Python."""
    op = operators()
    if isinstance(self, (int, float)):
        return op.CastLike(float(self), other), other
    return self, op.CastLike(float(other), self) if isinstance(other, (int, float)) else other


def _usable(self: Any, other: Any, low: float) -> Any:
    """The operand, 1 + low where its logarithm is no number, or infinite, and the factor is 0."""
    op = operators()
    inside = op.And(op.Greater(other, op.CastLike(low, other)), op.Less(other, op.CastLike(math.inf, other)))
    zero = op.Equal(self, op.CastLike(0.0, self))
    unused = op.And(zero, op.Not(op.Or(inside, op.IsNaN(other))))
    return op.Where(unused, op.CastLike(1.0 + low, other), other)


def angle_of(self: Any, other: Any) -> Any:
    """The angle of the point (x, y) = (other, self); the smaller coordinate is divided by the larger one.

    The exporter divides y by x, of which no gradient is left where x is 0, and takes -pi for pi where y is 0 and x < 0.
    """
    op = operators()
    zero, one = op.CastLike(0.0, self), op.CastLike(1.0, self)
    steep = op.Greater(op.Abs(self), op.Abs(other))
    divisor = op.Where(steep, self, other)
    origin = op.Equal(divisor, zero)
    slope = op.Div(op.Where(origin, zero, op.Where(steep, other, self)), op.Where(origin, one, divisor))
    angle = op.Atan(slope)
    half_turn = op.CastLike(math.pi, self)
    turn = op.Where(_is_negative(self), op.Neg(half_turn), half_turn)
    flat = op.Where(_is_negative(other), op.Add(angle, turn), angle)
    return op.Where(steep, op.Sub(op.Mul(turn, op.CastLike(0.5, self)), angle), flat)


def _is_negative(x: Any) -> Any:
    """Whether a number has the sign -, which -0.0 has too."""
    op = operators()
    zero = op.CastLike(0.0, x)
    under = op.Less(op.Div(op.CastLike(1.0, x), x), zero)
    return op.Or(op.Less(x, zero), op.And(op.Equal(x, zero), under))


def selu(self: Any) -> Any:
    """1.0507 elu(x, 1.6733), which has the slope of negative numbers at 0, as in PyTorch; Selu has the other one."""
    op = operators()
    return op.Mul(op.Elu(self, alpha=1.6732632423543772), op.CastLike(1.0507009873554805, self))


def random_leaky_relu(
    self: Any,
    noise: Any,
    lower: float = 0.125,
    upper: float = 1 / 3,
    training: bool = False,
    generator: Any = None,
) -> tuple[Any, Any]:
    """x where it is above 0, else the mean of the slopes times x, as an evaluated module has it."""
    return operators().LeakyRelu(self, alpha=(lower + upper) / 2), noise
