"""Resize by scales where ONNX Runtime and ONNX's shape inference disagree on a size.

The runtime multiplies size and scale in float32, ONNX in float64: 20 * 0.45 is 9 for the one and 8 for the other.
Written by sizes, from which the runtime computes the same scale again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.subgraphs import drop


class Axis:
    """An axis of a Resize: its size, if that is known, its scale, and the size that the runtime gives it."""

    def __init__(self, axis: int, size: int | None, scale: np.float32):
        self.axis, self.size, self.scale = axis, size, scale
        self.target = None if size is None else int(np.float32(size) * scale)
        inferred = None if size is None else int(float(size) * float(scale))
        self.is_inferred = inferred == self.target
        same_scale = bool(size) and np.float32(self.target or 0) / np.float32(size or 1) == scale
        #: Whether a Resize by sizes computes this scale. That it is off by a rounding can't be helped.
        self.by_size = bool(self.target) and (same_scale or not self.is_inferred)


def by_sizes(op: OpBuilder, node: ir.Node, x: Sequence[int | None], y: Sequence[int | None]) -> bool:
    """Resizes the axes with a wrong size by sizes; others with them if that gives their very scale, else after them."""
    scales = _floats(node.inputs[2])
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    numbers = [axis % len(x) for axis in attributes.pop("axes", range(len(x)))]
    if scales is None or not scales.size or len(numbers) != scales.size:
        return False
    axes = [Axis(k, x[k], np.float32(scale)) for k, scale in zip(numbers, scales, strict=True)]
    if all(axis.is_inferred for axis in axes):
        return False
    if attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        result = _regions(op, node, axes, attributes)
    else:
        result = _by_parts(op, node, axes, attributes)
    if result is None:
        return False
    _put_in_place(node, result)
    return True


def _by_parts(op: OpBuilder, node: ir.Node, axes: Sequence[Axis], attributes: Mapping[str, Any]) -> ir.Value:
    first = [axis for axis in axes if axis.by_size and axis.scale != 1]
    after = [axis for axis in axes if not axis.by_size and axis.scale != 1]
    # ONNX Runtime copies what keeps its shape, whatever the scale; among other axes, it samples them.
    copied = len(after) > 0 and all(axis.target == axis.size for axis in after)
    if copied and attributes.get("mode", "nearest") != "nearest":
        return _with_larger_scales(op, node, axes, attributes)
    result = _by_targets(op, [node.inputs[0], None], first, attributes)
    if not after:
        return result
    scales = np.array([axis.scale for axis in after], np.float32)
    if not copied:
        return _resize(op, [result, None, scales], after, attributes)
    # With an axis that is doubled before the others, of which one half is taken.
    places = [0, *(axis.axis + 1 for axis in after)]
    doubled = op.node(
        "Resize",
        [op.Unsqueeze(result, [0]), None, np.append(np.float32(2), scales)],
        {**attributes, "axes": places},
    )
    half: ir.Value = op.Gather(doubled, np.array(0, np.int64), axis=0)
    return half


def _regions(
    op: OpBuilder, node: ir.Node, axes: Sequence[Axis], attributes: Mapping[str, Any]
) -> ir.Value | None:
    """Resizes regions by sizes: positions follow from the region and the sizes, and no scale is used."""
    count, region = len(axes), node.inputs[1]
    kept = [index for index, axis in enumerate(axes) if axis.target]
    if len(kept) == count:
        return _by_targets(op, [node.inputs[0], region], axes, attributes)
    # An axis of unknown size can stay out of it if it is taken as a whole.
    held = _floats(region)
    left = [k for k in range(count) if k not in kept]
    if held is None or any(
        tuple(map(float, (axes[k].scale, held[k], held[count + k]))) != (1, 0, 1) for k in left
    ):
        return None
    part = held[[*kept, *(count + k for k in kept)]]
    return _by_targets(op, [node.inputs[0], op.constant(part)], [axes[k] for k in kept], attributes)


def _with_larger_scales(
    op: OpBuilder, node: ir.Node, axes: Sequence[Axis], attributes: Mapping[str, Any]
) -> ir.Value:
    """Rounds the scales up that give a wrong size; samples of continuous modes hardly move."""
    scales = []
    for axis in axes:
        scale = axis.scale
        while axis.size is not None and int(float(axis.size) * float(scale)) != axis.target:
            scale = np.nextafter(scale, np.float32(np.inf))
        scales.append(scale)
    return _resize(op, [node.inputs[0], None, np.array(scales, np.float32)], axes, attributes)


def _by_targets(
    op: OpBuilder, operands: Sequence[ir.Value | None], axes: Sequence[Axis], attributes: Mapping[str, Any]
) -> ir.Value:
    targets = np.array([axis.target for axis in axes], np.int64)
    return _resize(op, [*operands, None, targets], axes, attributes)


def _resize(
    op: OpBuilder, operands: Sequence[Any], axes: Sequence[Axis], attributes: Mapping[str, Any]
) -> ir.Value:
    resized: ir.Value = op.node("Resize", operands, {**attributes, "axes": [axis.axis for axis in axes]})
    return resized


def _floats(value: ir.Value | None) -> np.ndarray | None:
    """What a constant of float32 holds."""
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    return None if tensor is None or tensor.dtype != ir.DataType.FLOAT else tensor.numpy().ravel()


def _put_in_place(node: ir.Node, result: ir.Value) -> None:
    """Gives a value the name and the readers of what a node gives, and its own node the node's name."""
    old, producer = node.outputs[0], result.producer()
    old.replace_all_uses_with(result, replace_graph_outputs=True)
    result.name, old.name = old.name, None
    result.type, result.shape = old.type, None
    if producer is not None:
        producer.name = node.name
    drop(node)
