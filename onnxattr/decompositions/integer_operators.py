"""Operators that compute in integers, written in the QDQ form: quantised what reals give of the dequantised operands.

Kernels of integers round once, where these round in float32 before: where a result lies between two steps of its
scale, it may be the other one.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from onnxattr.autodiff.node import NodeView
from onnxattr.autodiff.rules.integers import lstm_of_reals
from onnxattr.decompositions.contrib import CONV, softmax_from
from onnxattr.decompositions.registry import decomposition
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of

Function = Callable[[OpBuilder, NodeView, ir.Value], ir.Value]


def _in_front(
    op: OpBuilder, node: NodeView, x: ir.Value, function: Callable[[ir.Value], ir.Value], behind: bool
) -> ir.Value:
    """function(x), which takes and gives channels in front, where those of a node may be behind."""
    if not behind:
        return function(x)
    rank = node.rank(x)
    y = function(op.Transpose(x, perm=[0, rank - 1, *range(1, rank - 1)]))
    return op.Transpose(y, perm=[0, *range(2, rank), 1])


@decomposition("QLinearConv", "com.microsoft::QLinearConv", inputs=9)
def qlinear_conv(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = quantised(x * w + b); the bias is in steps of the scales' product."""
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = node.required(8)
    operands = [real(op, w, w_scale, w_zero, axis=0)]
    bias = node.inputs[8]
    if bias is not None:
        operands.append(real(op, bias, op.Mul(x_scale, w_scale), None, axis=0))
    attributes, behind = node.attributes.kept(*CONV), bool(node.get_int("channels_last", 0))
    x = real(op, x, x_scale, x_zero)
    y = _in_front(op, node, x, lambda x: op.node("Conv", [x, *operands], attributes), behind)
    return quantised(op, y, y_scale, y_zero)


