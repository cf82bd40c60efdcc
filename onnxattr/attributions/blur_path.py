"""The path of blurred copies of an input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from onnxattr.attributions.base import Attribution
from onnxattr.attributions.parameter_checks import count
from onnxattr.compile import quadrature as rules
from onnxattr.compile.baseline_graphs import space_of
from onnxattr.compile.baseline_kinds import Along
from onnxattr.compile.method import Method, first_moment
from onnxattr.compile.placed_path import Rows
from onnxattr.errors import ParameterError
from onnxattr.graph.builder import OpBuilder
from onnxattr.loading.prepared import Prepared

if TYPE_CHECKING:
    from onnxattr.compile.renderings.points_graph import PointsGraph

#: Behind this many standard deviations a Gaussian is nothing, in float32. An end before that would move with sigma in
#: steps, and the score with it, which no gradient tells.
_REACH = 6.0
#: Below this standard deviation a blur is the identity, in any precision.
_SMALLEST = 0.05


@dataclass(frozen=True, eq=False)
class Blurring:
    """z(alpha) = L(x, sigma), a Gaussian blur with sigma = (1 - alpha) max_sigma; dz/dalpha = -max_sigma dL/dsigma."""

    max_sigma: float
    seeded: bool = False

    def at(self, rewrite: PointsGraph, x: ir.Value, position: int, rows: Rows) -> tuple[ir.Value, ir.Value]:
        """The points and slopes."""
        op, axes = rewrite.op, rewrite.method.baseline[position].axes
        share = op.Sub(1.0, op.cast_like(rows.alpha, op.constant(0, ir.DataType.FLOAT)))
        sigma = op.Reshape(op.Max(op.Mul(share, self.max_sigma), _SMALLEST), [-1, 1, 1])
        z, slope = op.cast_like(x, sigma), None
        for axis in axes:
            kernel, change = _matrices(op, op.shape(x, axis, axis + 1), sigma, self.max_sigma)
            changed = _along(op, change, z, axis)
            slope = changed if slope is None else op.Add(_along(op, kernel, slope, axis), changed)
            z = _along(op, kernel, z, axis)
        assert slope is not None
        at_x = rewrite.column(op.Less(op.Mul(share, self.max_sigma), _SMALLEST), op.cast_like(x, sigma))
        found = op.cast_like(z, x), op.cast_like(op.Mul(slope, -self.max_sigma), x)
        for value in found:
            value.shape = x.shape
        # x itself at alpha 1, to the last bit.
        return op.Where(op.Cast(at_x, to=ir.DataType.BOOL.value), x, found[0]), found[1]


def _along(op: OpBuilder, matrix: ir.Value, x: ir.Value, axis: int) -> ir.Value:
    """The product of a matrix of each row, (R, n, n), with an axis of size n of x."""
    shape = op.shape(x)
    before, size = op.elements(x, 1, axis), op.shape(x, axis, axis + 1)
    rows = op.reshape(x, [op.shape(x, 0, 1), before if axis > 1 else 1, size, -1])
    found = op.Reshape(op.MatMul(op.Unsqueeze(matrix, [1]), rows), shape)
    found.shape = x.shape
    return found


def _matrices(op: OpBuilder, size: ir.Value, sigma: ir.Value, largest: float) -> tuple[ir.Value, ir.Value]:
    """The matrices of a blur of n elements for each row's sigma, (R, n, n), and their derivatives by sigma.

    The kernel adds up to 1 over the whole line; beyond the edges there are zeros, as in SciPy's mode "constant". SciPy
    ends the kernel at 4 sigma unless told otherwise; here it has no end.
    """
    places = op.Cast(op.Range(0, op.Squeeze(size, [0]), 1), to=ir.DataType.FLOAT.value)
    apart = op.Unsqueeze(op.Sub(op.Unsqueeze(places, [1]), op.Unsqueeze(places, [0])), [0])
    reach = int(_REACH * largest) + 1
    line = np.arange(-reach, reach + 1, dtype=np.float32)
    (kernel, change), (total, gain) = (
        _gaussian(op, distance, sigma) for distance in (apart, op.constant(line[None, None]))
    )
    total, gain = (op.ReduceSum(value, [2], keepdims=1) for value in (total, gain))
    weights = op.Div(kernel, total)
    return weights, op.Div(op.Sub(change, op.Mul(weights, gain)), total)


def _gaussian(op: OpBuilder, distance: ir.Value, sigma: ir.Value) -> tuple[ir.Value, ir.Value]:
    """exp(-d^2 / (2 sigma^2)), and its derivative by sigma."""
    ratio = op.Div(distance, sigma)
    squared = op.Mul(ratio, ratio)
    value = op.Exp(op.Mul(squared, -0.5))
    return value, op.Div(op.Mul(value, squared), sigma)


@dataclass(frozen=True, eq=False)
class _AskedAxes:
    """The axes that a blur goes along, once a model is known."""

    what: str

    def fit(self, prepared: Prepared, ran: Prepared, axes: Sequence[int | None]) -> tuple[Along, ...]:
        return tuple(
            Along(space_of(ran, name, axis, self.what)) for name, axis in zip(ran.wrt, axes, strict=True)
        )


class BlurIG(Attribution):
    """integral over sigma of -g(L(x, sigma)) dL/dsigma, L a Gaussian blur (Xu et al., 2020, arXiv 2004.03383).

    The path goes from x blurred with ``max_sigma`` to x, and adds no edges that x does not have. The attributions of a
    sample add up to f(x) - f(L(x, max_sigma)), up to the error of the quadrature. For images and series.

    Args:
        steps: Number of gradients on the path, evenly spaced in sigma.
        max_sigma: Standard deviation of the blur at the start, in elements along each axis.
        quadrature: See ``IntegratedGradients``; "riemann_right" is the sum of the authors' code.

    Raises:
        ParameterError: If a parameter is outside its domain, or an explained value is no image or series.
    """

    steps: int = 50
    max_sigma: float = 50.0
    quadrature: str = field(default="trapezoid", kw_only=True)

    def _check_parameters(self) -> None:
        rules.check_rule(self.quadrature)
        self.steps = count("steps", self.steps, rules.FEWEST[self.quadrature])
        largest = self.max_sigma
        if not isinstance(largest, (int, float, np.number)) or not np.isfinite(largest) or largest <= 0:
            raise ParameterError(
                f"max_sigma={largest!r}: expected a finite number above 0, in elements along each axis."
            )
        self.max_sigma = float(largest)
        super()._check_parameters()

    def convergence_delta(self, inputs: Any, targets: Any = None) -> np.ndarray:
        """The sum of a sample's attributions minus f(x) - f(L(x, max_sigma)), (N,); see ``IntegratedGradients``."""
        return np.concatenate(self._collected(inputs, targets, False).deltas)

    def relative_gap(self, inputs: Any, targets: Any = None) -> np.ndarray:
        """The size of the convergence delta over that of the difference, (N,); see ``IntegratedGradients``."""
        return np.concatenate(self._collected(inputs, targets, False).gaps)

    def _method(self) -> Method:
        points, path = rules.points(self.quadrature, self.steps), Blurring(self.max_sigma)
        start = _AskedAxes(self.name)
        return Method(first_moment, points.weights, points.alphas, start, ends=points.ends, path=path)
