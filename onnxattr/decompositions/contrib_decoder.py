"""Definitions of the com.microsoft operators of language models that write text: rotation and grouped attention.

Formulas are those of ONNX Runtime's CPU kernels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.node import NodeView
from onnxattr.autodiff.rules.linear import transpose_last
from onnxattr.decompositions.contrib_attention import refuse_past_alone
from onnxattr.decompositions.contrib_norm import rms
from onnxattr.decompositions.registry import decomposition
from onnxattr.errors import UnsupportedOpError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of

_INT64 = ir.DataType.INT64


# The kernel does not read the scale either.
@decomposition("com.microsoft::RotaryEmbedding", inputs=4, unread=("scale",))
def rotary_embedding(op: OpBuilder, node: NodeView) -> ir.Value:
    """Turns the pairs of features of each head by an angle that grows with the position."""
    x, position_ids, cosines, sines = node.required(4)
    if node.rank(position_ids) == 1:
        steps = _range(op, op.shape(x, 1, 2) if node.rank(x) == 3 else op.shape(x, 2, 3))
        position_ids = op.Unsqueeze(op.Add(steps, position_ids), [0])
    return _rotated(op, node, x, *(op.Gather(table, position_ids, axis=0) for table in (cosines, sines)))


@decomposition("com.microsoft::MRotaryEmbedding", inputs=4)
def m_rotary_embedding(op: OpBuilder, node: NodeView) -> ir.Value:
    """RotaryEmbedding whose angles come from three positions of each token, (3, batch, length), each for some pairs."""
    x, position_ids, cosines, sines = node.required(4)
    sections, half, layout = (
        node.get_ints("mrope_section"),
        _half(node, cosines),
        node.get_int("mrope_layout", 0),
    )
    if len(sections) != 3 or sum(sections) != half or layout not in (0, 1):
        raise UnsupportedOpError(
            f"MRotaryEmbedding node {node.name!r}: unsupported mrope_section {sections} with mrope_layout {layout}; "
            f"expected three numbers that add up to {half}, and 0 or 1. Export the model again."
        )
    if layout == 0:
        stream = np.repeat(np.arange(3), sections)
    else:
        stream = np.zeros(half, np.int64)
        for kind in (1, 2):
            stream[kind : 3 * sections[kind] : 3] = kind
    one_hot = (np.arange(3)[:, None, None, None] == stream).astype(bool)
    chosen = []
    for table in (cosines, sines):
        of_each = op.Where(one_hot, op.Gather(table, position_ids, axis=0), op.constant(0.0, table.dtype))
        angles, scale = op.ReduceSum(of_each, [0], keepdims=0), node.get_float("scale", 1.0)
        chosen.append(angles if scale == 1 else op.Mul(angles, scale))
    return _rotated(op, node, x, *chosen)


def _rotated(op: OpBuilder, node: NodeView, x: ir.Value, cos: ir.Value, sin: ir.Value) -> ir.Value:
    """Queries or keys with heads in one axis or side by side, turned by angles of (batch, length, pairs)."""
    if node.get_int("is_packed_batching", 0):
        raise UnsupportedOpError(
            f"{node.op_type} node {node.name!r}: unsupported is_packed_batching=1; supported: 0. Export the model for "
            "batches of one length."
        )
    rank, heads, width = node.rank(x), node.get_int("num_heads", 0), node.get_int("rotary_embedding_dim", 0)
    half, interleaved = _half(node, node.required(4)[2]), bool(node.get_int("interleaved", 0))
    # Heads lie behind the positions in rank 3, before them in rank 4.
    split = [0, 0, heads, -1] if width and heads else [0, 0, -1, 2 * half]
    if rank == 4:
        return _turned(op, x, cos, sin, half, 1, interleaved)
    return op.reshape_like(_turned(op, op.Reshape(x, op.constant(split)), cos, sin, half, 2, interleaved), x)


def _half(node: NodeView, cosines: ir.Value) -> int:
    """How many pairs of features are turned."""
    table = dims_of(cosines)
    if table is None or not isinstance(table[1], int):
        raise UnsupportedOpError(
            f"{node.op_type} node {node.name!r}: the width of its tables of cosines and sines is not given; expected a "
            "number. Export the model with tables of a fixed width."
        )
    return table[1]


def _range(op: OpBuilder, length: ir.Value) -> ir.Value:
    """0, 1, ... up to a length given as a vector of one element."""
    return op.Range(op.constant(0), op.Squeeze(length, [0]), op.constant(1))


def _column(op: OpBuilder, vector: ir.Value) -> ir.Value:
    """A vector as (batch, 1); ONNX's inference takes an unsqueezed one for a shape, and fails on what follows."""
    return op.reshape(vector, [-1, 1])


