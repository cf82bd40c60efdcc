"""Definitions of com.microsoft operators on several streams (branches) of features, by ONNX Runtime's CPU kernels."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.autodiff.node import NodeView
from onnxattr.autodiff.rules.linear import transpose_last
from onnxattr.autodiff.standardize import standardize
from onnxattr.decompositions.registry import decomposition
from onnxattr.graph.builder import OpBuilder

_EPSILON = 1e-5


def _apart(op: OpBuilder, node: NodeView) -> tuple[ir.Value, list[ir.Value | int]]:
    """The streams as (..., C, H), and the sizes of all axes before H; they may be given side by side, (..., C * H)."""
    x, count = node.x, node.get_int("num_branches", 0)
    lead = node.rank(x) - (1 if count > 0 else 2)
    sizes = [*([op.shape(x, 0, lead)] if lead else []), count if count > 0 else op.shape(x, lead, lead + 1)]
    return (op.reshape(x, [*sizes, -1]) if count > 0 else x), sizes


def _unit(op: OpBuilder, node: NodeView, x: ir.Value) -> ir.Value:
    """x / sqrt(mean(x^2) + eps) over the last axis."""
    return standardize(op, x, [-1], node.get_float("epsilon", _EPSILON), centre=False)[0]


@decomposition("com.microsoft::BranchwiseRMSNorm", inputs=2)
def branchwise_rms_norm(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = x / sqrt(mean(x^2) + eps) * scale, the mean over the features of each stream."""
    x, scale = node.x, node.inputs[1]
    streams, _ = _apart(op, node)
    y = _unit(op, node, streams)
    if scale is not None:
        rank = node.rank(streams)
        y = op.Mul(y, op.reshape(op.cast_like(scale, x), [-1, op.shape(streams, rank - 1, rank)]))
    return op.reshape_like(y, x) if streams is not x else y


@decomposition("com.microsoft::HyperConnectionPreMix", inputs=2)
def hyper_connection_pre_mix(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = scale * sum over the streams of x * gate; one gate for each stream, or for each of its features."""
    _, gates = node.required(2)
    streams, sizes = _apart(op, node)
    total = op.ReduceSum(op.Mul(streams, op.reshape(gates, [*sizes, -1])), [-2], keepdims=0)
    return op.Mul(total, node.get_float("reduction_scale", 1.0))


@decomposition("com.microsoft::HyperConnectionPostMix", inputs=4)
def hyper_connection_post_mix(op: OpBuilder, node: NodeView) -> ir.Value:
    """y_k = sum over the streams c of m_ck x_c, + gate_k * b for the output b of a block; without m it is x_k + ..."""
    x, block, gates = node.required(3)
    streams, sizes = _apart(op, node)
    mix, rank = node.inputs[3], node.rank(streams)
    mixed = streams if mix is None else op.MatMul(transpose_last(op, mix, rank), streams)
    y = op.Add(mixed, op.Mul(op.reshape(gates, [*sizes, -1]), op.Unsqueeze(block, [-2])))
    return op.reshape_like(y, x) if streams is not x else y


@decomposition("com.microsoft::EngramGate", inputs=6)
def engram_gate(op: OpBuilder, node: NodeView) -> Sequence[ir.Value | None]:
    """y = sigmoid(sign(d) sqrt(max(|d|, 1e-6))) * value, d = sum(n(key) n(query)) / sqrt(H) for scaled norms n.

    The second output is n(y).
    """
    key, query, value, key_scale, query_scale = node.required(5)
    rank = node.rank(key)
    products = op.Mul(
        op.Mul(_unit(op, node, key), op.cast_like(key_scale, key)),
        op.Mul(_unit(op, node, query), op.cast_like(query_scale, key)),
    )
    width = op.cast_like(op.shape(key, rank - 1, rank), key)
    dot = op.Div(op.ReduceSum(products, [-1], keepdims=1), op.Sqrt(width))
    gate = op.Sigmoid(op.Mul(op.Sign(dot), op.Sqrt(op.Max(op.Abs(dot), 1e-6))))
    y = op.Mul(gate, op.Unsqueeze(value, [-2]))
    scale = node.inputs[5]
    return y, None if scale is None else op.Mul(_unit(op, node, y), op.cast_like(scale, y))
