"""Resizes of some axes, written as Resizes of all: next to a Transpose ONNX Runtime takes the axes for others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

import numpy as np
import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.subgraphs import is_standard
from onnxattr.graph.values import dims_of
from onnxattr.loading.passes.replay import change_each

_FLOAT = ir.DataType.FLOAT


def resize_every_axis(graph: ir.Graph, opset: int) -> bool:
    """Rewrites every Resize with ``axes``, subgraphs included, as one without, in place; whether any.

    ONNX Runtime (1.32) moves a Transpose through a Resize by permuting scales, sizes and region as if there were one
    for each axis, in order. What keeps proportions stays as it is: it looks at the named axes alone.
    """
    return change_each(graph, opset, "resizes", _has_axes, _resize_every_axis)


def _resize_every_axis(op: OpBuilder, node: ir.Node) -> bool:
    x, roi, scales, sizes = [*node.inputs, None, None, None][:4]
    dims = None if x is None else dims_of(x) or dims_of(node.outputs[0])
    if x is None or dims is None:
        return False
    rank = len(dims)
    axes = [axis % rank for axis in node.attributes["axes"].as_ints()]
    if _given(roi) and node.attributes.get_string("coordinate_transformation_mode") == "tf_crop_and_resize":
        ends = [*axes, *(axis + rank for axis in axes)]
        node.replace_input_with(1, _spread(op, roi, ends, [0.0] * rank + [1.0] * rank))
    if _given(scales):
        node.replace_input_with(2, _spread(op, scales, axes, [1.0] * rank))
    if _given(sizes):
        wanted: list[int | ir.Value] = [op.shape(x, axis, axis + 1) for axis in range(rank)]
        for place, axis in enumerate(axes):
            wanted[axis] = op.Slice(sizes, [place], [place + 1], [0])
        node.replace_input_with(3, op.sizes(wanted))
    node.attributes.pop("axes")
    return True


def _given(numbers: ir.Value | None) -> TypeGuard[ir.Value]:
    """Whether an operand is there, and not empty, which stands for none."""
    return numbers is not None and (numbers.const_value is None or numbers.const_value.size > 0)


def _spread(op: OpBuilder, numbers: ir.Value, places: Sequence[int], others: Sequence[float]) -> ir.Value:
    """Numbers at their places among others."""
    order = np.arange(len(others)) + len(places)
    order[list(places)] = np.arange(len(places))
    return op.Gather(op.Concat(numbers, op.constant(list(others), numbers.dtype or _FLOAT), axis=0), order)


def _has_axes(node: ir.Node) -> bool:
    if not is_standard(node, "Resize") or "axes" not in node.attributes:
        return False
    return node.attributes.get_string("keep_aspect_ratio_policy", "stretch") == "stretch"
