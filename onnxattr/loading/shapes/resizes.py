"""Resize by scales where ONNX Runtime and ONNX's shape inference disagree on a size.

The runtime multiplies size and scale in float32, ONNX in float64: 20 * 0.45 is 9 for the one and 8 for the other.
Written by sizes, from which the runtime computes the same scale again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx

Constants = Mapping[str, np.ndarray]


class Axis:
    """An axis of a Resize: its size, if that is known, its scale, and the size that the runtime gives it."""

    def __init__(self, axis: int, size: int | None, scale: np.float32):
        self.axis, self.size, self.scale = axis, size, scale
        self.target = None if size is None else int(np.float32(size) * scale)
        inferred = None if size is None else int(float(size) * float(scale))
        self.is_inferred = inferred == self.target
        same_scale = bool(size) and np.float32(self.target) / np.float32(size) == scale
        #: Whether a Resize by sizes computes this scale. That it is off by a rounding can't be helped.
        self.by_size = bool(self.target) and (same_scale or not self.is_inferred)


def by_sizes(
    node: onnx.NodeProto,
    x: Sequence[int | None],
    y: Sequence[int | None],
    constants: Constants,
    add: Callable[[str, np.ndarray], str],
) -> list[onnx.NodeProto] | None:
    """Resizes the axes with a wrong size by sizes; others with them if that gives their very scale, else after them."""
    scales = constants.get(node.input[2]) if len(node.input) > 2 else None
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    numbers = [axis % len(x) for axis in attributes.pop("axes", range(len(x)))]
    if scales is None or not scales.size or len(numbers) != scales.size:
        return None
    axes = [Axis(k, x[k], np.float32(scale)) for k, scale in zip(numbers, scales, strict=True)]
    if all(axis.is_inferred for axis in axes):
        return None
    if attributes.get("coordinate_transformation_mode") == b"tf_crop_and_resize":
        return _regions(node, axes, attributes, constants, add)
    first = [axis for axis in axes if axis.by_size and axis.scale != 1]
    after = [axis for axis in axes if not axis.by_size and axis.scale != 1]
    # ONNX Runtime copies what keeps its shape, whatever the scale; among other axes, it samples them.
    copied = len(after) > 0 and all(axis.target == axis.size for axis in after)
    if copied and attributes.get("mode", b"nearest") != b"nearest":
        return _with_larger_scales(node, axes, attributes, add)
    stem = node.name or node.output[0]
    between = f"{stem}_by_sizes" if after else node.output[0]
    sizes = add(f"{stem}_sizes", np.array([axis.target for axis in first], np.int64))
    nodes = [_resize([node.input[0], "", "", sizes], between, node.name, first, attributes)]
    if after:
        scales = np.array([axis.scale for axis in after], np.float32)
        left = add(f"{stem}_scales", np.append(np.float32(2), scales) if copied else scales)
        name = f"{stem}_by_scales"
        last = _resize([between, "", left], node.output[0], name, after, attributes)
        nodes += _twice(last, stem, add) if copied else [last]
    return nodes


def _twice(resize: onnx.NodeProto, stem: str, add: Callable[[str, np.ndarray], str]) -> list[onnx.NodeProto]:
    """A Resize that also doubles an axis before the others, of which one half is taken."""
    zero, first = (add(f"{stem}_first", np.array(value, np.int64)) for value in ([0], 0))
    output, axes = resize.output[0], next(a for a in resize.attribute if a.name == "axes")
    axes.ints[:] = [0, *(axis + 1 for axis in axes.ints)]
    before = onnx.helper.make_node("Unsqueeze", [resize.input[0], zero], [f"{stem}_one"])
    resize.input[0], resize.output[0] = f"{stem}_one", f"{stem}_two"
    return [before, resize, onnx.helper.make_node("Gather", [f"{stem}_two", first], [output], axis=0)]


def _regions(
    node: onnx.NodeProto,
    axes: Sequence[Axis],
    attributes: Mapping[str, Any],
    constants: Constants,
    add: Callable[[str, np.ndarray], str],
) -> list[onnx.NodeProto] | None:
    """Resizes regions by sizes: positions follow from the region and the sizes, and no scale is used."""
    count, region = len(axes), node.input[1]
    kept = [index for index, axis in enumerate(axes) if axis.target]
    if len(kept) < count:
        # An axis of unknown size can stay out of it if it is taken as a whole.
        held = constants.get(region)
        left = [k for k in range(count) if k not in kept]
        if held is None or any((axes[k].scale, held[k], held[count + k]) != (1, 0, 1) for k in left):
            return None
        part = held[[*kept, *(count + k for k in kept)]]
        region = add(f"{node.name or node.output[0]}_region", part)
    chosen = [axes[k] for k in kept]
    sizes = add(f"{node.name or node.output[0]}_sizes", np.array([axis.target for axis in chosen], np.int64))
    return [_resize([node.input[0], region, "", sizes], node.output[0], node.name, chosen, attributes)]


def _with_larger_scales(
    node: onnx.NodeProto,
    axes: Sequence[Axis],
    attributes: Mapping[str, Any],
    add: Callable[[str, np.ndarray], str],
) -> list[onnx.NodeProto]:
    """Rounds the scales up that give a wrong size; samples of continuous modes hardly move."""
    scales = []
    for axis in axes:
        scale = axis.scale
        while axis.size is not None and int(float(axis.size) * float(scale)) != axis.target:
            scale = np.nextafter(scale, np.float32(np.inf))
        scales.append(scale)
    name = add(f"{node.name or node.output[0]}_scales", np.array(scales, np.float32))
    return [_resize([node.input[0], "", name], node.output[0], node.name, axes, attributes)]


def _resize(
    operands: list[str], output: str, name: str, axes: Sequence[Axis], attributes: Mapping[str, Any]
) -> onnx.NodeProto:
    order = [axis.axis for axis in axes]
    return onnx.helper.make_node("Resize", operands, [output], name, axes=order, **attributes)
