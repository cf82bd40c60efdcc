"""Patches of images, as TensorFlow cuts them out, for images of known sizes and batches of any."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import TensorProto

from .nodes import Replacement
from .selects import Handler


def _patches(ctx: Any, node: Any, name: str, args: Any) -> None:
    """ExtractImagePatches(x): rows and columns of each patch gathered, (N, rows, columns, numbers of a patch)."""
    (x,), shape = node.input, ctx.get_shape(node.input[0])
    if not shape or min(shape[1:]) < 0:
        return  # reported as an unknown operator
    kernel, strides, rates = (node.get_attr_value(key)[1:3] for key in ("ksizes", "strides", "rates"))
    same = node.get_attr_value("padding") in (b"SAME", "SAME")
    w = Replacement(ctx, node)
    places, pads = zip(*map(_places, shape[1:3], kernel, strides, rates, [same, same]), strict=True)
    if any(before or after for before, after in pads):
        around = [0, pads[0][0], pads[1][0], 0, 0, pads[0][1], pads[1][1], 0]
        x = w.op("Pad", x, w.const(around, TensorProto.INT64))
    rows, columns = (w.const(at, TensorProto.INT64) for at in places)
    cut = w.op("Gather", w.op("Gather", x, rows, axis=1), columns, axis=3)
    sizes = [-1, len(places[0]), len(places[1]), kernel[0] * kernel[1] * shape[3]]
    w.end("Reshape", w.op("Transpose", cut, perm=[0, 1, 3, 2, 4, 5]), w.const(sizes, TensorProto.INT64))


def _places(size: int, kernel: int, stride: int, rate: int, same: bool) -> tuple[np.ndarray, tuple[int, int]]:
    """Where each patch has its numbers along an axis, (patches, kernel), and how many zeros surround them."""
    reach = (kernel - 1) * rate + 1
    count = -(-size // stride) if same else max((size - reach) // stride + 1, 0)
    missing = max((count - 1) * stride + reach - size, 0) if same else 0
    at = np.arange(count)[:, None] * stride + np.arange(kernel) * rate
    return at, (missing // 2, missing - missing // 2)


PATCHES_OF_IMAGES: Mapping[str, Handler] = {"ExtractImagePatches": (_patches, [])}
