"""Rules of operators that lay the windows of an image out as columns: DeformConv and Col2Im."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.derived import derived
from onnxattr.autodiff.registry import Cotangent, NodeView, vjp
from onnxattr.autodiff.rules.conv import kernel_dims
from onnxattr.autodiff.rules.sampling import Samples, linear_taps, samples
from onnxattr.autodiff.rules.windows import pad_spatial
from onnxattr.graph.builder import OpBuilder


@derived("DeformConv")
def deform_conv(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = w times columns + b, columns = mask * x sampled at window positions moved by offset.

    columns' cotangent = w transposed times ybar; from there xbar, offsetbar and maskbar as for GridSample, zeros
    outside; wbar = ybar times the columns transposed.
    """
    (x, w, _), (b, mask) = node.required(3), node.inputs[3:]
    y, kernel, group = node.y, kernel_dims(node)[2:], node.get_int("group")
    sets = op.Mul(op.shape(x, 0, 1), node.get_int("offset_group"))
    columns = _moved_windows(op, node, kernel, sets).values(op)
    if mask is not None:
        columns = op.Mul(columns, op.reshape(mask, [op.shape(columns, 0, 2), 1]))
    # (N * sets, K * P, C / sets) to (N, G, C / G * K, P).
    rows = op.Mul(op.shape(w, 1, 2), int(np.prod(kernel)))
    groups = op.Concat(op.shape(y, 0, 1), [group], rows, op.elements(y, 2), axis=0)
    columns = op.Reshape(op.Transpose(columns, perm=[0, 2, 1]), groups)
    grouped_w = op.reshape(w, [group, op.Div(op.shape(w, 0, 1), group), -1])
    product = op.reshape_like(op.MatMul(grouped_w, columns), y)
    return product if b is None else op.Add(product, op.Reshape(b, [-1, *[1] * len(kernel)]))


def _moved_windows(op: OpBuilder, node: NodeView, kernel: Sequence[int], sets: ir.Value) -> Samples:
    """The samples under every window of a DeformConv: x as (N * sets, C / sets, ...), samples in order (K, P)."""
    x, _, offset = node.required(3)
    rank, count = len(kernel), int(np.prod(kernel))
    strides, dilations = ((node.get_ints(name) or [1] * rank) for name in ("strides", "dilations"))
    pads = node.get_ints("pads") or [0] * 2 * rank
    moves = op.reshape(offset, [sets, count, rank, op.shape(offset, 2)])
    channels = op.Div(op.shape(x, 1, 2), node.get_int("offset_group"))
    parts = op.reshape(x, [sets, channels, op.shape(x, 2)])
    # A size that is computed has a name: none of the forward pass is needed for its shape alone.
    positions = op.Mul(op.elements(offset, 2), count)
    axes = []
    for axis, places in enumerate(np.indices(kernel).reshape(rank, count)):
        inside = op.constant((places * dilations[axis] - pads[axis]).reshape(count, *[1] * rank), x.dtype)
        outputs = op.size(offset, 2 + axis)
        windows = op.cast_like(op.Mul(op.Range(0, outputs, 1), strides[axis]), x)
        first = op.Add(inside, op.Reshape(windows, [-1, *[1] * (rank - 1 - axis)]))
        position = op.reshape(op.Add(op.Gather(moves, axis, axis=2), first), [sets, positions])
        size = op.cast_like(op.size(x, 2 + axis), x)
        axes.append(linear_taps(op, position, size))
    return samples(op, parts, axes)


@vjp("Col2Im")
def col2im(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = columns added onto the windows they belong to;  xbar = the windows of ybar laid out as columns.

    Not derived: the operator is linear, and its adjoint is shorter than the operator itself: 10 nodes, derived 19 that
    take as long.
    """
    x, image, block = node.required(3)
    rank = node.rank(node.y) - 2
    strides, dilations = ((node.get_ints(name) or [1] * rank) for name in ("strides", "dilations"))
    pads = node.get_ints("pads") or [0] * 2 * rank
    windows = pad_spatial(op, ct, op.constant([*pads[:rank]]), op.constant([*pads[rank:]]))
    # Where the elements of all windows lie, of shape (kernel ..., windows ...).
    places: ir.Value | None = None
    for axis in range(rank):
        length, size = (op.Gather(value, axis) for value in (image, block))
        reach = op.Add(op.Mul(op.Sub(size, 1), dilations[axis]), 1)
        padded = op.Add(length, pads[axis] + pads[rank + axis])
        count = op.Add(op.Div(op.Sub(padded, reach), strides[axis]), 1)
        inside = op.Mul(op.Range(0, size, 1), dilations[axis])
        first = op.Mul(op.Range(0, count, 1), strides[axis])
        along = op.Add(op.Unsqueeze(inside, [1]), first)
        others = [a for a in range(2 * rank) if a not in (axis, rank + axis)]
        along = op.Unsqueeze(along, others) if others else along
        places = along if places is None else op.Add(op.Mul(places, padded), along)
    # Runs of channels are copied, not single elements.
    rows = op.Transpose(
        op.reshape(windows, [op.Mul(op.shape(ct, 0, 1), op.shape(ct, 1, 2)), -1]), perm=[1, 0]
    )
    columns = op.Transpose(op.Gather(rows, op.Reshape(places, [-1]), axis=0), perm=[1, 0])
    return op.reshape_like(columns, x), None, None
