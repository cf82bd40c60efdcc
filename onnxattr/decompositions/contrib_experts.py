"""Definition of com.microsoft's mixture of experts, by the formula of ONNX Runtime's CPU kernel."""

from __future__ import annotations

import onnx_ir as ir

from onnxattr.autodiff.node import NodeView
from onnxattr.autodiff.rules.linear import transpose_last
from onnxattr.decompositions.contrib import gelu, swish
from onnxattr.decompositions.registry import decomposition
from onnxattr.errors import UnsupportedOpError
from onnxattr.graph.builder import OpBuilder

_ACTIVATIONS = ("relu", "gelu", "silu", "swiglu", "identity")


@decomposition(
    "com.microsoft::MoE",
    inputs=8,
    unread=("activation_alpha", "activation_beta", "swiglu_limit", "swiglu_fusion"),
)
def mixture_of_experts(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = sum over the k likeliest experts of p_e (W2 f(W1 x + b1) + b2), p the softmax of the router's scores.

    Every expert is computed for every token, as which ones are chosen depends on the token.
    """
    x, scores, first = node.required(3)
    (second,) = node.given(node.inputs[4:5])
    biases = [node.inputs[3], node.inputs[5]]
    _check(node)
    tokens = op.reshape(x, [-1, op.shape(x, node.rank(x) - 1)]) if node.rank(x) > 2 else x
    hidden = _product(op, op.Unsqueeze(tokens, [0]), first, biases[0])
    outputs = _product(op, _activated(op, node, hidden), second, biases[1])
    likely = op.Softmax(scores, axis=-1)
    best, places = op.node("TopK", [likely, op.constant([node.get_int("k", 1)])], {"axis": -1}, outputs=2)
    if node.get_int("normalize_routing_weights", 0):
        best = op.Div(best, op.ReduceSum(best, [-1], keepdims=1))
    nothing = op.Expand(op.constant(0.0, x.dtype), op.Shape(likely))
    shares = op.Transpose(op.ScatterElements(nothing, places, best, axis=1), perm=[1, 0])
    y = op.ReduceSum(op.Mul(outputs, op.Unsqueeze(shares, [2])), [0], keepdims=0)
    return op.reshape_like(y, x) if node.rank(x) > 2 else y


def _product(op: OpBuilder, x: ir.Value, weights: ir.Value, bias: ir.Value | None) -> ir.Value:
    """(experts, tokens, features) of weights that are transposed."""
    y: ir.Value = op.MatMul(x, transpose_last(op, weights, 3))
    return y if bias is None else op.Add(y, op.Unsqueeze(bias, [1]))


def _activated(op: OpBuilder, node: NodeView, x: ir.Value) -> ir.Value:
    kind = node.get_string("activation_type", "relu")
    if kind == "gelu":
        return gelu(op, x, "tanh")
    if kind == "silu":
        return swish(op, x)
    if kind != "swiglu":
        return x if kind == "identity" else op.Relu(x)
    # Gates and what they open lie in turns.
    gate, linear = (op.Slice(x, [start], [2**31], [-1], [2]) for start in (0, 1))
    limit = node.attributes.get("swiglu_limit")
    if limit is not None:
        gate, linear = op.Min(gate, float(limit)), op.Clip(linear, -float(limit), float(limit))
    opened = swish(op, gate, node.get_float("activation_alpha", 1.0))
    return op.Mul(opened, op.Add(linear, node.get_float("activation_beta", 0.0)))


def _check(node: NodeView) -> None:
    """Raises an error for what ONNX Runtime has no CPU kernel for."""
    kind = node.get_string("activation_type", "relu")
    fused = kind != "swiglu" or node.get_int("swiglu_fusion", 0) == 1
    special = [
        name for name in ("use_sparse_mixer", "swiglu_limit_after_activation") if node.get_int(name, 0)
    ]
    if kind in _ACTIVATIONS and fused and not special and node.inputs[6] is None and node.inputs[7] is None:
        return
    form = [f"activation_type={kind}", f"swiglu_fusion={node.get_int('swiglu_fusion', 0)}", *special]
    raise UnsupportedOpError(
        f"MoE node {node.name!r}: unsupported form ({', '.join(form)}, or third weights); supported, as in ONNX "
        f"Runtime on a CPU: {', '.join(_ACTIVATIONS)}, swiglu with swiglu_fusion=1, no third weights, no sparse mixer. "
        "Export the experts as operators of ai.onnx."
    )
