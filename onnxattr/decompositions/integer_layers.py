"""Layers of transformers in integers, as ONNX Runtime's quantiser writes them: those of real numbers behind them."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.autodiff.node import NodeView
from onnxattr.autodiff.rules.quantization import as_reals
from onnxattr.decompositions.contrib_attention import attend_projected, refuse_cache
from onnxattr.decompositions.contrib_norm import counts_of, places_of
from onnxattr.decompositions.integer_operators import real
from onnxattr.decompositions.registry import decomposition
from onnxattr.graph.builder import OpBuilder


@decomposition("com.microsoft::QAttention", inputs=9, unread=("mask_filter_value",))
def q_attention(op: OpBuilder, node: NodeView) -> Sequence[ir.Value | None]:
    """y = Attention(x, w, b) of the real x and w; b is given in floats, w may have a scale for each column."""
    x, weights, bias, x_scale, w_scale = node.required(5)
    mask, x_zero, w_zero, past = node.inputs[5:]
    refuse_cache(node, [])
    # Weights behind a DequantizeLinear would be multiplied with rounded x.
    product = op.MatMul(real(op, x, x_scale, x_zero), as_reals(op, weights, w_zero, bias.dtype, w_scale))
    return attend_projected(op, node, op.Add(product, bias), mask, past)


@decomposition("com.microsoft::QEmbedLayerNormalization", inputs=18)
def q_embed_layer_normalization(op: OpBuilder, node: NodeView) -> Sequence[ir.Value | None]:
    """y = EmbedLayerNormalization of real tables, gamma and beta."""
    ids, segments, mask = node.x, node.inputs[1], node.inputs[7]
    scales, zeros = node.inputs[8:13], node.inputs[13:18]
    words, positions, segment_table, gamma, beta = zip(node.inputs[2:7], scales, zeros, strict=True)

    def chosen(table: Sequence[ir.Value | None], places: ir.Value | None = None) -> ir.Value:
        numbers, scale = node.given(table[:2])
        return real(op, numbers if places is None else op.Gather(numbers, places, axis=0), scale, table[2])

    total = op.Add(chosen(words, ids), chosen(positions, places_of(op, ids)))
    if segments is not None:
        total = op.Add(total, chosen(segment_table, segments))
    epsilon = node.get_float("epsilon", 1e-12)
    y = op.LayerNormalization(total, chosen(gamma), chosen(beta), axis=-1, epsilon=epsilon)
    return y, counts_of(op, ids, mask)
