"""Nodes that fail where what a caller gives beside the samples has other sizes than they turn out to have."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of

#: The name of the nodes that fail where a baseline has other sizes than what it is a baseline of.
BASELINE_FIT = "onnxattr/baseline_fit"
#: The name of the node that fails where targets, or inputs, have other numbers of rows.
ROWS_FIT = "onnxattr/rows_fit"
#: The name of the node that fails where the output has other sizes than the targets.
TARGETS_FIT = "onnxattr/targets_fit"
#: The name of the node that fails where a label is no class.
LABELS_FIT = "onnxattr/labels_fit"
#: The name of the node that fails where a reference box is none.
BOXES_FIT = "onnxattr/boxes_fit"
#: The name of the node that fails where the seed is more than one number.
SEED_FIT = "onnxattr/seed_fit"
#: No runtime makes an axis of this size.
_NO_SIZE = -2


def same_rows(op: OpBuilder, target: ir.Value, inputs: Sequence[ir.Value]) -> ir.Value:
    """Targets as they are; a run fails where inputs have other numbers of rows, which would be broadcast or left out.

    Args:
        op: Builder on the graph.
        target: A row for each sample.
        inputs: Inputs with a row for each sample.
    """
    found = [(dims_of(value) or [None])[0] for value in (target, *inputs)]
    if isinstance(found[0], int) and found.count(found[0]) == len(found):
        return target
    fitted, rank = target, len(dims_of(target) or [None])
    for value in inputs:
        # Another number of rows is another number of elements.
        rows = op.shape(value, 0, 1)
        sizes = op.Concat(rows, op.shape(target, 1), axis=0) if rank > 1 else rows
        fitted = _reshaped(op, fitted, sizes, ROWS_FIT)
    return fitted


def of_classes(op: OpBuilder, labels: ir.Value, classes: ir.Value) -> ir.Value:
    """Labels as they are; a run fails where one is neither a class nor -1, the predicted class.

    Args:
        op: Builder on the graph.
        labels: A label for each sample, (N,) int64.
        classes: How many classes there are, int64 () or (1,).
    """
    other = op.Or(op.Less(labels, -1), op.Not(op.Less(labels, classes)))
    return _where_none(op, labels, other, LABELS_FIT)


def of_boxes(op: OpBuilder, boxes: ir.Value) -> ir.Value:
    """Boxes (N, boxes, columns) as they are; a run fails where a number is not finite, x2 < x1 or y2 < y1."""
    numbers = op.Cast(boxes, to=ir.DataType.FLOAT)
    ends = op.Slice(numbers, [2], [4], [2])
    turned = op.Not(op.LessOrEqual(op.Slice(numbers, [0], [2], [2]), ends))
    fitted = _where_none(op, boxes, turned, BOXES_FIT)
    return _where_none(op, fitted, op.Not(op.Less(op.Abs(numbers), float("inf"))), BOXES_FIT)


def _where_none(op: OpBuilder, value: ir.Value, wrong: ir.Value, name: str) -> ir.Value:
    """A value as it is, by a node that fails where anything is wrong."""
    found = op.ReduceSum(op.Cast(wrong, to=ir.DataType.INT64), keepdims=0)
    return _reshaped(op, value, op.Where(op.Greater(found, 0), _NO_SIZE, op.Shape(value)), name)


def one_seed(op: OpBuilder, seed: ir.Value) -> ir.Value:
    """A seed as it is; a run fails where it is an array of several, which would be broadcast to the samples."""
    return _reshaped(op, seed, op.constant([], ir.DataType.INT64), SEED_FIT)


def _reshaped(op: OpBuilder, value: ir.Value, sizes: ir.Value, name: str) -> ir.Value:
    """A value of the sizes that it has, by a node with a name."""
    fitted: ir.Value = op.Reshape(value, sizes, allowzero=1)
    _name(op, fitted, name)
    fitted.type, fitted.shape = value.type, value.shape
    return fitted


def broadcast_to(op: OpBuilder, value: ir.Value, sizes: ir.Value, name: str) -> ir.Value:
    """A value broadcast to exactly some sizes; Expand alone gives more where the value has more.

    Args:
        op: Builder on the graph.
        value: What is broadcast.
        sizes: The sizes, (rank,) int64.
        name: What the nodes are called, which the runtime's error then shows.
    """
    expanded = op.Expand(value, sizes)
    _name(op, expanded, name)
    return of_sizes(op, expanded, sizes, name)


def of_sizes(op: OpBuilder, value: ir.Value, sizes: ir.Value, name: str) -> ir.Value:
    """A value that has some sizes; a run fails where it has others. Arguments as of ``broadcast_to``."""
    right = op.Equal(op.Shape(value), sizes)
    fitted: ir.Value = op.Reshape(value, op.Where(right, sizes, _NO_SIZE), allowzero=1)
    _name(op, fitted, name)
    return fitted


def _name(op: OpBuilder, value: ir.Value, name: str) -> None:
    """Gives the node of a value a name, which the runtime's error then shows."""
    if (node := value.producer()) is not None:
        node.name = op.unique_name(name, exact=True)
