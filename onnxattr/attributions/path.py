"""Methods that integrate the gradient along a path."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxattr.attributions import quadrature as rules
from onnxattr.attributions.background import AskedBackground, averaged
from onnxattr.attributions.baselines import Asked, asked
from onnxattr.attributions.definition import Definition, times_difference
from onnxattr.attributions.from_baseline import FromBaseline
from onnxattr.attributions.options import MEAN, is_integer
from onnxattr.errors import ParameterError
from onnxattr.loading.source import ModelSource


class IntegratedGradients(FromBaseline):
    """(x - b) * integral of g along the straight path from b to x (Sundararajan et al., 2017, arXiv 1703.01365).

    Without a reducer the attributions of a row add up to f(x) - f(b), up to the error of the quadrature.

    Args:
        model: See ``Attribution``; so are the parameters not listed here.
        output_layer: See ``Attribution``.
        batch_size: See ``Attribution``.
        operator: See ``Attribution``.
        reducer: See ``Attribution``.
        steps: Number of gradients on the path; at least 2 for the trapezoid rule, which takes both ends, else 1.
        baseline_value: b; see ``FromBaseline``.
        quadrature: "trapezoid", as in Xplique; "riemann_left", "riemann_right", "riemann_middle" or "gauss_legendre",
            as in Captum. Those without end points need the score at the ends all the same, for the convergence delta:
            two predictions, and in exported files two gradients, which count nothing.
        sigma: Standard deviation of ``baseline_value="blur"``, in elements along each axis.
        background: Baselines to average over, instead of ``baseline_value``; see ``FromBaseline``. Every member has a
            path of its own, so that there are ``steps`` gradients for each.
        **options: See ``Attribution``.

    Raises:
        ParameterError: If ``steps`` is too small, there is no such rule or the baseline does not fit the input.
    """

    def __init__(
        self,
        model: ModelSource,
        output_layer: str | int | None = None,
        batch_size: int | None = 32,
        operator: Any = None,
        reducer: str | None = MEAN,
        steps: int = 50,
        baseline_value: Any = 0.0,
        *,
        quadrature: str = "trapezoid",
        sigma: float = 10.0,
        background: Any = None,
        **options: Any,
    ):
        rules.check_rule(quadrature)
        fewest = rules.FEWEST[quadrature]
        if not is_integer(steps, at_least=fewest):
            least = "at least its 2 ends" if fewest == 2 else "at least 1"
            raise ParameterError(f"steps={steps!r}: the path needs an integer number of points, {least}.")
        self.steps, self.quadrature, self.sigma = int(steps), quadrature, sigma
        self._asked = asked(baseline_value, sigma=sigma)
        self.baseline_value, self.background = self._asked.given, background
        if background is not None and not (np.ndim(baseline_value) == 0 and np.all(baseline_value == 0)):
            raise ParameterError(
                "baseline_value and background were both given; paths start at one or the other."
            )
        super().__init__(model, output_layer, batch_size, operator, reducer, **options)

    def _definition_from(self, start: Asked | AskedBackground) -> Definition:
        points = rules.points(self.quadrature, self.steps)
        definition = Definition(times_difference, points.weights, points.alphas, start, ends=points.ends)
        return averaged(definition, start) if isinstance(start, AskedBackground) else definition
