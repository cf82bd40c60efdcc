"""Rules of operators that move elements without choosing among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.registry import Cotangent, NodeView, vjp
from onnxattr.autodiff.rules.selection import add_at, positions_in
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of


@vjp("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = x in another shape;  xbar = ybar in the shape of x."""
    back = {"Squeeze": op.Unsqueeze, "Unsqueeze": op.Squeeze}.get(node.op_type)
    open_sizes = sum(not isinstance(size, int) for size in dims_of(node.x) or [None, None])
    if back is not None and node.inputs[1] is not None and open_sizes > 1:
        return back(ct, node.inputs[1]), None
    return op.reshape_like(ct, node.x), None


@vjp("Transpose")
def transpose(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = x with axes permuted;  xbar = ybar permuted back."""
    perm = node.get_ints("perm")
    # Without perm all axes are reversed.
    return (op.Transpose(ct, perm=np.argsort(perm).tolist() if perm else None),)


@vjp("Expand")
def expand(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = x broadcast to a shape;  xbar = ybar summed over the axes that x was repeated along."""
    return op.sum_to(ct, node.x), None


@vjp("Tile")
def tile(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = x repeated along each axis;  xbar = sum of the repeats of ybar."""
    x, repeats = node.required(2)
    rank = node.rank(x)
    pairs = op.Concat(op.Unsqueeze(repeats, [1]), op.Unsqueeze(op.shape(x), [1]), axis=1)
    parts = op.Reshape(ct, op.reshape(pairs, [-1]))
    total = op.ReduceSum(parts, [*range(0, 2 * rank, 2)], keepdims=0)
    total.shape = x.shape
    return total, None


@vjp("Concat")
def concat(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = inputs one after another;  each input gets its part of ybar."""
    axis, inputs = node.get_int("axis"), node.given(node.inputs)
    if len(inputs) == 1:
        return (ct,)
    sizes = op.sizes([op.size(value, axis) for value in inputs])
    parts = op.Split(ct, sizes, axis=axis, outputs=len(inputs))
    for part, value in zip(parts, inputs, strict=True):
        part.shape = value.shape
    return parts


@vjp("Split")
def split(op: OpBuilder, node: NodeView, ct: Any) -> Sequence[Cotangent]:
    """y1, y2, ... = parts of x;  xbar = their cotangents one after another, zeros for unused parts."""
    parts = [op.zeros_like(y) if c is None else c for c, y in zip(node.cts, node.outputs, strict=True)]
    return op.Concat(*parts, axis=node.get_int("axis")), None


@vjp("Pad")
def pad(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = x with a border;  xbar = ybar without it, or (copied borders) with it added back onto its sources.

    The pads are those of every axis: loading writes others so.
    """
    x, pads = node.required(2)
    mode = node.get_string("mode")
    if mode != "constant":
        # The value of a border is not read in these modes, and may be there all the same.
        return add_at(op, x, op.Pad(positions_in(op, x), pads, mode=mode), ct), None, None, None
    x_ct = op.Pad(ct, op.Neg(pads))
    x_ct.shape = x.shape

    def value_ct() -> ir.Value:
        border = op.Sub(op.ReduceSum(ct, keepdims=0), op.ReduceSum(x_ct, keepdims=0))
        # The value may be a vector of one element.
        return op.reshape_like(border, node.required(3)[2])

    return x_ct, None, value_ct, None


@vjp("DepthToSpace")
def depth_to_space(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = channel blocks laid out in space;  xbar = space blocks of ybar taken back into channels."""
    size = node.get_int("blocksize")
    if node.get_string("mode") == "DCR":
        return (op.SpaceToDepth(ct, blocksize=size),)
    batch, channels, height, width = (op.shape(node.x, axis, axis + 1) for axis in range(4))
    parts = op.reshape(ct, [batch, op.Div(channels, size * size), height, size, width, size])
    return (op.reshape_like(op.Transpose(parts, perm=[0, 1, 3, 5, 2, 4]), node.x),)


@vjp("SpaceToDepth")
def space_to_depth(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = space blocks taken into channels;  xbar = channel blocks of ybar laid out in space."""
    return (op.DepthToSpace(ct, blocksize=node.get_int("blocksize")),)


@vjp("Trilu")
def trilu(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = upper or lower triangle of x;  xbar = the same triangle of ybar."""
    return op.Trilu(ct, node.inputs[1], upper=node.get_int("upper")), None


@vjp("ReverseSequence")
def reverse_sequence(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = x with the first lengths[i] steps of each row reversed;  xbar = ybar reversed the same way."""
    batch, time = node.get_int("batch_axis"), node.get_int("time_axis")
    return op.ReverseSequence(ct, node.inputs[1], batch_axis=batch, time_axis=time), None
