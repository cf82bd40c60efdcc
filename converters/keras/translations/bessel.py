"""The modified Bessel functions of the first kind in Keras models, by their series in 64 bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from onnx import TensorProto

from ...common.bessel_series import LIMIT, far, near
from .nodes import Wide
from .selects import Handler

_KINDS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)


def _polynomial(w: Wide, x: str, factors: Sequence[float]) -> str:
    """That of the factors, which begin with that of the highest power."""
    total = w.const(factors[0])
    for factor in factors[1:]:
        total = w.op("Add", w.op("Mul", total, x), w.const(factor))
    return total


def _bessel(ctx: Any, node: Any, name: str, args: Any, *, order: int, scaled: bool) -> None:
    """I_order(x), times exp(-|x|) if scaled: one series near 0, one beyond, each of numbers of its own range."""
    if ctx.get_dtype(node.input[0]) not in _KINDS:
        return  # reported as an unknown operator
    (x,), w = node.input, Wide(ctx, node)
    x = w.widened(x)
    size, limit = w.op("Abs", x), w.const(LIMIT)
    below = w.op("Less", size, limit, dtype=TensorProto.BOOL)
    inside, outside = w.op("Where", below, x, limit), w.op("Where", below, limit, size)
    share = w.op("Div", inside, limit)
    close = _polynomial(w, w.op("Mul", share, share), near(order))
    distant = w.op("Div", _polynomial(w, w.op("Reciprocal", outside), far(order)), w.op("Sqrt", outside))
    if order == 1:
        close, distant = (
            w.op("Mul", w.op("Mul", inside, w.const(0.5)), close),
            w.op("Mul", w.op("Sign", x), distant),
        )
    if scaled:
        close = w.op("Mul", close, w.op("Exp", w.op("Neg", w.op("Abs", inside))))
    else:
        distant = w.op("Mul", distant, w.op("Exp", outside))
    w.wide_end("Where", below, close, distant)


BESSEL: Mapping[str, Handler] = {
    "BesselI0": (partial(_bessel, order=0, scaled=False), []),
    "BesselI0e": (partial(_bessel, order=0, scaled=True), []),
    "BesselI1": (partial(_bessel, order=1, scaled=False), []),
    "BesselI1e": (partial(_bessel, order=1, scaled=True), []),
}
