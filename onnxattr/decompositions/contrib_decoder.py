"""Definition of the com.microsoft attention of language models that write text: heads of queries share keys.

The formula is that of ONNX Runtime's CPU kernel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.autodiff.node import NodeView
from onnxattr.autodiff.rules.linear import transpose_last
from onnxattr.decompositions.contrib_attention import refuse_past_alone
from onnxattr.decompositions.contrib_norm import rms
from onnxattr.decompositions.contrib_rotary import numbers_to, rotate
from onnxattr.decompositions.registry import decomposition
from onnxattr.errors import UnsupportedOpError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of

_INT64 = ir.DataType.INT64


def _column(op: OpBuilder, vector: ir.Value) -> ir.Value:
    """A vector as (batch, 1); ONNX's inference takes an unsqueezed one for a shape, and fails on what follows."""
    return op.reshape(vector, [-1, 1])


@decomposition(
    "com.microsoft::GroupQueryAttention",
    inputs=17,
    unread=("rotary_interleaved", "local_window_size", "smooth_softmax", "kv_cache_bit_width"),
)
def group_query_attention(op: OpBuilder, node: NodeView) -> Sequence[ir.Value | None]:
    """y = softmax(q k^T * scale + masks) v for each head; several heads of q share a head of k and v.

    Rows may be shorter than the longest of the batch; what is behind their end sees what the last one sees. Past keys
    and values are the beginning of the present ones, the second and third output. The fourth is what the softmax reads
    (qk_output=1) or gives (2), and 0 at keys that are not seen.
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
    places = op.Add(_column(op, before), numbers_to(op, length))
    total = op.Reshape(op.cast(total, _INT64), [1])
    if node.get_int("do_rotary", 0):
        interleaved = bool(node.get_int("rotary_interleaved", 0))
        cosines, sines = node.given(node.inputs[7:9])
        turned = places if positions is None else _given(op, positions, length, total)
        q, k = (rotate(op, node, part, turned, cosines, sines, 2, interleaved) for part in (q, k))
    k, v = (op.Transpose(part, perm=[0, 2, 1, 3]) for part in (k, v))
    if past_key is not None and past_value is not None:
        k = _continued(op, past_key, k, before, total)
        v = _continued(op, past_value, v, before, total)
    present = k, v
    if past_key is not None and (added is not None or node.get_int("qk_output", 0)):
        # A cache may have room for more than the longest row.
        k, v = (op.Slice(part, [0], total, [2]) for part in present)
    visible = _visible(op, node, places, seen, op.shape(k, 2, 3))
    y, before_and_after = _attend_in_groups(op, node, q, k, v, visible, added, sinks)
    kind = node.get_int("qk_output", 0)
    return y, *present, before_and_after[kind - 1] if kind in (1, 2) else None


def _given(op: OpBuilder, positions: ir.Value, length: ir.Value, total: ir.Value) -> ir.Value:
    """The given positions; the first run over a text counts on from the first of them."""
    counted = op.Add(op.Slice(positions, [0, 0], [1, 1]), numbers_to(op, length))
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
    """Keys or values of the past, as many as each row has, the new ones, then zeros; (batch, heads, length, n)."""
    have, both = op.shape(past, 2, 3), op.Concat(past, new, axis=2)
    length, starts = op.Max(have, total), _column(op, before)
    place = op.Unsqueeze(numbers_to(op, length), [0])
    behind = op.Min(op.Add(op.Sub(place, starts), have), op.Sub(op.Shape(both, start=2, end=3), 1))
    index = op.Unsqueeze(op.Where(op.Less(place, starts), place, behind), [1, 3])
    spread = op.expand(index, [op.shape(new, 0, 2), length, op.shape(new, 3, 4)])
    given = op.Unsqueeze(op.Less(place, op.Add(starts, op.shape(new, 2, 3))), [1, 3])
    return op.Where(given, op.GatherElements(both, spread, axis=2), op.constant(0.0, past.dtype))


def _visible(op: OpBuilder, node: NodeView, places: ir.Value, seen: ir.Value, length: ir.Value) -> ir.Value:
    """Which keys the query at each of (batch, length) places sees: (batch, length, keys)."""
    keys, window = numbers_to(op, length), node.get_int("local_window_size", -1)
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
) -> tuple[ir.Value, list[ir.Value]]:
    """The attention of (batch, length, heads, features) queries, in (batch, groups, heads of a group, ...).

    Behind it the scores before and after the softmax, 0 at keys that are not seen: (batch, heads, queries, keys).
    """
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
    visible, capped = op.Unsqueeze(visible, [1, 2]), scores
    scores = op.Where(visible, scores, lowest)
    if sinks is not None or node.get_int("smooth_softmax", 0) == 1:
        # One more key, which nothing is read from.
        sink = 0.0 if sinks is None else op.reshape(sinks, [1, *in_groups, 1, 1])
        column = op.Slice(op.Mul(scores, 0.0), [0], [1], [-1])
        scores = op.Concat(scores, op.Add(column, sink), axis=-1)
        weights = op.Slice(op.Softmax(scores, axis=-1), [0], [-1], [-1])
    else:
        weights = op.Softmax(scores, axis=-1)
    mixed = op.Transpose(op.MatMul(weights, v), perm=[0, 3, 1, 2, 4])
    shown = []
    if node.get_int("qk_output", 0):
        whole: list[int | ir.Value] = [op.shape(q, 0, 1), heads, op.shape(q, 3, 4), op.shape(k, 3, 4)]
        shown = [
            op.reshape(op.Where(visible, part, op.constant(0.0, part.dtype)), whole)
            for part in (capped, weights)
        ]
    return op.reshape(mixed, [0, 0, -1]), shown


def _scale(op: OpBuilder, node: NodeView, q: ir.Value) -> ir.Value | float:
    """The factor of the scores: as given, or 1 / sqrt(number of features)."""
    given, width = node.get_float("scale", 0.0), (dims_of(q) or [None])[-1]
    if given or isinstance(width, int):
        return given or 1 / math.sqrt(int(str(width)))
    return op.Reciprocal(op.Sqrt(op.cast_like(op.Shape(q, start=4), q)))
