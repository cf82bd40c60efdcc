"""Definitions of com.microsoft operators: what ONNX Runtime's optimiser makes of convolutions, products and norms.

Formulas are those of ONNX Runtime's CPU kernels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from onnxattr.builder import OpBuilder, dims_of
from onnxattr.errors import UnsupportedOpError
from onnxattr.rules.definitions import definition, optional
from onnxattr.rules.linear import rank_of, transpose_last
from onnxattr.rules.norm import standardize

_CONV = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")


def kept(node: Any, *names: str) -> dict[str, object]:
    """Those attributes of a node that have one of these names, for a node that has them too."""
    return {name: node.attributes[name].value for name in names if name in node.attributes}


def activate(op: OpBuilder, node: Any, y: ir.Value, parameters: Sequence[float]) -> ir.Value:
    """The activation that a fused node applies at its end; none without one."""
    kind = node.attributes.get_string("activation", "")
    if not kind:
        return y
    if kind in ("Relu", "Tanh", "Sigmoid", "HardSwish", "Softsign", "Softplus"):
        return getattr(op, kind)(y)
    if kind == "Clip":
        return op.Clip(y, *parameters)
    names: dict[str, tuple[str, ...]] = {
        "LeakyRelu": ("alpha",),
        "Elu": ("alpha",),
        "ThresholdedRelu": ("alpha",),
    }
    names |= {"HardSigmoid": ("alpha", "beta"), "Selu": ("alpha", "gamma")}
    if kind not in names:
        raise UnsupportedOpError(
            f"{node.op_type} node {node.name!r}: its activation {kind!r} is not known. "
            "Save the model with a lower level of graph optimisation."
        )
    return getattr(op, kind)(y, **dict(zip(names[kind], parameters, strict=False)))


@definition("com.microsoft::FusedConv")
def fused_conv(op: OpBuilder, node: Any) -> ir.Value:
    """y = activation(conv(x, w) + b + z)."""
    x, weight, bias, z = optional(node.inputs, 4)
    operands = [x, weight] if bias is None else [x, weight, bias]
    y = op.Conv(*operands, **kept(node, *_CONV))
    if z is not None:
        y = op.Add(y, z)
    return activate(op, node, y, node.attributes.get_floats("activation_params", []))


@definition("com.microsoft::FusedGemm")
def fused_gemm(op: OpBuilder, node: Any) -> ir.Value:
    """y = activation(alpha A' B' + beta C)."""
    operands = [value for value in node.inputs if value is not None]
    y = op.Gemm(*operands, **kept(node, "alpha", "beta", "transA", "transB"))
    parameters = kept(node, "activation_alpha", "activation_beta", "activation_gamma")
    return activate(op, node, y, [float(str(value)) for value in parameters.values()])


@definition("com.microsoft::FusedMatMul", "com.microsoft::TransposeMatMul")
def fused_matmul(op: OpBuilder, node: Any) -> ir.Value:
    """y = alpha A' B'; ``transBatch`` brings the first axis behind the batch axes, ``trans`` swaps the last two."""
    operands = []
    for value, side in zip(node.inputs, "AB", strict=True):
        rank = rank_of(value, node)
        if node.attributes.get_int(f"transBatch{side}", 0) and rank > 2:
            value = op.Transpose(value, perm=[*range(1, rank - 1), 0, rank - 1])
        if node.attributes.get_int(f"trans{side}", 0) and rank > 1:
            value = transpose_last(op, value, rank)
        operands.append(value)
    alpha = node.attributes.get_float("alpha", 1.0)
    return op.MatMul(*operands) if alpha == 1 else op.Mul(op.MatMul(*operands), alpha)


def gelu(op: OpBuilder, x: ir.Value, approximate: str = "none") -> ir.Value:
    """x * P(x), P the normal distribution or its tanh approximation; the operator where the opset has it."""
    if op.opset >= 20:
        return op.Gelu(x, approximate=approximate)
    if approximate == "tanh":
        c = math.sqrt(2.0 / math.pi)
        t = op.Tanh(op.Mul(x, op.Add(op.Mul(op.Mul(x, x), 0.044715 * c), c)))
    else:
        t = op.Erf(op.Mul(x, math.sqrt(0.5)))
    return op.Mul(op.Mul(x, 0.5), op.Add(t, 1.0))


@definition("com.microsoft::Gelu")
def plain_gelu(op: OpBuilder, node: Any) -> ir.Value:
    """y = gelu(x)."""
    return gelu(op, node.inputs[0])


@definition("com.microsoft::BiasGelu")
def bias_gelu(op: OpBuilder, node: Any) -> ir.Value:
    """y = gelu(a + b)."""
    return gelu(op, op.Add(*node.inputs))


@definition("com.microsoft::FastGelu")
def fast_gelu(op: OpBuilder, node: Any) -> ir.Value:
    """y = gelu(x + bias) by the tanh approximation."""
    x, bias = optional(node.inputs, 2)
    return gelu(op, x if bias is None else op.Add(x, bias), "tanh")


@definition("com.microsoft::QuickGelu")
def quick_gelu(op: OpBuilder, node: Any) -> ir.Value:
    """y = x * sigmoid(alpha x)."""
    x = node.inputs[0]
    return op.Mul(x, op.Sigmoid(op.Mul(x, node.attributes.get_float("alpha", 1.702))))


def rms(op: OpBuilder, node: Any, x: ir.Value, scale: ir.Value, epsilon: float, axis: int) -> ir.Value:
    """x / sqrt(mean(x^2) + eps) * scale over the last axes; the operator where the opset has it."""
    if op.opset >= 23:
        return op.RMSNormalization(x, scale, axis=axis, epsilon=epsilon)
    rank = rank_of(x, node) if axis != -1 else 0
    axes = [*range(axis % rank, rank)] if rank else [-1]
    return op.Mul(standardize(op, x, axes, epsilon, centre=False)[0], scale)


@definition("com.microsoft::SimplifiedLayerNormalization")
def simplified_layer_normalization(op: OpBuilder, node: Any) -> ir.Value:
    """y = x / sqrt(mean(x^2) + eps) * scale."""
    x, scale = node.inputs[:2]
    axis = node.attributes.get_int("axis", -1)
    return rms(op, node, x, scale, node.attributes.get_float("epsilon", 1e-5), axis)


@definition("com.microsoft::LayerNormalization")
def layer_normalization(op: OpBuilder, node: Any) -> ir.Value:
    """The operator of ai.onnx 17, which ONNX Runtime writes into older models too."""
    return op.LayerNormalization(*node.inputs, **kept(node, "axis", "epsilon", "stash_type"))


def _skip_sum(op: OpBuilder, *parts: ir.Value | None) -> ir.Value:
    present = [part for part in parts if part is not None]
    total = present[0]
    for part in present[1:]:
        total = op.Add(total, part)
    return total


@definition("com.microsoft::SkipLayerNormalization")
def skip_layer_normalization(op: OpBuilder, node: Any) -> Sequence[ir.Value | None]:
    """y = layer_normalization(s) with s = x + skip + bias, s also being the fourth output."""
    x, skip, gamma, beta, bias = optional(node.inputs, 5)
    total = _skip_sum(op, x, skip, bias)
    scales = [gamma] if beta is None else [gamma, beta]
    epsilon = node.attributes.get_float("epsilon", 1e-12)
    return op.LayerNormalization(total, *scales, axis=-1, epsilon=epsilon), None, None, total


@definition("com.microsoft::SkipSimplifiedLayerNormalization")
def skip_simplified_layer_normalization(op: OpBuilder, node: Any) -> Sequence[ir.Value | None]:
    """y = s / sqrt(mean(s^2) + eps) * gamma with s = x + skip + bias, s also being the fourth output."""
    x, skip, gamma, bias = optional(node.inputs, 4)
    total = _skip_sum(op, x, skip, bias)
    epsilon = node.attributes.get_float("epsilon", 1e-12)
    return rms(op, node, total, gamma, epsilon, -1), None, None, total


@definition("com.microsoft::EmbedLayerNormalization")
def embed_layer_normalization(op: OpBuilder, node: Any) -> Sequence[ir.Value | None]:
    """y = layer_normalization(e), e the sum of a token's word, position and segment embeddings, the third output.

    Ids carry no gradient; the embeddings are values that can be explained.
    """
    ids, segments, words, positions, segment_table, gamma, beta, mask, position_ids = optional(node.inputs, 9)
    if position_ids is None:
        length = op.Squeeze(op.shape(ids, 1, 2), [0])
        position_ids = op.Unsqueeze(op.Range(op.constant(0), length, op.constant(1)), [0])
    total = op.Add(op.Gather(words, ids, axis=0), op.Gather(positions, position_ids, axis=0))
    if segments is not None and segment_table is not None:
        total = op.Add(total, op.Gather(segment_table, segments, axis=0))
    y = op.LayerNormalization(
        total, gamma, beta, axis=-1, epsilon=node.attributes.get_float("epsilon", 1e-12)
    )
    if mask is None or not node.attributes.get_int("mask_index_type", 1):
        counts = op.Expand(op.constant(0, ir.DataType.INT32), op.shape(ids, 0, 1))
    else:
        counts = op.ReduceSum(mask, [1], keepdims=0)
    return y, counts, total


@definition("com.microsoft::RotaryEmbedding")
def rotary_embedding(op: OpBuilder, node: Any) -> ir.Value:
    """Turns the pairs of features of each head by an angle that grows with the position."""
    x, position_ids, cosines, sines = node.inputs
    interleaved = node.attributes.get_int("interleaved", 0)
    rank, table = rank_of(x, node), dims_of(cosines)
    if table is None or not isinstance(table[1], int) or node.attributes.get_int("is_packed_batching", 0):
        raise UnsupportedOpError(
            f"RotaryEmbedding node {node.name!r}: packed batches and tables of unknown width are not known."
        )
    half, heads = table[1], node.attributes.get_int("num_heads", 0)
    width = node.attributes.get_int("rotary_embedding_dim", 0)
    # Heads lie behind the positions in rank 3, before them in rank 4.
    split = [0, 0, heads, -1] if width and heads else [0, 0, -1, 2 * half]
    parts, head_axis = (op.Reshape(x, op.constant(split)), 2) if rank == 3 else (x, 1)
    if rank_of(position_ids, node) == 1:
        length = op.Squeeze(op.shape(parts, 3 - head_axis, 4 - head_axis), [0])
        steps = op.Range(op.constant(0), length, op.constant(1))
        position_ids = op.Unsqueeze(op.Add(steps, position_ids), [0])
    cos, sin = (op.Unsqueeze(op.Gather(t, position_ids, axis=0), [head_axis]) for t in (cosines, sines))
    if interleaved:
        a, b = (op.Slice(parts, [start], [2 * half], [-1], [2]) for start in (0, 1))
    else:
        a, b = (op.Slice(parts, [start], [start + half], [-1]) for start in (0, half))
    turned = [op.Sub(op.Mul(a, cos), op.Mul(b, sin)), op.Add(op.Mul(b, cos), op.Mul(a, sin))]
    if interleaved:
        pairs = op.Concat(*[op.Unsqueeze(part, [4]) for part in turned], axis=4)
        turned = [op.Reshape(pairs, op.constant([0, 0, 0, -1]))]
    if width:
        turned.append(op.Slice(parts, [2 * half], [2**31], [-1]))
    y = op.Concat(*turned, axis=-1)
    return op.reshape_like(y, x) if rank == 3 else y
