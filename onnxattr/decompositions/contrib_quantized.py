"""Definitions of com.microsoft operators on quantised values, those with a scale for each block of a row among them.

The weights are constants: gradients are those of the activations. Kernels may round the activations too, as
``accuracy_level`` allows them; here they stay real numbers.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.node import NodeView
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


@decomposition("com.microsoft::MatMulNBits", inputs=6, unread=("accuracy_level",))
def matmul_n_bits(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = a w^T + bias with w = (q - zero point) * scale, of a block, or of the group that g_idx gives each column."""
    a, packed, scales = node.required(3)
    zeros, order, bias = node.inputs[3:]
    rows, columns = node.get_int("N"), node.get_int("K")
    bits, size = _bits(node), node.get_int("block_size")
    if node.get_int("weight_prepacked", 0):
        raise UnsupportedOpError(
            f"MatMulNBits node {node.name!r} has its weights in a layout for one kind of processor (weight_prepacked). "
            "Export the model without it."
        )
    if order is not None and (bits != 4 or (zeros is not None and zeros.dtype == ir.DataType.UINT8)):
        raise UnsupportedOpError(
            f"MatMulNBits node {node.name!r}: unsupported order of columns (g_idx) with {bits} bits or packed zero "
            "points, which ONNX Runtime's kernel leaves out; supported: 4 bits with zero points in floats or none. "
            "Export the model without g_idx."
        )
    blocks = -(-columns // size)
    numbers = op.reshape(_unpacked(op, packed, bits), [rows, blocks, size])
    if zeros is not None and zeros.dtype == ir.DataType.UINT8:
        zeros = op.reshape(_unpacked(op, zeros, bits), [rows, -1])
        zeros = op.Slice(zeros, [0], [blocks], [1])

    def spread(table: ir.Value) -> ir.Value:
        """Of each block, or of each number in it."""
        if order is None:
            return op.reshape(table, [rows, blocks, 1])
        groups = op.Gather(op.reshape(table, [rows, blocks]), order, axis=1)
        behind = op.Slice(groups, [0], [blocks * size - columns], [1])
        return op.reshape(op.Concat(groups, behind, axis=1), [rows, blocks, size])

    zeros = None if zeros is None else spread(zeros)
    weights = op.reshape(_real(op, numbers, zeros, spread(scales), bits), [rows, blocks * size])
    if blocks * size > columns:
        weights = op.Slice(weights, [0], [columns], [1])
    y = op.MatMul(a, op.Transpose(weights, perm=[1, 0]))
    return y if bias is None else op.Add(y, bias)


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


@decomposition("com.microsoft::GatherBlockQuantized", inputs=4)
def gather_block_quantized(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = the chosen rows of w = (q - zero point) * scale."""
    (data, indices, scales), zeros = node.required(3), node.inputs[3]
    rank, bits = node.rank(data), _bits(node)
    axis, gathered = (node.get_int(f"{kind}_axis", k) % rank for kind, k in (("quantize", 1), ("gather", 0)))
    width = (dims_of(data) or [None])[-1]
    if data.dtype != ir.DataType.UINT8 or axis != rank - 1 or gathered or not isinstance(width, int):
        raise UnsupportedOpError(
            f"GatherBlockQuantized node {node.name!r}: unsupported layout; supported: rows of bytes of a given width, "
            "with blocks along the last axis, gathered along the first. Export the embeddings so, or as floats."
        )
    # The block that each position is in; a row ends where the last block may not be full.
    block = np.arange(width * 8 // bits) // node.get_int("block_size", 128)

    def chosen(table: ir.Value, few: bool) -> ir.Value:
        picked = op.Gather(table, indices, axis=0)
        return _unpacked(op, picked, bits) if few else picked

    spread = op.Gather(chosen(scales, False), block, axis=-1)
    zeros = None if zeros is None else op.Gather(chosen(zeros, True), block, axis=-1)
    return _real(op, chosen(data, True), zeros, spread, bits)


def _bits(node: NodeView) -> int:
    bits = node.get_int("bits", 4)
    if bits not in (2, 4, 8):
        raise UnsupportedOpError(
            f"{node.op_type} node {node.name!r}: unsupported bit width {bits}; supported: 2, 4, 8."
        )
    return bits


def _unpacked(op: OpBuilder, packed: ir.Value, bits: int) -> ir.Value:
    """The numbers that bytes hold along the last axis, the lowest bits first.

    Computed in floats, which are exact: OpenVINO 2026.4 folds shifts of constant bytes wrongly.
    """
    if bits == 8:
        return packed
    values, places = op.Unsqueeze(op.cast(packed, ir.DataType.FLOAT), [-1]), 2.0 ** np.arange(0, 8, bits)
    behind = op.Floor(op.Div(values, places * 2**bits))
    numbers = op.Sub(op.Floor(op.Div(values, places)), op.Mul(behind, 2.0**bits))
    return op.reshape(numbers, [*[0] * (len(dims_of(packed) or []) - 1), -1])


def _real(op: OpBuilder, numbers: ir.Value, zeros: ir.Value | None, scales: ir.Value, bits: int) -> ir.Value:
    """(q - zero point) * scale in the type of the scales; the zero point is the middle of the range by default."""
    shift = 2.0 ** (bits - 1) if zeros is None else op.cast_like(zeros, scales)
    return op.Mul(op.Sub(op.cast_like(numbers, scales), shift), scales)


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
