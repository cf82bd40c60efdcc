"""Definition of com.microsoft's mixture of experts, by the formula of ONNX Runtime's CPU kernel."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.autodiff.derived import derived
from onnxattr.autodiff.node import NodeView
from onnxattr.autodiff.rules.few_bits import real_of_blocks, unpacked
from onnxattr.autodiff.rules.linear import transpose_last
from onnxattr.decompositions.contrib import gelu, swish
from onnxattr.decompositions.registry import decomposition
from onnxattr.errors import UnsupportedOpError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of

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
    _check(node, node.inputs[6:])
    best, places = _highest(op, node, op.Softmax(scores, axis=-1))
    if node.get_int("normalize_routing_weights", 0):
        best = _over_sum(op, best)
    return _mixed(op, node, x, scores, (best, places), (first, second), (node.inputs[3], node.inputs[5]))


def _rounds(node: NodeView) -> bool:
    """Whether the kernel rounds its activations to 8 bits."""
    bits = {_bits(node, layer) for layer in ("fc1", "fc2")}
    return node.get_int("block_size", 0) > 0 and (bits != {4} or node.get_int("accuracy_level", 0) == 4)


# The rule is that of nodes whose kernel is kept.
@derived("com.microsoft::QMoE")
@decomposition(
    "com.microsoft::QMoE",
    inputs=21,
    unread=("activation_alpha", "activation_beta", "swiglu_limit", "swiglu_fusion", "accuracy_level"),
    kept=_rounds,
)
def mixture_of_quantised_experts(op: OpBuilder, node: NodeView) -> ir.Value:
    """The mixture of experts with weights (q - zero point) * scale, one scale for each row, or for each block of it.

    The shares of the chosen experts are the softmax of their scores alone, or given beside the scores.
    """
    inputs = [*node.inputs, *[None] * 21][:21]
    x, scores, first, first_scale, second, second_scale = node.given([*inputs[:4], *inputs[5:7]])
    _check(node, [*inputs[8:11], inputs[13], *inputs[15:]])
    (best, places), given = _highest(op, node, scores), inputs[14]
    normalised = node.get_int("normalize_routing_weights", 0)
    if given is None:
        best = op.Softmax(best, axis=-1)
    else:
        best = op.GatherElements(given, places, axis=1)
        best = _over_sum(op, best) if normalised else best
        best = op.Where(op.Greater(best, 1e-8), best, 0.0)
    weights = (
        _real(op, node, first, first_scale, inputs[11], "fc1"),
        _real(op, node, second, second_scale, inputs[12], "fc2"),
    )
    return _mixed(op, node, x, scores, (best, places), weights, (inputs[4], inputs[7]))


def _bits(node: NodeView, layer: str) -> int:
    """How many bits the weights of a layer have."""
    return int(node.get_int(f"{layer}_expert_weight_bits", node.get_int("expert_weight_bits", 4)))


def _real(
    op: OpBuilder, node: NodeView, packed: ir.Value, scales: ir.Value, zeros: ir.Value | None, layer: str
) -> ir.Value:
    """The weights of a layer of all experts, (experts, outputs, inputs)."""
    bits, kind = _bits(node, layer), node.get_string("quant_type", "int")
    if kind != "int" or bits not in (2, 4, 8) or node.get_int("weights_prepacked", 0) == 1:
        raise UnsupportedOpError(
            f"QMoE node {node.name!r}: unsupported form of its weights (quant_type={kind!r}, {bits} bits); supported: "
            "'int' with 2, 4 or 8 bits, as they were quantised (weights_prepacked=0). Export the experts so, or as MoE."
        )
    sizes, counts = ([dim for dim in dims_of(v) or [] if isinstance(dim, int)] for v in (packed, scales))
    blocked = node.get_int("block_size", 0) > 0
    if len(sizes) != 3 or len(counts) != 2 + blocked:
        raise UnsupportedOpError(
            f"QMoE node {node.name!r}: its weights have no given size, or other scales than block_size says. Export "
            "the model again."
        )
    (experts, rows, _), blocks = sizes, counts[2] if blocked else 1
    if zeros is not None:
        zeros = op.Slice(unpacked(op, zeros, bits), [0], [blocks if blocked else rows], [-1])
        zeros = op.reshape(zeros, [experts, rows, blocks, 1])
    numbers = op.reshape(unpacked(op, packed, bits), [experts, rows, blocks, -1])
    spread = op.reshape(scales, [experts, rows, blocks, 1])
    return op.reshape(real_of_blocks(op, numbers, zeros, spread, bits), [experts, rows, -1])


def _mixed(
    op: OpBuilder,
    node: NodeView,
    x: ir.Value,
    scores: ir.Value,
    chosen: tuple[ir.Value, ir.Value],
    weights: tuple[ir.Value, ir.Value],
    biases: tuple[ir.Value | None, ir.Value | None],
) -> ir.Value:
    """What the chosen experts give for each token, weighted; chosen says by how much, and which."""
    tokens = op.reshape(x, [-1, op.shape(x, node.rank(x) - 1)]) if node.rank(x) > 2 else x
    hidden = _product(op, op.Unsqueeze(tokens, [0]), weights[0], biases[0])
    outputs = _product(op, _activated(op, node, hidden), weights[1], biases[1])
    nothing = op.Expand(op.constant(0.0, x.dtype), op.Shape(scores))
    best, places = chosen
    shares = op.Transpose(op.ScatterElements(nothing, places, best, axis=1), perm=[1, 0])
    y = op.ReduceSum(op.Mul(outputs, op.Unsqueeze(shares, [2])), [0], keepdims=0)
    return op.reshape_like(y, x) if node.rank(x) > 2 else y


def _highest(op: OpBuilder, node: NodeView, scores: ir.Value) -> tuple[ir.Value, ir.Value]:
    """The k highest scores of each token, and their places."""
    best, places = op.node("TopK", [scores, op.constant([node.get_int("k", 1)])], {"axis": -1}, outputs=2)
    return best, places


def _over_sum(op: OpBuilder, x: ir.Value) -> ir.Value:
    found: ir.Value = op.Div(x, op.ReduceSum(x, [-1], keepdims=1))
    return found


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


def _check(node: NodeView, further: Sequence[ir.Value | None]) -> None:
    """Raises an error for what ONNX Runtime has no CPU kernel for."""
    kind = node.get_string("activation_type", "relu")
    fused = kind != "swiglu" or node.get_int("swiglu_fusion", 0) == 1
    special = [
        name for name in ("use_sparse_mixer", "swiglu_limit_after_activation") if node.get_int(name, 0)
    ]
    if kind in _ACTIVATIONS and fused and not special and all(value is None for value in further):
        return
    form = [f"activation_type={kind}", f"swiglu_fusion={node.get_int('swiglu_fusion', 0)}", *special]
    raise UnsupportedOpError(
        f"{node.op_type} node {node.name!r}: unsupported form ({', '.join(form)}, or third weights); supported, as in "
        f"ONNX Runtime on a CPU: {', '.join(_ACTIVATIONS)}, swiglu with swiglu_fusion=1, no third weights, no sparse "
        "mixer. Export the experts as operators of ai.onnx."
    )
