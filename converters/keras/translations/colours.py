"""Colours as red, green and blue, and as hue, saturation and value, all from 0 to 1, on the last axis.

TensorFlow has the gradient of RGBToHSV alone; of channels below 0 it is not that of what TensorFlow computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onnx import TensorProto

from .nodes import Replacement
from .selects import Handler

#: Of red, green and blue: c, s and d of its share |hue - c| s + d, the hue in sixths.
_CENTRES = ((3, 1, -1), (2, -1, 2), (4, -1, 2))


def _rgb_to_hsv(ctx: Any, node: Any, name: str, args: Any) -> None:
    """RGBToHSV(x)."""
    (x,), w = node.input, Replacement(ctx, node)
    w.end("Concat", *_hsv(w, x), axis=-1)


def _hsv_to_rgb(ctx: Any, node: Any, name: str, args: Any) -> None:
    """HSVToRGB(x)."""
    (x,), w = node.input, Replacement(ctx, node)
    w.end("Concat", *_rgb(w, *_channels(w, x)), axis=-1)


def _adjust_saturation(ctx: Any, node: Any, name: str, args: Any) -> None:
    """AdjustSaturation(x, scale): the saturation times the scale, cut to 0 and 1."""
    (x, scale), w = node.input, Replacement(ctx, node)
    hue, saturation, value = _hsv(w, x)
    if ctx.get_dtype(scale) != w.dtype:
        scale = w.op("Cast", scale, to=w.dtype)
    saturation = w.op("Clip", w.op("Mul", saturation, scale), w.const(0), w.const(1))
    w.end("Concat", *_rgb(w, hue, saturation, value), axis=-1)


def _hsv(w: Replacement, x: str) -> tuple[str, str, str]:
    """The value is the largest channel, the saturation the range of all over it.

    Of equal channels the first is the largest and the last the smallest, as in TensorFlow's gradient. The hue is how
    far the other two are apart, over the range, in sixths from that of the largest channel.
    """
    red, green, blue = _channels(w, x)
    zero = w.const(0)
    value = w.op("Max", w.op("Max", red, green), blue)
    reach = w.op("Sub", value, w.op("Min", w.op("Min", blue, green), red))
    grey = w.op("Not", _above(w, reach, zero), dtype=TensorProto.BOOL)
    dark = w.op("Not", _above(w, value, zero), dtype=TensorProto.BOOL)
    one = w.const(1)
    saturation = w.op("Where", dark, zero, w.op("Div", reach, w.op("Where", dark, one, value)))
    reach = w.op("Mul", w.const(6), w.op("Where", grey, one, reach))

    def hue_from(one: str, other: str, sixths: int) -> str:
        apart = w.op("Div", w.op("Sub", one, other), reach)
        return w.op("Add", apart, w.const(sixths / 6)) if sixths else apart

    hue = w.op("Where", _equal(w, green, value), hue_from(blue, red, 2), hue_from(red, green, 4))
    hue = w.op("Where", _equal(w, red, value), hue_from(green, blue, 0), hue)
    hue = w.op("Where", grey, zero, hue)
    below = w.op("Less", hue, zero, dtype=TensorProto.BOOL)
    return w.op("Where", below, w.op("Add", hue, one), hue), saturation, value


def _rgb(w: Replacement, hue: str, saturation: str, value: str) -> list[str]:
    """value (1 - saturation + saturation c), c a trapezoid of the hue for each channel."""
    sixths = w.op("Mul", hue, w.const(6))
    rest = w.op("Sub", w.const(1), saturation)
    channels = []
    for centre, sign, more in _CENTRES:
        far = w.op("Mul", w.op("Abs", w.op("Sub", sixths, w.const(centre))), w.const(sign))
        share = w.op("Clip", w.op("Add", far, w.const(more)), w.const(0), w.const(1))
        channels.append(w.op("Mul", w.op("Add", rest, w.op("Mul", saturation, share)), value))
    return channels


def _channels(w: Replacement, x: str) -> list[str]:
    return [w.op("Gather", x, w.const([k], TensorProto.INT64), axis=-1) for k in range(3)]


def _above(w: Replacement, x: str, bound: str) -> str:
    return w.op("Greater", x, bound, dtype=TensorProto.BOOL)


def _equal(w: Replacement, x: str, y: str) -> str:
    return w.op("Equal", x, y, dtype=TensorProto.BOOL)


COLOURS: Mapping[str, Handler] = {
    "AdjustSaturation": (_adjust_saturation, []),
    "HSVToRGB": (_hsv_to_rgb, []),
    "RGBToHSV": (_rgb_to_hsv, []),
}