def _rotate(
    op: OpBuilder,
    node: NodeView,
    parts: ir.Value,
    position_ids: ir.Value,
    cosines: ir.Value,
    sines: ir.Value,
    head_axis: int,
    interleaved: bool,
) -> ir.Value:
    """Turns the first features along the last axis by the angles of (batch, length) positions, and keeps the rest."""
    cos, sin = (op.Gather(table, position_ids, axis=0) for table in (cosines, sines))
    return _turned(op, parts, cos, sin, _half(node, cosines), head_axis, interleaved)


def _turned(
    op: OpBuilder,
    parts: ir.Value,
    cos: ir.Value,
    sin: ir.Value,
    half: int,
    head_axis: int,
    interleaved: bool,
) -> ir.Value:
    """Turns the first features along the last axis by angles of (batch, length, pairs), and keeps the rest."""
    width = (dims_of(parts) or [None])[-1]
    cos, sin = (op.Unsqueeze(value, [head_axis]) for value in (cos, sin))
    if interleaved:
        a, b = (op.Slice(parts, [start], [2 * half], [-1], [2]) for start in (0, 1))
    else:
        a, b = (op.Slice(parts, [start], [start + half], [-1]) for start in (0, half))
    turned = [op.Sub(op.Mul(a, cos), op.Mul(b, sin)), op.Add(op.Mul(b, cos), op.Mul(a, sin))]
    if interleaved:
        pairs = op.Concat(*[op.Unsqueeze(part, [4]) for part in turned], axis=4)
        turned = [op.reshape(pairs, [0, 0, 0, -1])]
    if width != 2 * half:
        turned.append(op.Slice(parts, [2 * half], [2**31], [-1]))
    return op.Concat(*turned, axis=-1)


@decomposition(
    "com.microsoft::GroupQueryAttention",
    inputs=17,
    unread=("rotary_interleaved", "local_window_size", "smooth_softmax", "qk_output", "kv_cache_bit_width"),
)
def group_query_attention(op: OpBuilder, node: NodeView) -> Sequence[ir.Value]:
    """y = softmax(q k^T * scale + masks) v for each head; several heads of q share a head of k and v.

    Rows may be shorter than the longest of the batch; what is behind their end sees what the last one sees. Past keys
    and values are the beginning of the present ones, the second and third output.
    """
    key, value, past_key, past_value = node.inputs[1:5]
    positions, added, sinks, *cache_scales = node.inputs[9:14]
    _check_grouped(node, cache_scales)
    refuse_past_alone(node, past_key, past_value)
    q, k, v = _heads(op, node, node.x, key, value)
    scales = [scale for scale in node.inputs[14:16] if scale is not None]
    shared = node.get_float("qk_norm_epsilon", 1e-6)
    epsilons = [node.get_float(f"{name}_norm_epsilon", shared) for name in "qk"]
    if len(scales) == 2:
        q, k = (
            rms(op, node, part, w, epsilon, -1)
            for part, w, epsilon in zip((q, k), scales, epsilons, strict=True)
        )
    last, total = node.given(node.inputs[5:7])
    length = op.shape(q, 1, 2)
    seen = op.Add(op.cast(last, _INT64), 1)
    before = op.Max(op.Sub(seen, length), 0)
    places = op.Add(_column(op, before), _range(op, length))
    total = op.Reshape(op.cast(total, _INT64), [1])
    if node.get_int("do_rotary", 0):
        interleaved = bool(node.get_int("rotary_interleaved", 0))
        cosines, sines = node.given(node.inputs[7:9])
        turned = places if positions is None else _given(op, positions, length, total)
        q, k = (_rotate(op, node, part, turned, cosines, sines, 2, interleaved) for part in (q, k))
    k, v = (op.Transpose(part, perm=[0, 2, 1, 3]) for part in (k, v))
    if past_key is not None and past_value is not None:
        k = _continued(op, past_key, k, before, total)
        v = _continued(op, past_value, v, before, total)
    present = k, v
    if past_key is not None and added is not None:
        # A cache may have room for more than the longest row.
        k, v = (op.Slice(part, [0], total, [2]) for part in present)
    visible = _visible(op, node, places, seen, op.shape(k, 2, 3))
    return _attend_in_groups(op, node, q, k, v, visible, added, sinks), *present


