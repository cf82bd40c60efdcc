"""Definitions of com.microsoft normalisations, by the formulas of ONNX Runtime's kernels."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.autodiff.node import NodeView
from onnxattr.autodiff.rules.norm import EPSILON, per_channel
from onnxattr.autodiff.standardize import standardize
from onnxattr.decompositions.contrib import swish
from onnxattr.decompositions.registry import decomposition
from onnxattr.graph.builder import OpBuilder


def rms(op: OpBuilder, node: NodeView, x: ir.Value, scale: ir.Value, epsilon: float, axis: int) -> ir.Value:
    """x / sqrt(mean(x^2) + eps) * scale over the last axes; the operator where the opset has it."""
    if op.opset >= 23:
        return op.RMSNormalization(x, scale, axis=axis, epsilon=epsilon)
    return op.Mul(standardize(op, x, _last_axes(node, x, axis), epsilon, centre=False)[0], scale)


def _last_axes(node: NodeView, x: ir.Value, axis: int) -> list[int]:
    """The axes from one on."""
    rank = node.rank(x) if axis != -1 else 0
    return [*range(axis % rank, rank)] if rank else [-1]


# The kernel computes in float32 or float64 whatever stash_type says.
@decomposition("com.microsoft::SimplifiedLayerNormalization", inputs=2, unread=("stash_type",))
def simplified_layer_normalization(op: OpBuilder, node: NodeView) -> Sequence[ir.Value]:
    """y = x / sqrt(mean(x^2) + eps) * scale; the second output is 1 / sqrt(mean(x^2) + eps)."""
    x, scale = node.required(2)
    axis, epsilon = node.get_int("axis", -1), node.get_float("epsilon", EPSILON)
    y = rms(op, node, x, scale, epsilon, axis)
    if len(node.outputs) == 1:
        return (y,)
    return y, standardize(op, x, _last_axes(node, x, axis), epsilon, centre=False)[1]


@decomposition("com.microsoft::LayerNormalization", inputs=3)
def layer_normalization(op: OpBuilder, node: NodeView) -> Sequence[ir.Value]:
    """The operator of ai.onnx 17, which ONNX Runtime writes into older models too."""
    attributes = node.attributes.kept("axis", "epsilon", "stash_type")
    return op.node("LayerNormalization", node.inputs, attributes, outputs=len(node.outputs))


def _skip_sum(op: OpBuilder, *parts: ir.Value | None) -> ir.Value:
    present = [part for part in parts if part is not None]
    total = present[0]
    for part in present[1:]:
        total = op.Add(total, part)
    return total


@decomposition("com.microsoft::SkipLayerNormalization", inputs=5)
def skip_layer_normalization(op: OpBuilder, node: NodeView) -> Sequence[ir.Value | None]:
    """y = layer_normalization(s) with s = x + skip + bias, s also being the fourth output."""
    x, skip, gamma, beta, bias = node.inputs
    total = _skip_sum(op, x, skip, bias)
    scales = [gamma] if beta is None else [gamma, beta]
    epsilon = node.get_float("epsilon", 1e-12)
    return op.LayerNormalization(total, *scales, axis=-1, epsilon=epsilon), None, None, total


@decomposition("com.microsoft::SkipSimplifiedLayerNormalization", inputs=4)
def skip_simplified_layer_normalization(op: OpBuilder, node: NodeView) -> Sequence[ir.Value | None]:
    """y = s / sqrt(mean(s^2) + eps) * gamma with s = x + skip + bias, s also being the fourth output."""
    (x, skip, gamma), bias = node.required(3), node.inputs[3]
    total = _skip_sum(op, x, skip, bias)
    epsilon = node.get_float("epsilon", 1e-12)
    return rms(op, node, total, gamma, epsilon, -1), None, None, total


# The kernel counts whatever mask_index_type says.
@decomposition("com.microsoft::EmbedLayerNormalization", inputs=9, unread=("mask_index_type",))
def embed_layer_normalization(op: OpBuilder, node: NodeView) -> Sequence[ir.Value | None]:
    """y = layer_normalization(e), e the sum of a token's word, position and segment embeddings, the third output.

    Ids carry no gradient; the embeddings are values that can be explained.
    """
    ids, (segments, words, positions, segment_table, gamma, beta, mask, position_ids) = (
        node.x,
        node.inputs[1:],
    )
    if position_ids is None:
        position_ids = places_of(op, ids)
    total = op.Add(op.Gather(words, ids, axis=0), op.Gather(positions, position_ids, axis=0))
    if segment_table is not None:
        # Without ids, every token is of the first segment.
        of_each = op.Slice(segment_table, [0], [1], [0])
        total = op.Add(total, of_each if segments is None else op.Gather(segment_table, segments, axis=0))
    y = op.LayerNormalization(total, gamma, beta, axis=-1, epsilon=node.get_float("epsilon", 1e-12))
    return y, counts_of(op, ids, mask), total


def places_of(op: OpBuilder, ids: ir.Value) -> ir.Value:
    """0, 1, ... for (batch, length) ids, as (1, length)."""
    return op.Unsqueeze(op.Range(0, op.size(ids, 1), 1), [0])


def counts_of(op: OpBuilder, ids: ir.Value, mask: ir.Value | None) -> ir.Value:
    """How many ids of each row the mask keeps, where it is 1; 0 without a mask."""
    if mask is None:
        return op.Expand(op.constant(0, ir.DataType.INT32), op.shape(ids, 0, 1))
    return op.ReduceSum(
        op.cast(op.Equal(mask, op.constant(1, mask.dtype)), ir.DataType.INT32), [1], keepdims=0
    )


@decomposition("com.microsoft::GatedRMSNorm", inputs=3)
def gated_rms_norm(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = n * g(gate), n the runs of as many elements as the scale has, normalised; g(z) = z sigmoid(z), or sigmoid."""
    x, scale, gate = node.required(3)
    rank = node.rank(x)
    runs = op.reshape(x, [op.shape(x, 0, rank - 1), -1, op.shape(scale)])
    epsilon = node.get_float("epsilon", 1e-5)
    y = op.reshape_like(rms(op, node, runs, op.cast_like(scale, x), epsilon, -1), x)
    sigmoid = node.get_string("activation", "silu") == "sigmoid"
    return op.Mul(y, op.Sigmoid(gate) if sigmoid else swish(op, gate))


