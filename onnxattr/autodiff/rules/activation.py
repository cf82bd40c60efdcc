"""Rules of activation functions. At kinks they take TensorFlow's subgradient, stated in each rule."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.autodiff.registry import Cotangent, NodeView, unary, vjp
from onnxattr.graph.builder import OpBuilder


def above(op: OpBuilder, value: ir.Value, bound: float, ct: ir.Value) -> ir.Value:
    """ct where value > bound, else 0."""
    return op.Where(op.Greater(value, bound), ct, 0.0)


def between(op: OpBuilder, value: ir.Value, low: float, high: float, ct: ir.Value) -> ir.Value:
    """ct where low < value < high, else 0."""
    return op.Where(op.And(op.Greater(value, low), op.Less(value, high)), ct, 0.0)


@unary("Relu")
def relu(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value) -> ir.Value:
    """y = max(x, 0);  xbar = ybar where y > 0, else 0."""
    return above(op, y, 0.0, ct)


@vjp("Clip", compares=True)
def clip(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = min(max(x, low), high);  xbar = ybar inside, 0 outside.

    At the bounds ReLU6 (bounds 0 and 6) passes nothing and every other clip passes ybar.
    The bounds get the cotangents of the elements they replace; the upper one of all if it is below the lower.
    """
    x, y, (low, high) = node.x, node.y, node.inputs[1:]
    bounds = [
        None if v is None or v.const_value is None else v.const_value.numpy().item() for v in (low, high)
    ]

    def x_ct() -> ir.Value:
        if bounds == [0.0, 6.0]:
            return between(op, y, 0.0, 6.0, ct)
        kept = op.Equal(x, y)
        known = [bound for bound in bounds if bound is not None]
        if None not in (low, high) and (len(known) < 2 or known[0] > known[1]):
            # Where they cross all is the upper bound, elements that happen to equal it too.
            kept = op.And(kept, op.LessOrEqual(low, high))
        return op.Where(kept, ct, 0.0)

    def raised() -> ir.Value:
        return x if low is None else op.Max(x, low)

    return (
        x_ct,
        lambda: op.Where(op.And(op.Less(x, low), op.Equal(raised(), y)), ct, 0.0),
        lambda: op.Where(op.Greater(raised(), high), ct, 0.0),
    )


