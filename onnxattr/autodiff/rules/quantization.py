"""Rules of quantisation: the straight-through estimator, clipped at the range that the integers can represent.

Rounding counts as the identity, and numbers outside the range as clipped: for QuantizeLinear followed by
DequantizeLinear, xbar = ybar where x is inside [scale * (lowest - zero), scale * (highest - zero)], else 0. Cotangents
of quantised values are real numbers, in the units of the integers. (Bengio, Leonard and Courville, "Estimating or
propagating gradients through stochastic neurons", 2013; the gradient of scales is that of Esser et al., "Learned step
size quantization", 2020.)
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.autodiff.registry import Cotangent, NodeView, vjp
from onnxattr.autodiff.rules.pool import split_ties
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of


def _is_blocked(node: NodeView) -> bool:
    return bool(node.attributes.get("block_size")) and node.rank(node.required(2)[1]) > 1


def _spread(op: OpBuilder, node: NodeView, vector: ir.Value) -> ir.Value:
    """Scales or zero points so that they broadcast to x: one for all, one a slice of an axis, or one a block of it."""
    x, axis = node.x, node.get_int("axis")
    if node.rank(vector) == 0 or dims_of(vector) == [1]:
        return vector
    rank = node.rank(x)
    axis %= rank
    if not _is_blocked(node):
        return op.reshape(vector, [1] * axis + [-1] + [1] * (rank - axis - 1))
    return op.Gather(vector, _blocks(op, node, axis), axis=axis)


def _blocks(op: OpBuilder, node: NodeView, axis: int) -> ir.Value:
    """The number of the block that each position along the axis is in."""
    return op.Div(op.Range(0, op.size(node.x, axis), 1), node.get_int("block_size"))


def _zero_point(op: OpBuilder, node: NodeView, dtype: ir.DataType | None) -> ir.Value:
    """The zero point as a real number that broadcasts to x, 0 without one."""
    zero = node.inputs[2]
    return op.constant(0, dtype) if zero is None else _spread(op, node, op.cast(zero, dtype))


def dequantised(op: OpBuilder, node: NodeView) -> ir.Value:
    """What a DequantizeLinear gives, without one: (x - z) s."""
    x, scale = node.required(2)
    zero = None if node.inputs[2] is None else _zero_point(op, node, scale.dtype)
    return op.cast(as_reals(op, x, zero, scale.dtype, _spread(op, node, scale)), node.y.dtype)


def as_reals(
    op: OpBuilder,
    x: ir.Value,
    zero: ir.Value | None,
    dtype: ir.DataType | None,
    scale: ir.Value | None = None,
) -> ir.Value:
    """(x - z) s of integers x as real numbers: the maximum of that and the lowest number.

    Without the maximum OpenVINO takes it for a weight of integers, and is wrong where others read the integers.
    """
    dtype = ir.DataType.FLOAT if dtype is None else dtype
    steps = op.cast(x, dtype)
    steps = steps if zero is None else op.Sub(steps, op.cast(zero, dtype))
    steps = steps if scale is None else op.Mul(steps, scale)
    real: ir.Value = op.Max(steps, op.constant(dtype.min, dtype))
    return real


def _scale_ct(op: OpBuilder, node: NodeView, ct: ir.Value) -> ir.Value:
    """The cotangent of the scales, from that of the scales spread over x."""
    x, scale = node.required(2)
    if _is_blocked(node):
        rank = node.rank(x)
        axis = node.get_int("axis") % rank
        blocks = op.Reshape(_blocks(op, node, axis), [1] * axis + [-1] + [1] * (rank - axis - 1))
        indices = op.Expand(blocks, op.Shape(ct))
        return op.ScatterElements(op.zeros_like(scale), indices, ct, axis=axis, reduction="add")
    return op.reshape_like(op.sum_to(ct, _spread(op, node, scale)), scale)


@vjp("QuantizeLinear")
def quantize_linear(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = round(x / s) + z within the range;  xbar = ybar / s, sbar = -sum(ybar * x / s^2) inside, 0 outside."""
    x, scale = node.required(2)
    ct = op.cast_like(ct, x)  # the integers may have been cast to another type
    integers = node.y.dtype or ir.DataType.UINT8
    low, high = (op.constant(bound, ct.dtype) for bound in (integers.min, integers.max))
    spread, zero = _spread(op, node, op.cast_like(scale, x)), _zero_point(op, node, x.dtype)
    above = op.GreaterOrEqual(x, op.Mul(op.Sub(low, zero), spread))
    inside = op.And(above, op.LessOrEqual(x, op.Mul(op.Sub(high, zero), spread)))
    x_ct = op.Where(inside, op.Div(ct, spread), 0.0)
    return (
        x_ct,
        lambda: _scale_ct(op, node, op.cast_like(op.Neg(op.Div(op.Mul(x_ct, x), spread)), scale)),
        None,
    )


@vjp("DequantizeLinear")
def dequantize_linear(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = (x - z) s;  xbar = ybar s, sbar = sum(ybar * (x - z))."""
    x, scale = node.required(2)

    def scale_ct() -> ir.Value:
        steps = op.Sub(op.cast_like(x, ct), _zero_point(op, node, ct.dtype))
        return _scale_ct(op, node, op.cast_like(op.Mul(ct, steps), scale))

    return lambda: op.Mul(ct, _spread(op, node, op.cast_like(scale, ct))), scale_ct, None


@vjp("DynamicQuantizeLinear")
def dynamic_quantize_linear(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = round(x / s) + z with s and z from the range of x, which count as constants;  xbar = ybar / s.

    Where s alone reaches the score, s = (max(x, 0) - min(x, 0)) / 255 passes sbar to the ends of the range.
    """
    x, (y_ct, scale_ct, _) = node.x, node.cts
    if y_ct is not None or scale_ct is None:
        return (None if y_ct is None else op.Div(op.cast_like(y_ct, x), node.outputs[1]),)
    axes, share = [*range(node.rank(x))], op.Div(scale_ct, 255.0)
    top, bottom = op.ReduceMax(x, axes), op.ReduceMin(x, axes)
    up = split_ties(op, x, top, op.Where(op.Greater(top, 0.0), share, 0.0), axes)
    down = split_ties(op, x, bottom, op.Where(op.Less(bottom, 0.0), share, 0.0), axes)
    return (op.Sub(up, down),)
