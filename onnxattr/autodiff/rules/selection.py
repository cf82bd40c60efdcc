"""Rules of operators whose outputs are copies of chosen elements: slices, gathers, sorted values."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.autodiff.registry import Cotangent, NodeView, attributes_of, vjp
from onnxattr.autodiff.rules.distinct import distinct_rows
from onnxattr.autodiff.rules.padding import along
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import ints_of


def add_at_selection(op: OpBuilder, node: NodeView, ct: ir.Value) -> ir.Value:
    """xbar[i] = sum of ybar over the outputs that copy x[i], for any node that only copies elements of its first input.

    The node is run again on the positions 0, 1, 2, ... in place of x: what comes out says where each output came from.
    """
    x = node.x
    attributes = attributes_of(node)
    return add_at(op, x, op.node(node.op_type, [positions_in(op, x), *node.inputs[1:]], attributes), ct)


def positions_in(op: OpBuilder, x: ir.Value) -> ir.Value:
    """The positions 0, 1, 2, ... of the elements of x, in its shape."""
    return op.reshape_like(op.Range(0, op.Size(x), 1), x)


def add_at(op: OpBuilder, x: ir.Value, source: ir.Value, ct: ir.Value) -> ir.Value:
    """Zeros in the shape of x with ct added at the positions ``source`` of the same shape as ct."""
    zeros = op.Expand(op.constant([0], x.dtype), op.Reshape(op.Size(x), [1]))
    flat = op.ScatterElements(zeros, op.Reshape(source, [-1]), op.Reshape(ct, [-1]), axis=0, reduction="add")
    return op.reshape_like(flat, x)


@vjp("Slice")
def slice_rule(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = x[start:end:step];  xbar = ybar at those positions, 0 elsewhere."""
    x = node.x
    x_ct = _pad_slice(op, node, ct) or add_at_selection(op, node, ct)
    x_ct.shape = x.shape
    return x_ct, None, None, None, None


def _pad_slice(op: OpBuilder, node: NodeView, ct: ir.Value) -> ir.Value | None:
    """The cotangent of a slice of step 1 with known starts, as a Pad; None for other slices."""
    x = node.x
    _, first, _, axes, steps = node.inputs
    starts = ints_of(first)
    if starts is None or (axes is not None and ints_of(axes) is None):
        return None
    if steps is not None and set(ints_of(steps) or [0]) != {1}:
        return None
    rank = node.rank(x)
    where = [axis % rank for axis in ints_of(axes) or range(len(starts))]
    return _padded(op, x, ct, rank, where, starts)


def _padded(
    op: OpBuilder, x: ir.Value, ct: ir.Value, rank: int, axes: Sequence[int], starts: Sequence[int]
) -> ir.Value:
    """The cotangent of a block of x: ct from ``starts`` on, which may count from the end, and zeros around it."""
    begins, ends = [], []
    for axis, start in zip(axes, starts, strict=True):
        size, have = op.shape(x, axis, axis + 1), op.shape(ct, axis, axis + 1)
        begin = op.Min(op.Max([start] if start >= 0 else op.Add(size, [start]), [0]), size)
        begins.append(begin)
        ends.append(op.Sub(size, op.Add(begin, have)))
    return op.Pad(ct, along(op, axes, rank, begins, ends))


@vjp("Gather", "GatherElements", "GatherND", "Compress")
def gather(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = x at the given positions;  xbar = ybar added at those positions."""
    entry = None
    if node.op_type == "Gather":
        entry = _pad_gather(op, node, ct) or _add_slices(op, node, ct)
    if entry is not None:
        entry.shape = node.x.shape
    return entry or add_at_selection(op, node, ct), None


def _pad_gather(op: OpBuilder, node: NodeView, ct: ir.Value) -> ir.Value | None:
    """The cotangent of a gather of one known position, such as the last step of a sequence, as a Pad; else None."""
    x, indices = node.required(2)
    known = None if indices.const_value is None else indices.const_value.numpy()
    if known is None or known.size != 1 or known.ndim > 1:
        return None
    rank = node.rank(x)
    axis = node.get_int("axis") % rank
    part = ct if known.ndim else op.Unsqueeze(ct, [axis])
    return _padded(op, x, part, rank, [axis], [known.item()])


def _add_slices(op: OpBuilder, node: NodeView, ct: ir.Value) -> ir.Value | None:
    """The cotangent of a gather of different slices along the first axis, slice by slice; None for others.

    Slices that may be gathered more than once are not added so: ONNX Runtime's threads add them at the same time, and
    lose some.
    """
    x, indices = node.required(2)
    if node.get_int("axis") not in (0, -node.rank(x)):
        return None
    places = op.Unsqueeze(op.cast(indices, ir.DataType.INT64), [-1])
    if not distinct_rows(places, x):
        return None
    return op.ScatterND(op.zeros_like(x), places, ct, reduction="add")


@vjp("Unique")
def unique(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = the different elements, or slices along an axis, of x;  xbar = ybar at the first of equal ones, else 0."""
    x, attributes = node.x, attributes_of(node)
    positions = positions_in(op, x)
    if "axis" not in attributes:
        positions = op.Reshape(positions, [-1])
    # The node's own output: beside a second Unique, ONNX Runtime's merging of equal nodes gives an invalid graph.
    source = op.Gather(positions, node.output(op, 1), axis=attributes.get("axis", 0))
    return (add_at(op, x, source, ct),)


@vjp("OneHot")
def one_hot(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = values[1] at the given places, values[0] elsewhere;  each value gets the sum of ybar where it stands."""
    indices, depth, values = node.required(3)

    def values_ct() -> ir.Value:
        hot = op.OneHot(indices, depth, op.constant([0, 1], values.dtype), axis=node.get_int("axis"))
        on = op.ReduceSum(op.Mul(ct, hot), keepdims=0)
        parts = [op.Reshape(part, [1]) for part in (op.Sub(op.ReduceSum(ct, keepdims=0), on), on)]
        return op.Concat(*parts, axis=0)

    return None, None, values_ct


@vjp("TopK")
def top_k(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y, i = the k largest elements and their positions;  xbar = ybar at i, 0 elsewhere."""
    axis = node.get_int("axis")
    indices = node.outputs[1]
    return op.ScatterElements(op.zeros_like(node.x), indices, ct, axis=axis), None
