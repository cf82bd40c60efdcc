"""Numbers rounded to those of few bits, as training for quantised inference does (`tfmot`, `tf.quantization`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from onnxattr.errors import ConversionError

from .nodes import Replacement
from .selects import Handler


def _fake_quant(ctx: Any, node: Any, name: str, args: Any) -> None:
    """FakeQuant(x, low, high): x in the range, rounded to its 2^bits numbers; ranges move so that 0 is one of them.

    y = DequantizeLinear(QuantizeLinear(x)), whose gradient inside the range is TensorFlow's: the cotangent.
    tf2onnx has it for 8 bits, one range with 0 in it, and all of their numbers.
    """
    bits, narrow = node.get_attr_value("num_bits", 8), int(bool(node.get_attr_value("narrow_range")))
    bounds = _bounds(node)
    if bits > 8 or bounds is None:
        return  # reported as an unknown operator
    low, high = bounds
    if not (low < high).all():
        raise ConversionError(
            f"The node {name!r} rounds to numbers between {low.min():g} and {high.max():g}, which is no range: a model "
            "that is trained for quantised inference finds its ranges in training. Fit it, or load its weights, first."
        )
    first, last = np.float32(narrow), np.float32(2**bits - 1)
    scale = (high - low) / (last - first)
    zero = np.clip(np.floor(first - low / scale + np.float32(0.5)), first, last)
    (x, *_), along = node.input, {"axis": -1} if scale.ndim else {}
    w = Replacement(ctx, node)
    parameters = w.const(scale), w.const(zero, TensorProto.UINT8)
    if narrow or bits < 8:
        ends = (w.const((end - zero) * scale) for end in (first, last))
        x = w.op("Min", w.op("Max", x, next(ends), shape=w.shape), next(ends), shape=w.shape)
    rounded = w.op("QuantizeLinear", x, *parameters, dtype=TensorProto.UINT8, shape=w.shape, **along)
    w.end("DequantizeLinear", rounded, *parameters, **along)


def _bounds(node: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """The range, or those of the last axis; None if they are computed."""
    if node.type == "FakeQuantWithMinMaxArgs":
        ends = [node.get_attr_value("min", -6), node.get_attr_value("max", 6)]
        return np.asarray(ends[0], np.float32), np.asarray(ends[1], np.float32)
    if not all(bound.is_const() for bound in node.inputs[1:3]):
        return None
    low, high = (np.asarray(bound.get_tensor_value(as_list=False), np.float32) for bound in node.inputs[1:3])
    return low, high


FAKE_QUANT: Mapping[str, Handler] = {
    f"FakeQuantWithMinMax{kind}": (_fake_quant, []) for kind in ("Args", "Vars", "VarsPerChannel")
}
