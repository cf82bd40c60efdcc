"""TensorFlow's angles of points.

tf2onnx multiplies y / x by the square of the sign of x, so that no gradient is left where x is 0.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import TensorProto

from .nodes import Replacement
from .selects import Handler


def _angle(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Atan2(y, x), of the smaller coordinate divided by the larger one; 0 and without a gradient at the origin."""
    (y, x), w = node.input, Replacement(ctx, node)
    zero, half_turn = w.const(0), w.const(np.pi)
    steep = w.op("Greater", w.op("Abs", y), w.op("Abs", x), dtype=TensorProto.BOOL, shape=w.shape)
    divisor = w.op("Where", steep, y, x, shape=w.shape)
    origin = w.op("Equal", divisor, zero, dtype=TensorProto.BOOL, shape=w.shape)
    above = w.op("Where", origin, zero, w.op("Where", steep, x, y, shape=w.shape), shape=w.shape)
    slope = w.op("Div", above, w.op("Where", origin, w.const(1), divisor, shape=w.shape), shape=w.shape)
    angle = w.op("Atan", slope, shape=w.shape)
    turn = w.op("Where", _is_negative(w, y), w.op("Neg", half_turn), half_turn)
    turned = w.op("Add", angle, turn, shape=w.shape)
    flat = w.op("Where", _is_negative(w, x), turned, angle, shape=w.shape)
    upright = w.op("Sub", w.op("Mul", turn, w.const(0.5)), angle, shape=w.shape)
    w.end("Where", steep, upright, flat)


def _is_negative(w: Replacement, x: str) -> str:
    """Whether a number has the sign -, which -0.0 has too."""
    zero = w.const(0)
    under = w.op("Less", w.op("Reciprocal", x), zero, dtype=TensorProto.BOOL)
    at_zero = w.op("And", w.op("Equal", x, zero, dtype=TensorProto.BOOL), under, dtype=TensorProto.BOOL)
    return w.op("Or", w.op("Less", x, zero, dtype=TensorProto.BOOL), at_zero, dtype=TensorProto.BOOL)


ANGLES: Mapping[str, Handler] = {"Atan2": (_angle, [])}
