"""Rules of elementwise arithmetic.

Broadcasting is undone by the engine; at ties the first operand wins, as in TensorFlow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import onnx_ir as ir

from onnxattr.autodiff.paths import is_float
from onnxattr.autodiff.registry import Cotangent, NodeView, unary, vjp
from onnxattr.graph.builder import OpBuilder


@vjp("Add")
def add(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = a + b;  abar = ybar, bbar = ybar."""
    return ct, ct


@vjp("Sub")
def sub(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = a - b;  abar = ybar, bbar = -ybar."""
    return ct, lambda: op.Neg(ct)


@vjp("Mul")
def mul(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = a * b;  abar = ybar * b, bbar = ybar * a."""
    a, b = node.inputs
    return lambda: op.Mul(ct, b), lambda: op.Mul(ct, a)


@vjp("Div", singular="b = 0")
def div(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = a / b;  abar = ybar / b, bbar = -ybar * y / b."""
    b, y = node.inputs[1], node.y
    return lambda: op.Div(ct, b), lambda: op.Neg(op.Div(op.Mul(ct, y), b))


@vjp("Pow", singular="a = 0 with b < 1, a < 0 with fractions")
def power(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = a ^ b;  abar = ybar * b * a^(b - 1), bbar = ybar * y * log(a) where a > 0, else 0."""
    a, b = node.required(2)
    y, exponent = node.y, op.cast(b, a.dtype)

    def base_ct() -> ir.Value:
        return op.Mul(ct, op.Mul(exponent, op.Pow(a, op.Sub(exponent, 1.0))))

    def exponent_ct() -> ir.Value:
        positive = op.Greater(a, 0.0)
        whole = op.Where(positive, op.Mul(ct, op.Mul(y, op.Log(op.Where(positive, a, 1.0)))), 0.0)
        return op.cast(whole, b.dtype)

    return base_ct, exponent_ct


def product_of_others(op: OpBuilder, x: ir.Value, fold: Callable[[ir.Value, bool], ir.Value]) -> ir.Value:
    """For each element of x the product of the others that are multiplied with it, also where elements are 0.

    Args:
        op: The builder.
        x: The factors.
        fold: Gives each factor the product of its group, or with a second argument of True the sum.
    """
    zero = op.Equal(x, 0.0)
    nonzero = op.Where(zero, 1.0, x)
    product, zeros = fold(nonzero, False), fold(op.cast(zero, x.dtype), True)
    at_zero = op.Where(op.Equal(zeros, 1.0), product, 0.0)
    elsewhere = op.Where(op.Equal(zeros, 0.0), op.Div(product, nonzero), 0.0)
    return op.Where(zero, at_zero, elsewhere)


@vjp("Sum")
def sum_of(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = a + b + ...;  every cotangent is ybar."""
    return [ct] * len(node.inputs)


@vjp("Mean")
def mean_of(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = (a + b + ...) / n;  every cotangent is ybar / n."""
    return [op.Mul(ct, 1.0 / len(node.inputs))] * len(node.inputs)


@vjp("Max", "Min", compares=True)
def extremum(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = max(a, b, ...);  the whole of ybar goes to the first operand that equals y, elementwise."""
    entries: list[Cotangent] = []
    rest = ct
    for value in node.inputs[:-1]:
        wins = op.Equal(value, node.y)
        entries.append(op.Where(wins, rest, 0.0))
        rest = op.Where(wins, 0.0, rest)
    return [*entries, rest]


@vjp("Mod", singular="b = 0")
def mod(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = a - b * q with q the integer quotient;  abar = ybar, bbar = -ybar * q."""
    a, b = node.inputs
    return ct, lambda: op.Neg(op.Mul(ct, op.Round(op.Div(op.Sub(a, node.y), b))))


@vjp("Range")
def range_rule(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y[i] = start + i * delta;  startbar = sum of ybar, deltabar = sum of i * ybar; the length is no variable."""
    steps = op.cast(op.Range(0, op.Size(ct), 1), ct.dtype)
    return (
        lambda: op.ReduceSum(ct, keepdims=0),
        None,
        lambda: op.ReduceSum(op.Mul(ct, steps), keepdims=0),
    )


@vjp("Where")
def where(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = c ? a : b;  abar = c ? ybar : 0, bbar = c ? 0 : ybar."""
    condition = node.x
    return None, lambda: op.Where(condition, ct, 0.0), lambda: op.Where(condition, 0.0, ct)


@vjp("Cast")
def cast(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = x in another dtype;  xbar = ybar in x's dtype, and as it is for integers that stand for real numbers."""
    return (op.cast_like(ct, node.x) if is_float(node.x) else ct,)


@vjp("CastLike")
def cast_like(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = x in the dtype of the second input;  xbar = ybar as that of Cast."""
    return (*cast(op, node, ct), None)


@unary("Identity")
def identity(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value) -> ir.Value:
    """y = x;  xbar = ybar."""
    return ct


@unary("Neg")
def neg(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value) -> ir.Value:
    """y = -x;  xbar = -ybar."""
    return op.Neg(ct)


@unary("Abs")
def absolute(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value) -> ir.Value:
    """y = |x|;  xbar = ybar * sign(x), 0 at 0."""
    return op.Mul(ct, op.Sign(x))


@unary("Reciprocal", singular="x = 0")
def reciprocal(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value) -> ir.Value:
    """y = 1 / x;  xbar = -ybar * y^2."""
    return op.Neg(op.Mul(ct, op.Mul(y, y)))


@unary("Sqrt", singular="x <= 0")
def sqrt(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value) -> ir.Value:
    """y = sqrt(x);  xbar = ybar / (2 y)."""
    return op.Div(op.Mul(ct, 0.5), y)


@unary("Exp", singular="overflow")
def exp(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value) -> ir.Value:
    """y = exp(x);  xbar = ybar * y."""
    return op.Mul(ct, y)


@unary("Log", singular="x <= 0")
def log(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value) -> ir.Value:
    """y = log(x);  xbar = ybar / x."""
    return op.Div(ct, x)


@unary("Erf")
def erf(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value) -> ir.Value:
    """y = erf(x);  xbar = ybar * 2 / sqrt(pi) * exp(-x^2)."""
    return op.Mul(ct, op.Mul(op.Exp(op.Neg(op.Mul(x, x))), 2.0 / math.sqrt(math.pi)))


@unary("Sin")
def sin(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value) -> ir.Value:
    """y = sin(x);  xbar = ybar * cos(x)."""
    return op.Mul(ct, op.Cos(x))


@unary("Cos")
def cos(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value) -> ir.Value:
    """y = cos(x);  xbar = -ybar * sin(x)."""
    return op.Neg(op.Mul(ct, op.Sin(x)))


@unary("Tan")
def tan(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value) -> ir.Value:
    """y = tan(x);  xbar = ybar * (1 + y^2)."""
    return op.Mul(ct, op.Add(op.Mul(y, y), 1.0))


@unary("Asin", singular="|x| >= 1")
def asin(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value) -> ir.Value:
    """y = asin(x);  xbar = ybar / sqrt(1 - x^2)."""
    return op.Div(ct, op.Sqrt(op.Sub(1.0, op.Mul(x, x))))


@unary("Acos", singular="|x| >= 1")
def acos(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value) -> ir.Value:
    """y = acos(x);  xbar = -ybar / sqrt(1 - x^2)."""
    return op.Neg(op.Div(ct, op.Sqrt(op.Sub(1.0, op.Mul(x, x)))))


@unary("Atan")
def atan(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value) -> ir.Value:
    """y = atan(x);  xbar = ybar / (1 + x^2)."""
    return op.Div(ct, op.Add(op.Mul(x, x), 1.0))


@unary("Sinh", singular="overflow")
def sinh(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value) -> ir.Value:
    """y = sinh(x);  xbar = ybar * cosh(x)."""
    return op.Mul(ct, op.Cosh(x))


@unary("Cosh", singular="overflow")
def cosh(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value) -> ir.Value:
    """y = cosh(x);  xbar = ybar * sinh(x)."""
    return op.Mul(ct, op.Sinh(x))


@unary("Asinh")
def asinh(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value) -> ir.Value:
    """y = asinh(x);  xbar = ybar / sqrt(x^2 + 1)."""
    return op.Div(ct, op.Sqrt(op.Add(op.Mul(x, x), 1.0)))


@unary("Acosh", singular="x <= 1")
def acosh(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value) -> ir.Value:
    """y = acosh(x);  xbar = ybar / sqrt(x^2 - 1)."""
    return op.Div(ct, op.Sqrt(op.Sub(op.Mul(x, x), 1.0)))


@unary("Atanh", singular="|x| >= 1")
def atanh(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value) -> ir.Value:
    """y = atanh(x);  xbar = ybar / (1 - x^2)."""
    return op.Div(ct, op.Sub(1.0, op.Mul(x, x)))
