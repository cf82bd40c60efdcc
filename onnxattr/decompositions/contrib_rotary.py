"""Definitions of the com.microsoft operators that turn queries and keys by their positions.

Formulas are those of ONNX Runtime's CPU kernels.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.node import NodeView
from onnxattr.decompositions.registry import decomposition
from onnxattr.errors import UnsupportedOpError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of


# The kernel does not read the scale either.
@decomposition("com.microsoft::RotaryEmbedding", inputs=4, unread=("scale",))
def rotary_embedding(op: OpBuilder, node: NodeView) -> ir.Value:
    """Turns the pairs of features of each head by an angle that grows with the position."""
    x, position_ids, cosines, sines = node.required(4)
    if node.rank(position_ids) == 1:
        steps = numbers_to(op, op.shape(x, 1, 2) if node.rank(x) == 3 else op.shape(x, 2, 3))
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


def numbers_to(op: OpBuilder, length: ir.Value) -> ir.Value:
    """0, 1, ... up to a length given as a vector of one element."""
    return op.Range(op.constant(0), op.Squeeze(length, [0]), op.constant(1))


def rotate(
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
