"""The largest of a window's numbers plus those of a kernel: Dilation2D, in which TensorFlow writes erosions too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import TensorProto

from .nodes import Replacement
from .selects import Handler

#: Numbers of a kernel, of which each is a few nodes.
_LARGEST = 49


def _dilation(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Dilation2D(x, k): the largest x[i s + a r, j s + b r] + k[a, b] inside the image, for images of known sizes."""
    (x, kernel), shape, window = node.input, ctx.get_shape(node.input[0]), ctx.get_shape(node.input[1])
    if not shape or not window or min(*shape[1:], *window) < 0 or window[0] * window[1] > _LARGEST:
        return  # reported as an unknown operator
    strides, rates = (node.get_attr_value(key)[1:3] for key in ("strides", "rates"))
    same = node.get_attr_value("padding") in (b"SAME", "SAME")
    w, long = Replacement(ctx, node), TensorProto.INT64
    sides = [_side(*of, same) for of in zip(shape[1:3], window[:2], strides, rates, strict=True)]
    (rows, above, below), (columns, left, right) = sides
    lowest = w.const(-np.inf)
    x = w.op("Pad", x, w.const([0, above, left, 0, 0, below, right, 0], long), lowest)
    moved = []
    for a, b in np.ndindex(*window[:2]):
        first = [a * rates[0], b * rates[1]]
        ends = [
            at + (count - 1) * step + 1
            for at, count, step in zip(first, (rows, columns), strides, strict=True)
        ]
        cut = w.op("Slice", x, *(w.const(given, long) for given in (first, ends, [1, 2], strides)))
        weight = w.op("Gather", w.op("Gather", kernel, w.const(a, long), axis=0), w.const(b, long), axis=0)
        moved.append(w.op("Add", cut, weight))
    largest, *others = moved
    for other in others:
        largest = w.op("Max", largest, other)
    w.end("Identity", largest)


def _side(size: int, kernel: int, stride: int, rate: int, same: bool) -> tuple[int, int, int]:
    """How many windows an axis has, and how many places it lacks before and after."""
    reach = (kernel - 1) * rate + 1
    count = -(-size // stride) if same else -(-(size - reach + 1) // stride)
    missing = max((count - 1) * stride + reach - size, 0) if same else 0
    return count, missing // 2, missing - missing // 2


MORPHOLOGY: Mapping[str, Handler] = {"Dilation2D": (_dilation, [])}
