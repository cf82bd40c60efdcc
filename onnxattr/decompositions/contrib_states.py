"""Definitions of com.microsoft operators of state space models, by the formulas of ONNX Runtime's CPU kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.node import NodeView
from onnxattr.autodiff.rules.control_flow import as_output
from onnxattr.autodiff.rules.linear import transpose_last
from onnxattr.decompositions.contrib import swish
from onnxattr.decompositions.registry import decomposition
from onnxattr.errors import UnsupportedOpError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of

#: What a CPU has no kernel for, with the values that ask for nothing of it.
_EXTENDED = {
    "state_window": 0,
    "state_update_capacity": 0,
    "state_channels_last": -1,
    "state_length": 0,
    "input_channel_offset": 0,
    "input_channels": 0,
}
_RULES = ("linear", "gated", "delta", "gated_delta")


def _plain(node: NodeView, names: Sequence[str]) -> None:
    """Raises an error for windows of states, captures and the like."""
    used = [name for name in names if node.get_int(name, _EXTENDED[name]) != _EXTENDED[name]]
    if used:
        raise UnsupportedOpError(
            f"{node.op_type} node {node.name!r}: unsupported {', '.join(used)}; supported: the state after the last "
            "position alone. Export the model without speculative decoding."
        )


@decomposition("com.microsoft::CausalConvWithState", inputs=4)
def causal_convolution(op: OpBuilder, node: NodeView) -> Sequence[ir.Value]:
    """y = activation(w * [state, x] + b) of each channel along time; the new state is the end of [state, x]."""
    x, weight = node.required(2)
    bias, past = node.inputs[2:]
    _plain(node, [*_EXTENDED])
    taps, dilation = (dims_of(weight) or [None])[-1], node.get_int("dilation", 1)
    kind, last = node.get_string("activation", "none"), node.get_int("channels_last", 0)
    channels = (dims_of(weight) or [None])[0]
    if node.get_int("ndim", 1) != 1 or not isinstance(taps, int) or not isinstance(channels, int):
        raise UnsupportedOpError(
            f"CausalConvWithState node {node.name!r}: unsupported ndim {node.get_int('ndim', 1)}, or weights of "
            "unknown size; supported: 1, with weights of a given size. Export the model with Pad and Conv."
        )
    if kind not in ("none", "silu", "swish"):
        raise UnsupportedOpError(
            f"CausalConvWithState node {node.name!r}: unsupported activation {kind!r}; supported: 'none', 'silu', "
            "'swish'. Export the activation as a node of its own."
        )
    count = (taps - 1) * dilation

    def first(value: ir.Value) -> ir.Value:
        return op.Transpose(op.reshape(value, [0, 0, channels]), perm=[0, 2, 1]) if last else value

    nothing = op.constant(0.0, x.dtype)
    before = op.expand(nothing, [op.shape(x, 0, 1), channels, count]) if past is None else first(past)
    whole = op.Concat(before, first(x), axis=2)
    operands = [whole, weight] if bias is None else [whole, weight, bias]
    y = op.Conv(*operands, group=channels, dilations=[dilation], kernel_shape=[taps])
    if kind != "none":
        y = swish(op, y)
    state = op.Slice(whole, op.Sub(op.shape(whole, 2, 3), count), [2**31], [2])
    if last:
        y = op.reshape_like(op.Transpose(y, perm=[0, 2, 1]), x)
        further = [op.shape(x, 2, node.rank(x))]
        state = op.reshape(op.Transpose(state, perm=[0, 2, 1]), [0, count, *further])
    return y, state


@decomposition("com.microsoft::LinearAttentionGate", inputs=4)
def linear_attention_gate(op: OpBuilder, node: NodeView) -> Sequence[ir.Value | None]:
    """decay = scale * softplus(a + bias), beta = sigmoid(b)."""
    (a, bias, scale), b = node.required(3), node.inputs[3]
    decay = op.Mul(op.cast_like(scale, a), op.Softplus(op.Add(a, op.cast_like(bias, a))))
    return decay, None if b is None else op.Sigmoid(b)


@decomposition("com.microsoft::LinearAttention", inputs=6, unread=("chunk_size",))
def linear_attention(op: OpBuilder, node: NodeView) -> Sequence[ir.Value]:
    """S' = exp(g) S + k^T beta (v - k exp(g) S);  y = scale q S', over time, for each head; S is the second output.

    Rules without "gated" leave exp(g) out, those without "delta" beta and what is subtracted from v.
    """
    query, key, value = node.required(3)
    _plain(node, ["state_window"])
    heads, groups = node.get_int("q_num_heads"), node.get_int("kv_num_heads")
    widths = [(dims_of(part) or [None])[-1] for part in (key, value)]
    rule = node.get_string("update_rule", "gated_delta")
    if rule not in _RULES or not all(isinstance(width, int) for width in widths):
        raise UnsupportedOpError(
            f"LinearAttention node {node.name!r}: unsupported update_rule {rule!r}, or keys of unknown width; "
            f"supported: {', '.join(_RULES)}, with keys and values of given widths. Export the model with them."
        )
    dk, dv = (int(str(width)) // groups for width in widths)
    streams = _streams(op, node, rule, dk)
    state = node.inputs[3]
    if state is None:
        state = op.expand(op.constant(0.0, query.dtype), [op.shape(query, 0, 1), groups, dk, dv])
    state, outputs = _scanned(op, state, streams)
    scale = node.get_float("scale", 0.0) or 1 / math.sqrt(dk)
    y = op.reshape(op.Transpose(outputs, perm=[1, 0, 2, 3, 4]), [0, 0, max(heads, groups) * dv])
    return op.Mul(y, scale), state


def _streams(op: OpBuilder, node: NodeView, rule: str, width: int) -> dict[str, ir.Value]:
    """What each step reads, (batch, time, groups, ...): queries, keys, values, decays as factors, rates."""
    query, key, value = node.required(3)
    decay, beta = node.inputs[4:]
    heads, groups = node.get_int("q_num_heads"), node.get_int("kv_num_heads")
    in_groups = [groups, heads // groups] if heads > groups else [heads, 1]
    streams = {"q": op.reshape(query, [0, 0, *in_groups, width])}
    if groups > heads:
        streams["q"] = op.Gather(streams["q"], np.arange(groups) // (groups // heads), axis=2)
    streams |= {name: op.reshape(part, [0, 0, groups, 1, -1]) for name, part in (("k", key), ("v", value))}
    if ("gated" in rule and decay is None) or ("delta" in rule and beta is None):
        raise UnsupportedOpError(
            f"LinearAttention node {node.name!r}: update_rule {rule!r} needs decay where it is gated, beta where it "
            "has a delta; one is missing. Export the model again."
        )
    if "gated" in rule and decay is not None:
        streams["decay"] = op.Exp(op.reshape(decay, [0, 0, groups, -1, 1]))
    if "delta" in rule and beta is not None:
        streams["beta"] = op.reshape(beta, [0, 0, -1, 1, 1])
    return streams


def _scanned(op: OpBuilder, start: ir.Value, streams: dict[str, ir.Value]) -> tuple[ir.Value, ir.Value]:
    """The last state, and q S after each step, (time, batch, groups, heads of a group, width)."""
    moved = {name: op.Transpose(op.cast_like(v, start), perm=[1, 0, 2, 3, 4]) for name, v in streams.items()}
    inner = op.body("step")
    state = inner.input("state", start.dtype, dims_of(start))
    step = {name: inner.input(name, start.dtype, (dims_of(v) or [None] * 5)[1:]) for name, v in moved.items()}
    kept = inner.Mul(state, step["decay"]) if "decay" in step else state
    news = step["v"]
    if "beta" in step:
        news = inner.Mul(step["beta"], inner.Sub(news, inner.MatMul(step["k"], kept)))
    after = inner.Add(kept, inner.MatMul(transpose_last(inner, step["k"], 4), news))
    seen = inner.MatMul(step["q"], after)
    inner.graph.outputs[:] = [as_output(inner, value) for value in (after, seen)]
    attributes = {"body": inner.graph, "num_scan_inputs": len(moved)}
    last, outputs = op.node("Scan", [start, *moved.values()], attributes, outputs=2)
    last.type = outputs.type = start.type
    last.shape = start.shape
    outputs.shape = ir.Shape([(dims_of(moved["q"]) or [None])[0], *(dims_of(seen) or [None] * 4)])
    return last, outputs
