"""Weights of few bits in blocks, each with a scale of its own, and the product with them.

Kernels may round the activations too, as ``accuracy_level`` allows them; the gradient goes straight through that.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.derived import derived
from onnxattr.autodiff.node import NodeView
from onnxattr.errors import UnsupportedOpError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of


def rounds_activations(node: NodeView) -> bool:
    """Whether the kernel may round its input to 8 bits."""
    return bool(node.get_int("accuracy_level", 0) == 4)


@derived("com.microsoft::MatMulNBits")
def matmul_n_bits(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = a w^T + bias with w = (q - zero point) * scale, of a block, or of the group that g_idx gives each column."""
    a, packed, scales = node.required(3)
    zeros, order, bias = [*node.inputs, None, None, None][3:6]
    rows, columns = node.get_int("N"), node.get_int("K")
    bits, size = bits_of(node), node.get_int("block_size")
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
    numbers = op.reshape(unpacked(op, packed, bits), [rows, blocks, size])
    if zeros is not None and zeros.dtype == ir.DataType.UINT8:
        zeros = op.reshape(unpacked(op, zeros, bits), [rows, -1])
        zeros = op.Slice(zeros, [0], [blocks], [1])

    def spread(table: ir.Value) -> ir.Value:
        """Of each block, or of each number in it."""
        if order is None:
            return op.reshape(table, [rows, blocks, 1])
        groups = op.Gather(op.reshape(table, [rows, blocks]), order, axis=1)
        behind = op.Slice(groups, [0], [blocks * size - columns], [1])
        return op.reshape(op.Concat(groups, behind, axis=1), [rows, blocks, size])

    zeros = None if zeros is None else spread(zeros)
    weights = op.reshape(real_of_blocks(op, numbers, zeros, spread(scales), bits), [rows, blocks * size])
    if blocks * size > columns:
        weights = op.Slice(weights, [0], [columns], [1])
    y = op.MatMul(a, op.Transpose(weights, perm=[1, 0]))
    return y if bias is None else op.Add(y, bias)


def bits_of(node: NodeView) -> int:
    """How many bits a number has."""
    bits = node.get_int("bits", 4)
    if bits not in (2, 4, 8):
        raise UnsupportedOpError(
            f"{node.op_type} node {node.name!r}: unsupported bit width {bits}; supported: 2, 4, 8."
        )
    return bits


def unpacked(op: OpBuilder, packed: ir.Value, bits: int) -> ir.Value:
    """The numbers that bytes hold along the last axis, the lowest bits first.

    Computed in floats, which are exact: OpenVINO 2026.4 folds shifts of constant bytes wrongly.
    """
    if bits == 8:
        return packed
    values, places = op.Unsqueeze(op.cast(packed, ir.DataType.FLOAT), [-1]), 2.0 ** np.arange(0, 8, bits)
    behind = op.Floor(op.Div(values, places * 2**bits))
    numbers = op.Sub(op.Floor(op.Div(values, places)), op.Mul(behind, 2.0**bits))
    return op.reshape(numbers, [*[0] * (len(dims_of(packed) or []) - 1), -1])


def real_of_blocks(
    op: OpBuilder, numbers: ir.Value, zeros: ir.Value | None, scales: ir.Value, bits: int
) -> ir.Value:
    """(q - zero point) * scale in the type of the scales; the zero point is the middle of the range by default."""
    shift = 2.0 ** (bits - 1) if zeros is None else op.cast_like(zeros, scales)
    return op.Mul(op.Sub(op.cast_like(numbers, scales), shift), scales)
