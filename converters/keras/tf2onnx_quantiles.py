"""Quantiles of the normal distribution, by the rational functions of the Cephes library in 64 bits.

S. L. Moshier, Methods and Programs for Mathematical Functions, 1989: ndtri, of a relative error below 5e-16.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from onnx import TensorProto

from .tf2onnx_nodes import Wide
from .tf2onnx_selects import Handler

#: Where the tails begin: exp(-2).
_TAIL = math.exp(-2)
#: In the middle, of (y - 1/2)^2; in the tails, of 1 / sqrt(-2 log y), which is below or above 1/8. Highest power first.
_MIDDLE = (
    (-59.9633501014107895267, 98.0010754185999661536, -56.6762857469070293439,
     13.9312609387279679503, -1.23916583867381258016),
    (1, 1.95448858338141759834, 4.67627912898881538453, 86.3602421390890590575, -225.462687854119370527,
     200.260212380060660359, -82.0372256168333339912, 15.9056225126211695515, -1.18331621121330003142),
)  # fmt: skip
_NEAR = (
    (4.05544892305962419923, 31.5251094599893866154, 57.1628192246421288162, 44.0805073893200834700,
     14.6849561928858024014, 2.18663306850790267539, -0.140256079171354495875, -0.0350424626827848203418,
     -8.57456785154685413611e-4),
    (1, 15.7799883256466749731, 45.3907635128879210584, 41.3172038254672030440, 15.0425385692907503408,
     2.50464946208309415979, -0.142182922854787788574, -0.0380806407691578277194, -9.33259480895457427372e-4),
)  # fmt: skip
_FAR = (
    (3.23774891776946035970, 6.91522889068984211695, 3.93881025292474443415, 1.33303460815807542389,
     0.201485389549179081538, 0.0123716634817820021358, 3.01581553508235416007e-4, 2.65806974686737550832e-6,
     6.23974539184983293730e-9),
    (1, 6.02427039364742014255, 3.67983563856160859403, 1.37702099489081330271, 0.216236993594496635890,
     0.0134204006088543189037, 3.28014464682127739104e-4, 2.89247864745380683936e-6, 6.79019408009981274425e-9),
)  # fmt: skip
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
    more = w.op("Mul", square, _ratio(w, square, _MIDDLE))
    middle = w.op("Mul", w.op("Add", middle, w.op("Mul", middle, more)), w.const(math.sqrt(2 * math.pi)))
    x = w.op("Sqrt", w.op("Mul", w.const(-2), w.op("Log", y)))
    z = w.op("Reciprocal", x)
    far = w.op("Less", z, w.const(1 / 8), dtype=TensorProto.BOOL)
    less = w.op("Mul", z, w.op("Where", far, _ratio(w, z, _FAR), _ratio(w, z, _NEAR)))
    tail = w.op("Sub", w.op("Sub", x, w.op("Div", w.op("Log", x), x)), less)
    none = w.op("Equal", y, w.const(0), dtype=TensorProto.BOOL)
    tail = w.op("Where", none, w.const(math.inf), tail)
    tail = w.op("Where", left, w.op("Neg", tail), tail)
    central = w.op("Greater", y, w.const(_TAIL), dtype=TensorProto.BOOL)
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