def _given(op: OpBuilder, positions: ir.Value, length: ir.Value, total: ir.Value) -> ir.Value:
    """The given positions; the first run over a text counts on from the first of them."""
    counted = op.Add(op.Slice(positions, [0, 0], [1, 1]), _range(op, length))
    return op.Where(op.Equal(total, length), counted, positions)


def _check_grouped(node: NodeView, cache_scales: Sequence[ir.Value | None]) -> None:
    """Raises an error if the node uses what is left out here."""
    kinds = {node.get_string(f"{name}_quant_type", "NONE") for name in "kv"}
    quantised = any(scale is not None for scale in cache_scales) or kinds != {"NONE"}
    if node.inputs[16] is not None:
        raise UnsupportedOpError(
            f"GroupQueryAttention node {node.name!r} is told how much of each query is padding (query_seqlens). Export "
            "the model for whole texts, without that input."
        )
    if (node.inputs[14] is None) != (node.inputs[15] is None):
        raise UnsupportedOpError(
            f"GroupQueryAttention node {node.name!r} has weights of a norm for one of queries and keys; expected both "
            "q_norm_weight and k_norm_weight, or none."
        )
    window = node.get_int("local_window_size", -1)
    if window < -1 or window == 0:
        raise UnsupportedOpError(
            f"GroupQueryAttention node {node.name!r}: unsupported local_window_size {window}, within which no key is "
            "seen; supported: -1, for all keys, and numbers above 0. Export the model again."
        )
    if quantised or node.get_int("sliding_window_cache", 0):
        raise UnsupportedOpError(
            f"GroupQueryAttention node {node.name!r} keeps past keys and values in integers or in a window. Export the "
            "model with a plain cache."
        )


def _heads(
    op: OpBuilder, node: NodeView, query: ir.Value, key: ir.Value | None, value: ir.Value | None
) -> list[ir.Value]:
    """q, k and v, given apart or side by side, as (batch, length, heads, features)."""
    heads, groups = node.get_int("num_heads"), node.get_int("kv_num_heads")
    if key is None or value is None:
        packed = op.reshape(query, [0, 0, heads + 2 * groups, -1])
        return list(op.Split(packed, op.constant([heads, groups, groups]), axis=2, outputs=3))
    pairs = ((query, heads), (key, groups), (value, groups))
    return [op.reshape(part, [0, 0, count, -1]) for part, count in pairs]