@vjp("LeakyRelu")
def leaky_relu(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = x where x > 0, else alpha * x;  xbar = ybar or alpha * ybar (at 0: alpha * ybar)."""
    alpha = node.get_float("alpha")
    return (op.Where(op.Greater(node.x, 0.0), ct, op.Mul(ct, alpha)),)


@vjp("PRelu")
def prelu(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = x where x > 0, else s * x;  xbar = ybar or s * ybar (at 0: s * ybar), sbar = ybar * min(x, 0)."""
    x, slope = node.inputs
    return op.Where(op.Greater(x, 0.0), ct, op.Mul(ct, slope)), lambda: op.Mul(ct, op.Min(x, 0.0))


@vjp("ThresholdedRelu")
def thresholded_relu(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = x where x > alpha, else 0;  xbar = ybar where x > alpha, else 0."""
    return (op.Where(op.Greater(node.x, node.get_float("alpha")), ct, 0.0),)


def _decay(op: OpBuilder, x: ir.Value) -> ir.Value:
    """exp(x) where x < 0, else 1; exp(x) - 1 has not its digits."""
    return op.Exp(op.Min(x, 0.0))


@vjp("Elu")
def elu(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = x where x > 0, else a (exp(x) - 1);  xbar = ybar where x > 0, else ybar * a exp(x) (at 0: a ybar)."""
    alpha, slope = node.get_float("alpha"), op.Mul(ct, _decay(op, node.x))
    return (slope if alpha == 1 else op.Where(op.Greater(node.x, 0.0), ct, op.Mul(slope, alpha)),)


@vjp("Selu")
def selu(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = g x where x > 0, else g a (exp(x) - 1);  xbar = g ybar, or ybar * g a exp(x) where x < 0 (at 0: g ybar)."""
    alpha, gamma = node.get_float("alpha"), node.get_float("gamma")
    slope = op.Mul(_decay(op, node.x), alpha * gamma)
    return (op.Mul(ct, op.Where(op.Less(node.x, 0.0), slope, gamma)),)


@vjp("Celu")
def celu(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = max(x, 0) + min(0, a (exp(x / a) - 1));  xbar = ybar, or ybar * exp(x / a) where x < 0 (at 0: ybar)."""
    return (op.Mul(ct, _decay(op, op.Mul(node.x, 1.0 / node.get_float("alpha")))),)


@unary("Sigmoid")
def sigmoid(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value) -> ir.Value:
    """y = 1 / (1 + exp(-x));  xbar = ybar * y * (1 - y)."""
    return op.Mul(ct, op.Mul(y, op.Sub(1.0, y)))


@unary("Tanh")
def tanh(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value) -> ir.Value:
    """y = tanh(x);  xbar = ybar * (1 - y^2)."""
    return op.Mul(ct, op.Sub(1.0, op.Mul(y, y)))


@unary("Softplus")
def softplus(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value) -> ir.Value:
    """y = log(1 + exp(x));  xbar = ybar * sigmoid(x)."""
    return op.Mul(ct, op.Sigmoid(x))


@unary("Softsign")
def softsign(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value) -> ir.Value:
    """y = x / (1 + |x|);  xbar = ybar / (1 + |x|)^2."""
    scale = op.Add(op.Abs(x), 1.0)
    return op.Div(ct, op.Mul(scale, scale))


@vjp("HardSigmoid")
def hard_sigmoid(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = min(max(a x + b, 0), 1);  xbar = a ybar where 0 < y < 1, else 0."""
    y, alpha = node.y, node.get_float("alpha")
    return (op.Mul(between(op, y, 0.0, 1.0, ct), alpha),)


@unary("HardSwish")
def hard_swish(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value) -> ir.Value:
    """y = x * min(max(x / 6 + 1/2, 0), 1);  xbar = ybar * (gate + x / 6 where 0 < gate < 1)."""
    gate = op.HardSigmoid(x, alpha=1 / 6, beta=0.5)
    inside = between(op, x, -3.0, 3.0, op.Mul(x, 1 / 6))
    return op.Mul(ct, op.Add(gate, inside))


@unary("Mish")
def mish(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value) -> ir.Value:
    """y = x * t with t = tanh(softplus(x));  xbar = ybar * (t + x * sigmoid(x) * (1 - t^2))."""
    t = op.Tanh(op.Softplus(x))
    return op.Mul(ct, op.Add(t, op.Mul(op.Mul(x, op.Sigmoid(x)), op.Sub(1.0, op.Mul(t, t)))))


@vjp("Swish")
def swish(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = x * s with s = sigmoid(a x);  xbar = ybar * (s + a y (1 - s))."""
    x, y, alpha = node.x, node.y, node.get_float("alpha")
    s = op.Sigmoid(op.Mul(x, alpha))
    return (op.Mul(ct, op.Add(s, op.Mul(op.Mul(y, alpha), op.Sub(1.0, s)))),)


@vjp("Gelu")
def gelu(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = x * P(x);  xbar = ybar * (P(x) + x * P'(x)), P the normal distribution or its tanh approximation."""
    x = node.x
    if node.get_string("approximate") == "tanh":
        c = math.sqrt(2.0 / math.pi)
        # Beyond 10 the distribution is 0 or 1 in any precision, and the powers of x may be infinite.
        near = op.Clip(x, -10.0, 10.0)
        square = op.Mul(near, near)
        t = op.Tanh(op.Mul(near, op.Add(op.Mul(square, 0.044715 * c), c)))
        density = op.Mul(op.Mul(op.Sub(1.0, op.Mul(t, t)), op.Add(op.Mul(square, 3 * 0.044715 * c), c)), 0.5)
    else:
        t = op.Erf(op.Mul(x, math.sqrt(0.5)))
        density = op.Mul(op.Exp(op.Mul(op.Mul(x, x), -0.5)), 1.0 / math.sqrt(2.0 * math.pi))
    probability = op.Mul(op.Add(t, 1.0), 0.5)
    return (op.Mul(ct, op.Add(probability, op.Mul(x, density))),)


@vjp("Shrink")
def shrink(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = x - bias where x > lambd, x + bias where x < -lambd, else 0;  xbar = ybar where |x| > lambd, else 0."""
    return (op.Where(op.Greater(op.Abs(node.x), node.get_float("lambd")), ct, 0.0),)


@vjp("Softmax", singular="rows of minus infinity")
def softmax(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = exp(x) / sum(exp(x));  xbar = y * (ybar - sum(ybar * y)).

    Rows that are masked out as a whole are NaN; where a model drops or replaces them, their ybar is 0 and so is xbar.
    """
    y, axis = node.y, node.get_int("axis")
    return (op.Mul(y, op.Sub(ct, op.ReduceSum(op.Mul(ct, y), [axis], keepdims=1))),)


@vjp("LogSoftmax", singular="rows of minus infinity")
def log_softmax(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = x - log(sum(exp(x)));  xbar = ybar - exp(y) * sum(ybar)."""
    y, axis = node.y, node.get_int("axis")
    return (op.Sub(ct, op.Mul(op.Exp(y), op.ReduceSum(ct, [axis], keepdims=1))),)


@vjp("Dropout")
def dropout(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = x in inference;  xbar = ybar. In training y = x / (1 - ratio) where the mask is drawn, and xbar likewise."""
    _, ratio, training = node.inputs
    if training is None or (training.const_value is not None and not training.const_value.numpy().item()):
        return ct, None, None
    warnings.warn(
        f"Dropout node {node.name!r} is, or may be, in training mode: gradients are those of one random draw. "
        "Export the model for inference to explain what it predicts.",
        stacklevel=2,
    )
    mask = node.output(op, 1)
    kept = op.Sub(1.0, op.constant(0.5, ct.dtype) if ratio is None else op.cast_like(ratio, ct))
    factor = op.Where(training, op.Reciprocal(kept), 1.0)
    return op.Where(mask, op.Mul(ct, factor), 0.0), None, None
