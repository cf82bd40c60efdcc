"""Values of which a box is replaced by another, as Keras' `slice_update` does, and sums at places of zeros."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from .nodes import Replacement
from .selects import Handler

_INT, _BOOL = TensorProto.INT64, TensorProto.BOOL


def _update(ctx: Any, node: Any, name: str, args: Any) -> None:
    """XlaDynamicUpdateSlice(x, box, starts): x with the box in it, moved so far that all of it lies inside.

    Along each axis the box is stretched to the size of x by repeating its first and last elements.
    """
    (x, box, starts), start = node.input, node.inputs[2]
    sizes, boxes = ctx.get_shape(x), ctx.get_shape(box)
    if sizes is None or boxes is None:
        return  # reported as an unknown operator
    known = np.ravel(start.get_tensor_value(as_list=False)) if start.is_const() else None
    kind = ctx.get_dtype(starts)
    w, inside = Replacement(ctx, node), None
    for axis, (size, part) in enumerate(zip(sizes, boxes, strict=True)):
        if size == part and (size >= 0 or (known is not None and known[axis] == 0)):
            continue  # the whole axis
        whole, taken = _size(w, x, axis, size), _size(w, box, axis, part)
        zero, one, at = w.const(0, _INT), w.const(1, _INT), w.const(axis, _INT)
        first = w.op("Cast", w.op("Gather", starts, at, dtype=kind), dtype=_INT, to=_INT)
        room = w.op("Sub", whole, taken, dtype=_INT)
        first = w.op("Max", zero, w.op("Min", first, room, dtype=_INT), dtype=_INT)
        places = w.op("Sub", w.op("Range", zero, whole, one, dtype=_INT), first, dtype=_INT)
        last = w.op("Sub", taken, one, dtype=_INT)
        near = w.op("Max", zero, w.op("Min", places, last, dtype=_INT), dtype=_INT)
        box = w.op("Gather", box, near, axis=axis)
        here = w.op("Equal", places, near, dtype=_BOOL)
        after = list(range(1, len(sizes) - axis))
        if after:
            here = w.op("Unsqueeze", here, w.const(after, _INT), dtype=_BOOL)
        inside = here if inside is None else w.op("And", inside, here, dtype=_BOOL)
    if inside is None:
        w.end("Identity", box)
    else:
        w.end("Where", inside, box, x)


def _size(w: Replacement, value: str, axis: int, known: int) -> str:
    """The size of a value along an axis."""
    if known >= 0:
        return w.const(known, _INT)
    return w.op("Gather", w.op("Shape", value, dtype=_INT), w.const(axis, _INT), dtype=_INT)


def _scattered(ctx: Any, node: Any, name: str, args: Any) -> None:
    """ScatterNd(places, x, shape): zeros to which x is added; tf2onnx keeps the last of what is at one place."""
    if ctx.opset < 16:
        return  # reported as an unknown operator: ONNX has no such sum
    places, x, shape = node.input
    w = Replacement(ctx, node)
    sizes = w.op("Cast", shape, dtype=_INT, to=_INT)
    zeros = w.op("ConstantOfShape", sizes, shape=w.shape, value=helper.make_tensor("zero", w.dtype, [1], [0]))
    w.end("ScatterND", zeros, w.op("Cast", places, dtype=_INT, to=_INT), x, reduction="add")


UPDATES: Mapping[str, Handler] = {"XlaDynamicUpdateSlice": (_update, []), "ScatterNd": (_scattered, [])}