def _continued(op: OpBuilder, past: ir.Value, new: ir.Value, before: ir.Value, total: ir.Value) -> ir.Value:
    """Keys or values of the past, as many as each row has, and behind them the new ones; (batch, heads, length, n)."""
    have, both = op.shape(past, 2, 3), op.Concat(past, new, axis=2)
    length, starts = op.Max(have, total), _column(op, before)
    place = op.Unsqueeze(_range(op, length), [0])
    behind = op.Min(op.Add(op.Sub(place, starts), have), op.Sub(op.Shape(both, start=2, end=3), 1))
    index = op.Unsqueeze(op.Where(op.Less(place, starts), place, behind), [1, 3])
    spread = op.expand(index, [op.shape(new, 0, 2), length, op.shape(new, 3, 4)])
    return op.GatherElements(both, spread, axis=2)


def _visible(op: OpBuilder, node: NodeView, places: ir.Value, seen: ir.Value, length: ir.Value) -> ir.Value:
    """Which keys the query at each of (batch, length) places sees: (batch, length, keys)."""
    keys, window = _range(op, length), node.get_int("local_window_size", -1)
    if not node.get_int("causal", 1):
        return op.Less(keys, op.Unsqueeze(seen, [1, 2]))
    # Behind the end of a row, queries see what its last one sees.
    query = op.Unsqueeze(op.Min(places, op.Sub(_column(op, seen), 1)), [2])
    visible = op.LessOrEqual(keys, query)
    return op.And(visible, op.Greater(keys, op.Sub(query, window))) if window > 0 else visible


def _attend_in_groups(
    op: OpBuilder,
    node: NodeView,
    q: ir.Value,
    k: ir.Value,
    v: ir.Value,
    visible: ir.Value,
    added: ir.Value | None,
    sinks: ir.Value | None,
) -> ir.Value:
    """The attention of (batch, length, heads, features) queries, in (batch, groups, heads of a group, ...)."""
    heads, groups = node.get_int("num_heads"), node.get_int("kv_num_heads")
    in_groups = [groups, heads // groups]
    q = op.Transpose(op.reshape(q, [0, 0, *in_groups, -1]), perm=[0, 2, 3, 1, 4])
    k, v = (op.Unsqueeze(part, [2]) for part in (k, v))
    scores = op.Mul(op.MatMul(q, transpose_last(op, k, 5)), _scale(op, node, q))
    cap = node.get_float("softcap", 0.0)
    if cap > 0:
        scores = op.Mul(op.Tanh(op.Div(scores, cap)), cap)
    if added is not None:
        of_heads = [1, 1] if (dims_of(added) or [None] * 4)[1] == 1 else in_groups
        parts = op.reshape(added, [op.shape(added, 0, 1), *of_heads, op.shape(added, 2)])
        scores = op.Add(scores, parts)
    lowest = -65504.0 if scores.dtype == ir.DataType.FLOAT16 else -3.0e38
    scores = op.Where(op.Unsqueeze(visible, [1, 2]), scores, lowest)
    if sinks is not None or node.get_int("smooth_softmax", 0) == 1:
        # One more key, which nothing is read from.
        sink = 0.0 if sinks is None else op.reshape(sinks, [1, *in_groups, 1, 1])
        column = op.Slice(op.Mul(scores, 0.0), [0], [1], [-1])
        scores = op.Concat(scores, op.Add(column, sink), axis=-1)
        weights = op.Slice(op.Softmax(scores, axis=-1), [0], [-1], [-1])
    else:
        weights = op.Softmax(scores, axis=-1)
    mixed = op.Transpose(op.MatMul(weights, v), perm=[0, 3, 1, 2, 4])
    return op.reshape(mixed, [0, 0, -1])


def _scale(op: OpBuilder, node: NodeView, q: ir.Value) -> ir.Value | float:
    """The factor of the scores: as given, or 1 / sqrt(number of features)."""
    given, width = node.get_float("scale", 0.0), (dims_of(q) or [None])[-1]
    if given or isinstance(width, int):
        return given or 1 / math.sqrt(int(str(width)))
    return op.Reciprocal(op.Sqrt(op.cast_like(op.Shape(q, start=4), q)))
