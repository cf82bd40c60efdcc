"""Rules of operators that lay the windows of an image out as columns: DeformConv and Col2Im."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.registry import Cotangent, vjp
from onnxattr.autodiff.rules.conv import kernel_dims
from onnxattr.autodiff.rules.linear import rank_of
from onnxattr.autodiff.rules.sampling import Samples, linear_taps, samples
from onnxattr.autodiff.rules.windows import pad_spatial
from onnxattr.graph.builder import OpBuilder


@vjp("DeformConv")
def deform_conv(op: OpBuilder, node: Any, ct: ir.Value) -> Sequence[Cotangent]:
    """y = w times columns + b, columns = mask * x sampled at window positions moved by offset.

    columns' cotangent = w transposed times ybar; from there xbar, offsetbar and maskbar as for GridSample, zeros
    outside; wbar = ybar times the columns transposed.
    """
    x, w, offset, b, mask = [*node.inputs, None, None][:5]
    kernel, group = kernel_dims(node)[2:], node.attributes.get_int("group", 1)
    sets = op.Mul(op.shape(x, 0, 1), node.attributes.get_int("offset_group", 1))
    found = _moved_windows(op, node, kernel, sets)
    groups = op.Concat(op.shape(ct, 0, 1), [group, -1], op.ReduceProd(op.shape(ct, 2), keepdims=1), axis=0)
    grouped_ct = op.Reshape(ct, groups)
    grouped_w = op.Reshape(w, op.Concat([group], op.Div(op.shape(w, 0, 1), group), [-1], axis=0))
    # (N, G, C / G * K, P) to (N * sets, K * P, C / sets): one row of channels per sample.
    columns_ct = op.MatMul(op.Transpose(grouped_w, perm=[0, 2, 1]), grouped_ct)
    channels = op.shape(found.x, 1, 2)
    rows = op.Transpose(op.Reshape(columns_ct, op.Concat(sets, channels, [-1], axis=0)), perm=[0, 2, 1])
    share = None if mask is None else op.Reshape(mask, op.Concat(sets, [-1, 1], axis=0))

    def shared(value: ir.Value) -> ir.Value:
        return value if share is None else op.Mul(value, share)

    def w_ct() -> ir.Value:
        columns = op.Reshape(op.Transpose(shared(found.values(op)), perm=[0, 2, 1]), groups)
        products = op.MatMul(grouped_ct, op.Transpose(columns, perm=[0, 1, 3, 2]))
        return op.reshape_like(op.ReduceSum(products, [0], keepdims=0), w)

    def offset_ct() -> ir.Value:
        apart = op.Concat(sets, [int(np.prod(kernel)), 1, -1], axis=0)
        parts = [op.Reshape(part, apart) for part in found.position_cts(op, shared(rows))]
        return op.reshape_like(op.Concat(*parts, axis=2), offset)

    return [
        lambda: op.reshape_like(found.x_ct(op, shared(rows)), x),
        w_ct,
        offset_ct,
        b and (lambda: op.ReduceSum(ct, [0, *range(2, 2 + len(kernel))], keepdims=0)),
        mask and (lambda: op.reshape_like(op.ReduceSum(op.Mul(rows, found.values(op)), [2]), mask)),
    ][: len(node.inputs)]


def _moved_windows(op: OpBuilder, node: Any, kernel: Sequence[int], sets: ir.Value) -> Samples:
    """The samples under every window of a DeformConv: x as (N * sets, C / sets, ...), samples in order (K, P)."""
    x, _, offset = node.inputs[:3]
    rank, count = len(kernel), int(np.prod(kernel))
    strides, dilations = (node.attributes.get_ints(name, [1] * rank) for name in ("strides", "dilations"))
    pads = node.attributes.get_ints("pads", [0] * 2 * rank)
    moves = op.Reshape(offset, op.Concat(sets, [count, rank], op.shape(offset, 2), axis=0))
    channels = op.Div(op.shape(x, 1, 2), node.attributes.get_int("offset_group", 1))
    parts = op.Reshape(x, op.Concat(sets, channels, op.shape(x, 2), axis=0))
    axes = []
    for axis, places in enumerate(np.indices(kernel).reshape(rank, count)):
        inside = op.constant((places * dilations[axis] - pads[axis]).reshape(count, *[1] * rank), x.dtype)
        outputs = op.Squeeze(op.shape(offset, 2 + axis, 3 + axis))
        windows = op.cast_like(op.Mul(op.Range(0, outputs, 1), strides[axis]), x)
        first = op.Add(inside, op.Reshape(windows, [-1, *[1] * (rank - 1 - axis)]))
        position = op.Reshape(op.Add(op.Gather(moves, axis, axis=2), first), op.Concat(sets, [-1], axis=0))
        size = op.cast_like(op.Squeeze(op.shape(x, 2 + axis, 3 + axis)), x)
        axes.append(linear_taps(op, position, size))
    return samples(op, parts, axes)


@vjp("Col2Im")
def col2im(op: OpBuilder, node: Any, ct: ir.Value) -> Sequence[Cotangent]:
    """y = columns added onto the windows they belong to;  xbar = the windows of ybar laid out as columns."""
    x, image, block = node.inputs
    rank = rank_of(node.outputs[0], node) - 2
    strides, dilations = (node.attributes.get_ints(name, [1] * rank) for name in ("strides", "dilations"))
    pads = node.attributes.get_ints("pads", [0] * 2 * rank)
    windows = pad_spatial(op, ct, op.constant([*pads[:rank]]), op.constant([*pads[rank:]]))
    for axis in range(rank):
        length, size = (op.Gather(value, axis) for value in (image, block))
        reach = op.Add(op.Mul(op.Sub(size, 1), dilations[axis]), 1)
        padded = op.Add(length, pads[axis] + pads[rank + axis])
        count = op.Add(op.Div(op.Sub(padded, reach), strides[axis]), 1)
        inside = op.Mul(op.Range(0, size, 1), dilations[axis])
        first = op.Mul(op.Range(0, count, 1), strides[axis])
        windows = op.Gather(windows, op.Add(op.Unsqueeze(inside, [1]), first), axis=2 + 2 * axis)
    order = [0, 1, *range(2, 2 + 2 * rank, 2), *range(3, 3 + 2 * rank, 2)]
    return op.reshape_like(op.Transpose(windows, perm=order), x), None, None