@decomposition("QLinearMatMul", inputs=8)
def qlinear_matmul(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = quantised(a b)."""
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = node.required(8)
    product = op.MatMul(real(op, a, a_scale, a_zero, axis=-2), real(op, b, b_scale, b_zero, axis=-1))
    return quantised(op, product, y_scale, y_zero)


@decomposition("com.microsoft::QGemm", inputs=9)
def qgemm(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = alpha a b + c, quantised where there is a scale for it; c is in steps of alpha times the scales' product."""
    a, a_scale, a_zero, b, b_scale, b_zero = node.required(6)
    c, y_scale, y_zero = node.inputs[6:9]
    turned, alpha = node.get_int("transB", 0), node.get_float("alpha", 1.0)
    operands = [
        real(op, a, a_scale, a_zero),
        real(op, b, b_scale, b_zero, axis=0 if turned else 1),
    ]
    if c is not None:
        scale = op.Mul(op.Mul(a_scale, b_scale), alpha)
        operands.append(real(op, c, scale, None, axis=-1))
    y = op.node("Gemm", operands, node.attributes.kept("alpha", "transA", "transB"))
    return y if y_scale is None else quantised(op, y, y_scale, y_zero)


@decomposition("com.microsoft::MatMulIntegerToFloat", inputs=7)
def matmul_integer_to_float(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = (a - a0) (b - b0) times both scales, plus the bias."""
    a, b, a_scale, b_scale = node.required(4)
    a_zero, b_zero, bias = node.inputs[4:7]
    return _product(op, real(op, a, a_scale, a_zero), real(op, b, b_scale, b_zero, axis=-1), bias)


@decomposition("com.microsoft::DynamicQuantizeMatMul", inputs=5)
def dynamic_quantize_matmul(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = a b + bias, where a is quantised by its range."""
    a, b, b_scale = node.required(3)
    b_zero, bias = node.inputs[3:5]
    integers, scale, zero = op.append("DynamicQuantizeLinear", [a], outputs=3)
    return _product(op, real(op, integers, scale, zero), real(op, b, b_scale, b_zero, axis=-1), bias)


# It has a rule too, so that models keep the kernel, which rounds the states.
decomposition("com.microsoft::DynamicQuantizeLSTM", inputs=12)(lstm_of_reals)


@decomposition("com.microsoft::QLinearAdd", "com.microsoft::QLinearMul", inputs=8)
def qlinear_arithmetic(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = quantised(a + b), or of a b."""
    a_zero, b_zero, y_zero = (node.inputs[place] for place in (2, 5, 7))
    a, a_scale, b, b_scale, y_scale = node.given([*node.inputs[:2], *node.inputs[3:5], node.inputs[6]])
    operands = [real(op, a, a_scale, a_zero), real(op, b, b_scale, b_zero)]
    y = op.append(node.op_type.removeprefix("QLinear"), operands)[0]
    return quantised(op, y, y_scale, y_zero)


@decomposition("com.microsoft::QLinearWhere", inputs=9)
def qlinear_where(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = quantised(where(condition, a, b))."""
    condition, a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = node.required(9)
    chosen = op.Where(condition, real(op, a, a_scale, a_zero), real(op, b, b_scale, b_zero))
    return quantised(op, chosen, y_scale, y_zero)


@decomposition("com.microsoft::NhwcMaxPool", inputs=1)
def nhwc_max_pool(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = the pool of ai.onnx, with channels behind."""
    names = ("auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides")
    attributes = node.attributes.kept(*names)
    return _in_front(op, node, node.x, lambda x: op.node("MaxPool", [x], attributes), behind=True)


@decomposition("com.microsoft::QLinearConcat")
def qlinear_concat(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = quantised(concatenation); operands follow as (x, scale, zero point)."""
    (y_scale,), y_zero, rest = node.required(1), node.inputs[1], node.inputs[2:]
    operands = zip(node.given(rest[::3]), node.given(rest[1::3]), rest[2::3], strict=True)
    parts = [real(op, x, scale, zero) for x, scale, zero in operands]
    return quantised(op, op.Concat(*parts, axis=node.get_int("axis")), y_scale, y_zero)


def _average_pool(op: OpBuilder, node: NodeView, x: ir.Value) -> ir.Value:
    names = ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")
    found: ir.Value = op.node("AveragePool", [x], node.attributes.kept(*names))
    return found


def _softmax(op: OpBuilder, node: NodeView, x: ir.Value) -> ir.Value:
    axis = node.get_int("axis", -1)
    if node.get_int("opset", 13) < 13:
        return softmax_from(op, node, x, axis)
    found: ir.Value = op.Softmax(x, axis=axis)
    return found


#: What reals give of one operand, by operator; its channels are in front.
UNARY: dict[str, Function] = {
    "QLinearSigmoid": lambda op, node, x: op.Sigmoid(x),
    "QLinearLeakyRelu": lambda op, node, x: op.LeakyRelu(x, alpha=node.get_float("alpha", 0.01)),
    "QLinearGlobalAveragePool": lambda op, node, x: op.GlobalAveragePool(x),
    "QLinearAveragePool": _average_pool,
    "QLinearSoftmax": _softmax,
}


@decomposition(*(f"com.microsoft::{name}" for name in UNARY), inputs=5)
def qlinear_unary(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = quantised(f(x))."""
    (x, x_scale), x_zero, y_zero = node.required(2), node.inputs[2], node.inputs[4]
    (y_scale,) = node.given(node.inputs[3:4])
    function, behind = UNARY[node.op_type], bool(node.get_int("channels_last", 0))
    y = _in_front(op, node, real(op, x, x_scale, x_zero), lambda x: function(op, node, x), behind)
    return quantised(op, y, y_scale, y_zero)


def _product(op: OpBuilder, a: ir.Value, b: ir.Value, bias: ir.Value | None) -> ir.Value:
    y: ir.Value = op.MatMul(a, b)
    return y if bias is None else op.Add(y, bias)


def _one(op: OpBuilder, scale: ir.Value) -> ir.Value:
    """A scale for all as a number, others as they are."""
    return op.reshape(scale, []) if dims_of(scale) == [1] else scale


def real(
    op: OpBuilder, x: ir.Value, scale: ir.Value, zero: ir.Value | None, axis: int | None = None
) -> ir.Value:
    """The real numbers that integers stand for; where scales are several, they lie along the axis."""
    scale, zero = _one(op, scale), None if zero is None else _one(op, zero)
    options = {} if axis is None or dims_of(scale) == [] else {"axis": axis}
    found: ir.Value = op.DequantizeLinear(x, scale, zero, **options)
    return found


def quantised(op: OpBuilder, y: ir.Value, scale: ir.Value, zero: ir.Value | None) -> ir.Value:
    """Real numbers in steps of a scale."""
    found: ir.Value = op.QuantizeLinear(y, _one(op, scale), None if zero is None else _one(op, zero))
    return found
