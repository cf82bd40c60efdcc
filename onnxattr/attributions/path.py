"""Methods that integrate the gradient along a path."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxattr.arrays import as_array
from onnxattr.attributions import quadrature as rules
from onnxattr.attributions.base import Attribution
from onnxattr.attributions.definition import Definition, times_difference
from onnxattr.attributions.options import is_integer
from onnxattr.errors import ParameterError, ShapeError
from onnxattr.frames import row_by_name
from onnxattr.loading.source import ModelSource


class IntegratedGradients(Attribution):
    """(x - b) * integral of g along the straight path from b to x (Sundararajan et al., 2017, arXiv 1703.01365).

    Without a reducer the attributions of a row add up to f(x) - f(b), up to the error of the quadrature.

    Args:
        model: See ``Attribution``; so are the parameters not listed here.
        output_layer: See ``Attribution``.
        batch_size: See ``Attribution``.
        operator: See ``Attribution``.
        reducer: See ``Attribution``.
        steps: Number of gradients on the path; at least 2 for the trapezoid rule, which takes both ends, else 1.
        baseline_value: b, a number or an array of one sample's shape, in the model's order; a pandas Series is matched
            with the model's features by name.
        quadrature: "trapezoid", as in Xplique; "riemann_left", "riemann_right", "riemann_middle" or "gauss_legendre",
            as in Captum. Those without end points need the score at the ends all the same, for the convergence delta:
            two predictions, and in exported files two gradients, which count nothing.
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
        reducer: str | None = "mean",
        steps: int = 50,
        baseline_value: Any = 0.0,
        *,
        quadrature: str = "trapezoid",
        **options: Any,
    ):
        rules.check_rule(quadrature)
        fewest = rules.FEWEST[quadrature]
        if not is_integer(steps, at_least=fewest):
            least = "at least its 2 ends" if fewest == 2 else "at least 1"
            raise ParameterError(f"steps={steps!r}: the path needs an integer number of points, {least}.")
        self.steps, self.quadrature, self._baseline_given = int(steps), quadrature, baseline_value
        try:
            self.baseline_value = as_array(baseline_value, "baseline_value")
        except ShapeError as error:
            raise ParameterError(
                f"baseline_value={baseline_value!r}: expected finite numbers. {error}"
            ) from error
        if not np.isfinite(self.baseline_value).all():
            raise ParameterError(f"baseline_value={baseline_value!r}: expected finite numbers.")
        super().__init__(model, output_layer, batch_size, operator, reducer, **options)

    def convergence_delta(self, inputs: Any, targets: Any = None) -> np.ndarray:
        """How much the attributions do not add up to f(x) - f(b): sum of a row's attributions minus that difference.

        It is the error of the quadrature, and shrinks with more ``steps``. The arguments are those of ``explain``,
        the sum is taken before the reducer; returns float32 (N,), in units of the explained score.
        """
        return self._results(inputs, targets)[1]

    def _definition(self) -> Definition:
        points = rules.points(self.quadrature, self.steps)
        try:
            named = row_by_name(self._baseline_given, self.prepared.features)
        except ShapeError as error:
            raise ParameterError(str(error)) from error
        if named is not None:
            self.baseline_value = as_array(named, "baseline_value")
        return Definition(
            times_difference, points.weights, points.alphas, self.baseline_value, ends=points.ends
        )
