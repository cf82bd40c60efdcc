"""Definitions of the com.microsoft attention operators.

Formulas are those of ONNX Runtime's CPU kernels: masked scores get a large negative number added, not minus infinity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.autodiff.node import NodeView
from onnxattr.decompositions.registry import decomposition
from onnxattr.errors import UnsupportedOpError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of


@decomposition("com.microsoft::MultiHeadAttention", inputs=10, unread=("mask_filter_value",))
def multi_head_attention(op: OpBuilder, node: NodeView) -> Sequence[ir.Value | None]:
    """y = softmax(q k^T * scale + masks) v for each head; q, k and v are given apart or packed.

    Past keys and values are the beginning of the present ones, the second and third output. What the softmax reads is
    the fourth, which is not given for nodes that hide later keys by the lowest number there is.
    """
    query, (key, value, bias, padding, added, past_key, past_value, *cache) = node.x, node.inputs[1:]
    refuse_cache(node, cache)
    refuse_past_alone(node, past_key, past_value)
    heads = node.get_int("num_heads")
    if node.rank(query) == 5:
        query, key, value = _unpack(op, query, 3)
    elif key is not None and value is None:
        key, value = _unpack(op, key, 2)
    parts = [query, key, value]
    if bias is not None:
        parts = [
            part if part is None or node.rank(part) == 4 else op.Add(part, shift)
            for part, shift in zip(parts, _split_bias(op, node, bias, query, value), strict=True)
        ]
    q, k, v = (
        part if node.rank(part) == 4 else _split_heads(op, part, heads) for part in parts if part is not None
    )
    before = None if past_key is None else op.shape(past_key, 2, 3)
    if past_key is not None and past_value is not None:
        k, v = op.Concat(past_key, k, axis=2), op.Concat(past_value, v, axis=2)
    y, scores = _attend(op, node, q, k, v, before, [_padding(op, node, padding, k), added])
    return y, k, v, None if node.get_int("unidirectional", 0) else scores


@decomposition("com.microsoft::Attention", inputs=7, unread=("mask_filter_value", "rotary_embedding_dim"))
def attention(op: OpBuilder, node: NodeView) -> Sequence[ir.Value | None]:
    """y = softmax(q k^T * scale + masks) v for each head, with [q, k, v] = x w + b.

    Past keys and values, one above the other, are the beginning of the present ones, the second output.
    """
    x, weights, bias, mask, past, added, *cache = node.inputs
    refuse_cache(node, cache)
    if weights is None:
        raise UnsupportedOpError(
            f"Attention node {node.name!r} has no weights for queries, keys and values. Save the model with a lower "
            "level of graph optimisation."
        )
    projected = op.MatMul(x, weights)
    if bias is not None:
        projected = op.Add(projected, bias)
    return attend_projected(op, node, projected, mask, past, added)


def attend_projected(
    op: OpBuilder,
    node: NodeView,
    projected: ir.Value,
    mask: ir.Value | None,
    past: ir.Value | None,
    added: ir.Value | None = None,
) -> Sequence[ir.Value | None]:
    """The outputs of Attention, from queries, keys and values side by side."""
    if node.get_int("do_rotary", 0):
        raise UnsupportedOpError(
            f"{node.op_type} node {node.name!r}: unsupported do_rotary=1; supported: 0. Save the model with a lower "
            "level of graph optimisation, so that RotaryEmbedding stays an operator of its own."
        )
    heads = node.get_int("num_heads")
    sizes = node.get_ints("qkv_hidden_sizes")
    if sizes:
        parts = op.Split(projected, op.constant(list(sizes)), axis=-1, outputs=3)
    else:
        parts = op.Split(projected, num_outputs=3, axis=-1, outputs=3)
    q, k, v = (_split_heads(op, part, heads) for part in parts)
    before = None if past is None else op.shape(past, 3, 4)
    if past is not None:
        pasts = op.Split(past, num_outputs=2, axis=0, outputs=2)
        k, v = (
            op.Concat(op.Squeeze(part, [0]), new, axis=2) for part, new in zip(pasts, (k, v), strict=True)
        )
    present = None
    # Values of another width than the keys' do not lie above them in one tensor.
    if len(node.outputs) > 1 and (not sizes or sizes[1] == sizes[2]):
        present = op.Concat(op.Unsqueeze(k, [0]), op.Unsqueeze(v, [0]), axis=0)
    y, _ = _attend(op, node, q, k, v, before, [_padding(op, node, mask, k), added])
    return y, present


def refuse_cache(node: NodeView, cache: Sequence[ir.Value | None]) -> None:
    """Raises an error for one buffer of past and present."""
    if any(value is not None for value in cache) or node.get_int("past_present_share_buffer", 0):
        raise UnsupportedOpError(
            f"{node.op_type} node {node.name!r} shares one buffer for past and present keys and values. Export the "
            "model without that (past_present_share_buffer=0), or without its cache (use_cache=False)."
        )


def refuse_past_alone(node: NodeView, *past: ir.Value | None) -> None:
    """Raises an error for past keys and values of a node that gives no present ones.

    ONNX Runtime joins past and new ones in the outputs; without these its kernel reads memory behind the new ones.
    """
    present = [value.name for value in node.outputs[1:3] if value.name]
    if len(present) < 2 and any(value is not None for value in past):
        raise UnsupportedOpError(
            f"{node.where} has past keys and values and leaves out the output present_key or present_value, without "
            "which ONNX Runtime computes with memory that does not belong to them. Name both outputs of the node in "
            "the file, or export the model without its cache (use_cache=False)."
        )


def _unpack(op: OpBuilder, packed: ir.Value, count: int) -> list[ir.Value]:
    """The parts of (batch, length, heads, count, features), each with its heads in front."""
    parts = op.Split(packed, num_outputs=count, axis=3, outputs=count)
    return [op.Transpose(op.Squeeze(part, [3]), perm=[0, 2, 1, 3]) for part in parts]


def _split_bias(
    op: OpBuilder, node: NodeView, bias: ir.Value, query: ir.Value, value: ir.Value | None
) -> Sequence[ir.Value]:
    """The biases of q, k and v, which lie one behind the other."""
    width, total = (dims_of(query) or [None])[-1], (dims_of(bias) or [None])[-1]
    if not isinstance(width, int) or not isinstance(total, int) or node.rank(query) != 3:
        raise UnsupportedOpError(
            f"{node.op_type} node {node.name!r}: a bias needs queries of rank 3 and known width. Run "
            "onnxruntime.tools.symbolic_shape_infer on the model."
        )
    return op.Split(bias, op.constant([width, width, total - 2 * width]), axis=0, outputs=3)


def _split_heads(op: OpBuilder, value: ir.Value, heads: int) -> ir.Value:
    """(batch, length, heads * features) as (batch, heads, length, features)."""
    return op.Transpose(op.reshape(value, [0, 0, heads, -1]), perm=[0, 2, 1, 3])


def _attend(
    op: OpBuilder,
    node: NodeView,
    q: ir.Value,
    k: ir.Value,
    v: ir.Value,
    before: ir.Value | None,
    masks: Sequence[ir.Value | None],
) -> tuple[ir.Value, ir.Value]:
    """The attention, and the scores before the softmax."""
    width = (dims_of(q) or [None])[-1]
    scale = node.get_float("scale", 0.0)
    if not scale and not isinstance(width, int):
        raise UnsupportedOpError(
            f"{node.op_type} node {node.name!r}: the width of its heads is unknown, and it has no scale. Run "
            "onnxruntime.tools.symbolic_shape_infer on the model."
        )
    scores = op.Mul(op.MatMul(q, op.Transpose(k, perm=[0, 1, 3, 2])), scale or 1 / math.sqrt(int(str(width))))
    if node.get_int("unidirectional", 0):
        scores = op.Add(scores, _causal(op, q, k, before))
    for mask in masks:
        if mask is not None:
            scores = op.Add(scores, mask)
    mixed = op.Transpose(op.MatMul(op.Softmax(scores, axis=-1), v), perm=[0, 2, 1, 3])
    return op.reshape(mixed, [0, 0, -1]), scores


def _masked(op: OpBuilder, node: NodeView, visible: ir.Value, like: ir.Value) -> ir.Value:
    """0 where visible, the filter value elsewhere."""
    return op.Where(
        visible,
        op.constant(0, like.dtype),
        op.constant(node.get_float("mask_filter_value", -10000.0), like.dtype),
    )


def _causal(op: OpBuilder, q: ir.Value, k: ir.Value, before: ir.Value | None) -> ir.Value:
    """Hides later keys from every query but the last; the first query has the place behind the keys of the past."""
    rows, columns = op.shape(q, 2, 3), op.shape(k, 2, 3)
    ones = op.Expand(op.constant(True), op.Concat(rows, columns, axis=0))
    first = op.constant(0) if before is None else op.Squeeze(before, [0])
    places, last = op.Range(0, op.Squeeze(rows, [0]), 1), op.Sub(rows, 1)
    visible = op.Or(op.Trilu(ones, first, upper=0), op.Unsqueeze(op.Equal(places, last), [1]))
    lowest = {ir.DataType.FLOAT16: -65504.0}.get(q.dtype or ir.DataType.FLOAT, -3.0e38)
    return op.Where(visible, op.constant(0, q.dtype), op.constant(lowest, q.dtype))


def _padding(op: OpBuilder, node: NodeView, mask: ir.Value | None, k: ir.Value) -> ir.Value | None:
    """The mask of padded keys, from one number a key or from the lengths of the rows."""
    if mask is None or (node.rank(mask) == 2 and (dims_of(mask) or [None])[-1] == 1):
        return None  # a mask of one number stands for none
    rank = node.rank(mask)
    if rank == 1:
        return _masked(op, node, op.Unsqueeze(_between(op, mask, k), [1, 2]), k)
    visible = op.Greater(mask, op.constant(0, mask.dtype))
    axes = {2: [1, 2], 3: [1], 4: []}[rank]
    return _masked(op, node, op.Unsqueeze(visible, axes) if axes else visible, k)


def _between(op: OpBuilder, mask: ir.Value, k: ir.Value) -> ir.Value:
    """Which keys of each row lie before its end, (batch, keys); behind the ends of all rows may follow their starts."""
    numbers, rows = op.cast(mask, ir.DataType.INT64), op.shape(k, 0, 1)
    positions = op.Unsqueeze(op.Range(0, op.size(k, 2), 1), [0])
    count, batch = ((dims_of(value) or [None])[0] for value in (mask, k))
    ends = numbers if count == batch else op.Slice(numbers, op.constant([0]), rows, op.constant([0]))
    visible = op.Less(positions, op.Unsqueeze(ends, [1]))
    if count == batch:
        return visible
    twice = op.Mul(rows, 2)
    # Zeros, where only ends are given.
    both = op.Concat(numbers, op.Expand(op.constant(0), rows), axis=0)
    starts = op.Where(op.Equal(op.Shape(mask), twice), op.Slice(both, rows, twice, op.constant([0])), 0)
    return op.And(visible, op.GreaterOrEqual(positions, op.Unsqueeze(starts, [1])))
