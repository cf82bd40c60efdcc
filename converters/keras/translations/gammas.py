"""The logarithm of the gamma function and its derivative in Keras models, by Stirling's series in 64 bits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from onnx import TensorProto

from ...common.gamma_series import DERIVATIVE, LOGARITHM, MOVED
from .nodes import Wide
from .selects import Handler

_KINDS = (TensorProto.FLOAT, TensorProto.FLOAT16)


class _Reflected(Wide):
    """A replacement that computes on x and what is reflected of it.

    Attributes:
        below: Where x is below a half.
        near: x - round(x).
        z: x, or 1 - x below a half.
    """

    def __init__(self, ctx: Any, node: Any):
        """Removes a node of a tf2onnx graph."""
        (x,) = node.input
        super().__init__(ctx, node)
        x = self.widened(x)
        self.below = self.op("Less", x, self.const(0.5), dtype=TensorProto.BOOL)
        self.near = self.op("Sub", x, self.op("Round", x))
        self.z = self.op("Where", self.below, self.op("Sub", self.const(1), x), x)

    def moved(self, steps: int) -> str:
        """z + steps."""
        return self.op("Add", self.z, self.const(steps))

    def series(self, factors: Sequence[float], over: str) -> str:
        """The sum of factors[k] / over^(2 k)."""
        square = self.op("Reciprocal", self.op("Mul", over, over))
        total = self.const(factors[-1])
        for factor in factors[-2::-1]:
            total = self.op("Add", self.op("Mul", total, square), self.const(factor))
        return total

    def select(self, reflected: str, value: str) -> None:
        """One below a half, the other above."""
        self.wide_end("Where", self.below, reflected, value)


def _lgamma(ctx: Any, node: Any, name: str, args: Any) -> None:
    """(z - 1/2) log z - z + log(2 pi) / 2 + sum of B_2k / (2k (2k - 1) z^(2k-1)), less log(z (z + 1) ...) for the move.

    Reflected: log(pi / |sin(pi x)|) - lgamma(1 - x).
    """
    if ctx.get_dtype(node.input[0]) not in _KINDS:
        return  # reported as an unknown operator
    w = _Reflected(ctx, node)
    z = w.moved(MOVED)
    product = w.z
    for step in range(1, MOVED):
        product = w.op("Mul", product, w.moved(step))
    main = w.op("Mul", w.op("Sub", z, w.const(0.5)), w.op("Log", z))
    main = w.op("Add", w.op("Sub", main, z), w.const(math.log(2 * math.pi) / 2))
    main = w.op("Add", main, w.op("Div", w.series(LOGARITHM, z), z))
    value = w.op("Sub", main, w.op("Log", product))
    sine = w.op("Abs", w.op("Sin", w.op("Mul", w.near, w.const(math.pi))))
    reflected = w.op("Sub", w.const(math.log(math.pi)), w.op("Log", sine))
    w.select(w.op("Sub", reflected, value), value)


def _digamma(ctx: Any, node: Any, name: str, args: Any) -> None:
    """log z - 1 / (2 z) - sum of B_2k / (2k z^2k), less 1 / z + 1 / (z + 1) ... for the move.

    Reflected: psi(1 - x) - pi / tan(pi x).
    """
    if ctx.get_dtype(node.input[0]) not in _KINDS:
        return  # reported as an unknown operator
    w = _Reflected(ctx, node)
    z = w.moved(MOVED)
    value = w.op("Sub", w.op("Log", z), w.op("Div", w.const(0.5), z))
    value = w.op("Sub", value, w.op("Div", w.series(DERIVATIVE, z), w.op("Mul", z, z)))
    for step in range(MOVED):
        value = w.op("Sub", value, w.op("Reciprocal", w.moved(step)))
    angle = w.op("Mul", w.near, w.const(math.pi))
    cotangent = w.op("Div", w.op("Cos", angle), w.op("Sin", angle))
    w.select(w.op("Sub", value, w.op("Mul", cotangent, w.const(math.pi))), value)


GAMMAS: Mapping[str, Handler] = {"Digamma": (_digamma, []), "Lgamma": (_lgamma, [])}
