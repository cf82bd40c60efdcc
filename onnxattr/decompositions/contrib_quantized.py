"""Definitions of com.microsoft operators on quantised values, those with a scale for each block of a row among them.

The weights are constants: gradients are those of the activations, which stay real numbers.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.node import NodeView
from onnxattr.autodiff.rules.few_bits import (
    bits_of,
    matmul_n_bits,
    real_of_blocks,
    rounds_activations,
    unpacked,
)
from onnxattr.decompositions.registry import decomposition
from onnxattr.errors import UnsupportedOpError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of

#: The numbers that four bits stand for in bitsandbytes.
_FP4_HALF = (0.0, 0.0052083333, 0.66666667, 1.0, 0.33333333, 0.5, 0.16666667, 0.25)
FP4 = (*_FP4_HALF, *(-number for number in _FP4_HALF))
NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933998108, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip


# It has a rule too, for nodes whose kernel is kept, as it rounds its input.
decomposition("com.microsoft::MatMulNBits", inputs=6, unread=("accuracy_level",), kept=rounds_activations)(
    matmul_n_bits
)


@decomposition("com.microsoft::MatMulBnb4", inputs=3, unread=("training_mode",))
def matmul_bnb4(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = a w^T with w = table[q] * absmax: NF4 or FP4 of bitsandbytes (Dettmers et al., arXiv 2305.14314)."""
    a, packed, largest = node.required(3)
    rows, columns, size = (node.get_int(name) for name in ("N", "K", "block_size"))
    kind = node.get_int("quant_type")
    if not node.get_int("transB", 1):
        raise UnsupportedOpError(
            f"MatMulBnb4 node {node.name!r}: unsupported transB=0, for which ONNX Runtime's kernel on a CPU reads "
            "numbers from elsewhere in memory; supported: 1. Export the model for inference."
        )
    if kind not in (0, 1):
        raise UnsupportedOpError(
            f"MatMulBnb4 node {node.name!r}: unsupported quant_type {kind}; supported: 0 (FP4), 1 (NF4)."
        )
    # The first of two numbers is in the high bits.
    pairs = op.Unsqueeze(op.cast(op.reshape(packed, [-1]), ir.DataType.FLOAT), [1])
    high = op.Floor(op.Div(pairs, 16.0))
    numbers = op.Concat(high, op.Sub(pairs, op.Mul(high, 16.0)), axis=1)
    table = op.constant((FP4, NF4)[kind], a.dtype)
    weights = op.Gather(table, op.cast(op.reshape(numbers, [-1]), ir.DataType.INT64), axis=0)
    count, have = rows * columns, -(-rows * columns // 2) * 2
    blocks = -(-count // size)
    if have != blocks * size:
        weights = op.Pad(weights, op.constant([0, blocks * size - have]), op.constant(0.0, a.dtype))
    weights = op.Mul(op.reshape(weights, [blocks, size]), op.reshape(largest, [blocks, 1]))
    if blocks * size != count:
        weights = op.Slice(op.reshape(weights, [-1]), [0], [count], [0])
    weights = op.reshape(weights, [rows, columns])
    return op.MatMul(a, op.Transpose(weights, perm=[1, 0]))


def _keeps_four_bits(node: NodeView) -> bool:
    """Whether the numbers have a type that ai.onnx has from opset 21 on."""
    return node.opset < 21 and node.x.dtype in (ir.DataType.INT4, ir.DataType.UINT4)


@decomposition("com.microsoft::GatherBlockQuantized", inputs=4, kept=_keeps_four_bits)
def gather_block_quantized(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = the chosen rows of w = (q - zero point) * scale."""
    (data, indices, scales), zeros = node.required(3), node.inputs[3]
    rank, bits = node.rank(data), bits_of(node)
    axis, gathered = (node.get_int(f"{kind}_axis", k) % rank for kind, k in (("quantize", 1), ("gather", 0)))
    width = (dims_of(data) or [None])[-1]
    if data.dtype in (ir.DataType.INT4, ir.DataType.UINT4):
        return _gather_of_four_bits(op, node, axis, gathered)
    if data.dtype != ir.DataType.UINT8 or axis != rank - 1 or gathered or not isinstance(width, int):
        raise UnsupportedOpError(
            f"GatherBlockQuantized node {node.name!r}: unsupported layout; supported: rows of bytes of a given width, "
            "with blocks along the last axis, gathered along the first. Export the embeddings so, or as floats."
        )
    # The block that each position is in; a row ends where the last block may not be full.
    block = np.arange(width * 8 // bits) // node.get_int("block_size", 128)

    def chosen(table: ir.Value, few: bool) -> ir.Value:
        picked = op.Gather(table, indices, axis=0)
        return unpacked(op, picked, bits) if few else picked

    spread = op.Gather(chosen(scales, False), block, axis=-1)
    zeros = None if zeros is None else op.Gather(chosen(zeros, True), block, axis=-1)
    return real_of_blocks(op, chosen(data, True), zeros, spread, bits)


def _gather_of_four_bits(op: OpBuilder, node: NodeView, axis: int, gathered: int) -> ir.Value:
    """The chosen slices of w, whose numbers have a type of four bits and blocks along any axis."""
    data, indices, scales = node.required(3)
    size, dims = node.get_int("block_size", 128), dims_of(data) or []
    if not _keeps_four_bits(node):
        weights = op.DequantizeLinear(data, scales, node.inputs[3], axis=axis, block_size=size)
        return op.Gather(weights, indices, axis=gathered)
    if not all(isinstance(dim, int) for dim in dims):
        raise UnsupportedOpError(
            f"GatherBlockQuantized node {node.name!r}: its table has no given size. Export the model again."
        )
    # A value of the type that the kernel gives.
    sizes = [op.Shape(indices)]
    for place, part in ((0, dims[:gathered]), (2, dims[gathered + 1 :])):
        if part:
            sizes.insert(place, op.constant([int(str(dim)) for dim in part]))
    return op.Expand(op.constant(0.0, scales.dtype), op.Concat(*sizes, axis=0))


@decomposition("com.microsoft::QuantizeLinear", "com.microsoft::DequantizeLinear", inputs=3)
def contrib_linear(op: OpBuilder, node: NodeView) -> ir.Value:
    """The operators of ai.onnx, which take other than 8 bits from opset 21 on."""
    dtype = node.y.dtype if node.op_type == "QuantizeLinear" else node.x.dtype
    zero = node.inputs[2]
    dtype = zero.dtype if dtype is None and zero is not None else dtype
    if op.opset < 21 and dtype not in (ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT32, None):
        raise UnsupportedOpError(
            f"{node.op_type} node {node.name!r} quantises to {str(dtype).lower()}, which ai.onnx has from opset 21 on. "
            "Bring the model to opset 21 with onnx.version_converter, then quantise it."
        )
    return op.node(node.op_type, node.inputs, node.attributes.kept("axis"))