@decomposition("com.microsoft::GroupNorm", inputs=3)
def group_norm(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = x standardised over groups of channels and space, * gamma + beta, at choice times its own sigmoid.

    ONNX Runtime has no kernel for it on a CPU.
    """
    return _group_norm(op, node, *node.required(3))


@decomposition("com.microsoft::SkipGroupNorm", inputs=5)
def skip_group_norm(op: OpBuilder, node: NodeView) -> Sequence[ir.Value]:
    """y = group_norm(s) with s = x + skip + bias, the second output. ONNX Runtime has no kernel for it on a CPU."""
    (x, gamma, beta, skip), bias = node.required(4), node.inputs[4]
    last = node.get_int("channels_last", 1)
    if node.rank(skip) == 2:
        skip = op.Unsqueeze(skip, [1, 2] if last else [2, 3])
    total = _skip_sum(op, x, skip, bias if last or bias is None else per_channel(op, bias, 4))
    return _group_norm(op, node, total, gamma, beta), total


def _group_norm(op: OpBuilder, node: NodeView, x: ir.Value, gamma: ir.Value, beta: ir.Value) -> ir.Value:
    last = node.get_int("channels_last", 1)
    first = op.Transpose(x, perm=[0, 3, 1, 2]) if last else x
    groups = op.reshape(first, [0, node.get_int("groups"), -1])
    z = standardize(op, groups, [2], node.get_float("epsilon", EPSILON))[0]
    scale, shift = (per_channel(op, op.cast_like(vector, x), 4) for vector in (gamma, beta))
    y = op.Add(op.Mul(op.reshape_like(z, first), scale), shift)
    if node.get_int("activation"):
        y = swish(op, y)
    return op.Transpose(y, perm=[0, 2, 3, 1]) if last else y
