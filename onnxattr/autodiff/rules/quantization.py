"""Rules of quantisation: the straight-through estimator, clipped at the range that the integers can represent.

Rounding counts as the identity, and numbers outside the range as clipped: for QuantizeLinear followed by
DequantizeLinear, xbar = ybar where x is inside [scale * (lowest - zero), scale * (highest - zero)], else 0. Cotangents
of quantised values are real numbers, in the units of the integers. (Bengio, Leonard and Courville, "Estimating or
propagating gradients through stochastic neurons", 2013; the gradient of scales is that of Esser et al., "Learned step
size quantization", 2020.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from onnxattr.autodiff.registry import Cotangent, vjp
from onnxattr.autodiff.rules.linear import rank_of
from onnxattr.autodiff.rules.pool import split_ties
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of


def _is_blocked(node: Any) -> bool:
    return bool(node.attributes.get_int("block_size", 0)) and rank_of(node.inputs[1], node) > 1


def _spread(op: OpBuilder, node: Any, vector: ir.Value) -> ir.Value:
    """Scales or zero points so that they broadcast to x: one for all, one a slice of an axis, or one a block of it."""
    x, axis = node.inputs[0], node.attributes.get_int("axis", 1)
    if rank_of(vector, node) == 0 or dims_of(vector) == [1]:
        return vector
    rank = rank_of(x, node)
    axis %= rank
    if not _is_blocked(node):
        return op.Reshape(vector, [1] * axis + [-1] + [1] * (rank - axis - 1))
    return op.Gather(vector, _blocks(op, node, axis), axis=axis)


def _blocks(op: OpBuilder, node: Any, axis: int) -> ir.Value:
    """The number of the block that each position along the axis is in."""
    size = op.Squeeze(op.shape(node.inputs[0], axis, axis + 1), [0])
    return op.Div(op.Range(op.constant(0), size, op.constant(1)), node.attributes.get_int("block_size"))


def _zero_point(op: OpBuilder, node: Any, dtype: ir.DataType) -> ir.Value:
    """The zero point as a real number that broadcasts to x, 0 without one."""
    zero = node.inputs[2] if len(node.inputs) > 2 else None
    return op.constant(0, dtype) if zero is None else _spread(op, node, op.Cast(zero, to=dtype.value))


def _scale_ct(op: OpBuilder, node: Any, ct: ir.Value) -> ir.Value:
    """The cotangent of the scales, from that of the scales spread over x."""
    x, scale = node.inputs[:2]
    if _is_blocked(node):
        rank = rank_of(x, node)
        axis = node.attributes.get_int("axis", 1) % rank
        blocks = op.Reshape(_blocks(op, node, axis), [1] * axis + [-1] + [1] * (rank - axis - 1))
        indices = op.Expand(blocks, op.Shape(ct))
        return op.ScatterElements(op.zeros_like(scale), indices, ct, axis=axis, reduction="add")
    return op.reshape_like(op.sum_to(ct, _spread(op, node, scale)), scale)


@vjp("QuantizeLinear")
def quantize_linear(op: OpBuilder, node: Any, ct: ir.Value) -> Sequence[Cotangent]:
    """y = round(x / s) + z within the range;  xbar = ybar / s, sbar = -sum(ybar * x / s^2) inside, 0 outside."""
    x, scale = node.inputs[:2]
    low, high = (
        op.constant(bound, ct.dtype) for bound in (node.outputs[0].dtype.min, node.outputs[0].dtype.max)
    )
    spread, zero = _spread(op, node, op.cast_like(scale, x)), _zero_point(op, node, x.dtype)
    above = op.GreaterOrEqual(x, op.Mul(op.Sub(low, zero), spread))
    inside = op.And(above, op.LessOrEqual(x, op.Mul(op.Sub(high, zero), spread)))
    x_ct = op.Where(inside, op.Div(ct, spread), 0.0)
    entries = [
        x_ct,
        lambda: _scale_ct(op, node, op.cast_like(op.Neg(op.Div(op.Mul(x_ct, x), spread)), scale)),
        None,
    ]
    return entries[: len(node.inputs)]


@vjp("DequantizeLinear")
def dequantize_linear(op: OpBuilder, node: Any, ct: Any) -> Sequence[Cotangent]:
    """y = (x - z) s;  xbar = ybar s, sbar = sum(ybar * (x - z))."""
    x, scale = node.inputs[:2]

    def scale_ct() -> Any:
        steps = op.Sub(op.Cast(x, to=ct.dtype.value), _zero_point(op, node, ct.dtype))
        return _scale_ct(op, node, op.cast_like(op.Mul(ct, steps), scale))

    entries = [lambda: op.Mul(ct, _spread(op, node, op.cast_like(scale, ct))), scale_ct, None]
    return entries[: len(node.inputs)]


@vjp("DynamicQuantizeLinear")
def dynamic_quantize_linear(op: OpBuilder, node: Any, ct: Any) -> Sequence[Cotangent]:
    """y = round(x / s) + z with s and z from the range of x, which count as constants;  xbar = ybar / s.

    Where s alone reaches the score, s = (max(x, 0) - min(x, 0)) / 255 passes sbar to the ends of the range.
    """
    x, (y_ct, scale_ct, _) = node.inputs[0], ct
    if y_ct is not None or scale_ct is None:
        return (None if y_ct is None else op.Div(y_ct, node.outputs[1]),)
    axes, share = [*range(rank_of(x, node))], op.Div(scale_ct, 255.0)
    top, bottom = op.ReduceMax(x, axes), op.ReduceMin(x, axes)
    up = split_ties(op, x, top, op.Where(op.Greater(top, 0.0), share, 0.0), axes)
    down = split_ties(op, x, bottom, op.Where(op.Less(bottom, 0.0), share, 0.0), axes)
    return (op.Sub(up, down),)
