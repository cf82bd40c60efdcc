"""Quantiles of the normal distribution in Keras models, in 64 bits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from onnx import TensorProto

from ...common.normal_quantile import FAR, MIDDLE, NEAR, TAIL
from .nodes import Wide
from .selects import Handler

_KINDS = (TensorProto.FLOAT, TensorProto.FLOAT16)


def _ndtri(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Ndtri(y): the x that a normal number is below with probability y."""
    if ctx.get_dtype(node.input[0]) not in _KINDS:
        return  # reported as an unknown operator
    (y,), w = node.input, Wide(ctx, node)
    y = w.widened(y)
    w.wide_end("Identity", _quantile(w, y, w.op("Sub", w.const(1), y)))


def _erfinv(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Erfinv(x) = ndtri((1 + x) / 2) / sqrt(2)."""
    if ctx.get_dtype(node.input[0]) not in _KINDS:
        return  # reported as an unknown operator
    (x,), w = node.input, Wide(ctx, node)
    half = w.op("Mul", w.widened(x), w.const(0.5))
    below, above = w.op("Add", w.const(0.5), half), w.op("Sub", w.const(0.5), half)
    w.wide_end("Mul", _quantile(w, below, above), w.const(math.sqrt(0.5)))


def _quantile(w: Wide, below: str, above: str) -> str:
    """x of the probabilities below and above it, whose sum is 1; the smaller one is exact."""
    left = w.op("Less", below, above, dtype=TensorProto.BOOL)
    y = w.op("Where", left, below, above)
    middle = w.op("Mul", w.op("Sub", below, above), w.const(0.5))
    square = w.op("Mul", middle, middle)
    more = w.op("Mul", square, _ratio(w, square, MIDDLE))
    middle = w.op("Mul", w.op("Add", middle, w.op("Mul", middle, more)), w.const(math.sqrt(2 * math.pi)))
    x = w.op("Sqrt", w.op("Mul", w.const(-2), w.op("Log", y)))
    z = w.op("Reciprocal", x)
    far = w.op("Less", z, w.const(1 / 8), dtype=TensorProto.BOOL)
    less = w.op("Mul", z, w.op("Where", far, _ratio(w, z, FAR), _ratio(w, z, NEAR)))
    tail = w.op("Sub", w.op("Sub", x, w.op("Div", w.op("Log", x), x)), less)
    none = w.op("Equal", y, w.const(0), dtype=TensorProto.BOOL)
    tail = w.op("Where", none, w.const(math.inf), tail)
    tail = w.op("Where", left, w.op("Neg", tail), tail)
    central = w.op("Greater", y, w.const(TAIL), dtype=TensorProto.BOOL)
    return w.op("Where", central, middle, tail)


def _ratio(w: Wide, x: str, of: tuple[Sequence[float], Sequence[float]]) -> str:
    """One polynomial over another."""
    return w.op("Div", *(_polynomial(w, x, factors) for factors in of))


def _polynomial(w: Wide, x: str, factors: Sequence[float]) -> str:
    total = w.const(factors[0])
    for factor in factors[1:]:
        total = w.op("Add", w.op("Mul", total, x), w.const(factor))
    return total


QUANTILES: Mapping[str, Handler] = {"Erfinv": (_erfinv, []), "Ndtri": (_ndtri, [])}
