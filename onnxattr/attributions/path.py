"""Methods that integrate the gradient along a path."""

from __future__ import annotations

import warnings
from dataclasses import field
from typing import Any

import numpy as np

from onnxattr.attributions.from_baseline import FromBaseline
from onnxattr.attributions.options import is_integer
from onnxattr.compile import quadrature as rules
from onnxattr.compile.method import Method, times_difference
from onnxattr.errors import ParameterError
from onnxattr.running.baselines.background import AskedBackground, averaged
from onnxattr.running.baselines.values import Asked, asked
from onnxattr.running.collected import Collected


class IntegratedGradients(FromBaseline):
    """(x - b) * integral of g along the straight path from b to x (Sundararajan et al., 2017, arXiv 1703.01365).

    Without a reducer the attributions of a sample add up to f(x) - f(b), up to the error of the quadrature.

    Args:
        steps: Number of gradients on the path; at least 2 for the trapezoid rule, which takes both ends, else 1.
        baseline_value: b; see ``FromBaseline``.
        quadrature: "trapezoid", as in Xplique; "riemann_left", "riemann_right", "riemann_middle" or "gauss_legendre",
            as in Captum. Those without end points need the score at the ends all the same, for the convergence delta:
            two predictions, and in exported files two gradients, which count nothing.
        points: "uniform": where the rule has them; "adaptive": more where they are needed, for each sample by itself.
            They begin with 9, and intervals whose trapezoids miss their own change of the score the most get a point
            in the middle, until there are ``steps`` of them or, with ``tolerance``, until the sample is within it.
        tolerance: The relative gap that every sample shall reach, 0.01 for instance; see ``relative_gap``. Points are
            added until it does: uniform ones begin with ``steps`` and double, keeping those there are (three times as
            many of "riemann_middle"; "gauss_legendre" begins again). After a call the attributes ``spent_steps`` and
            ``gaps``, (N,), say what each sample took and what is left, and a warning names samples that did not get
            there.
        max_steps: Most gradients of a sample with ``tolerance``; None for 800, or ``steps`` if that is more.
        sigma: Standard deviation of ``baseline_value="blur"``, in elements along each axis.
        background: Baselines to average over, instead of ``baseline_value``; see ``FromBaseline``. Every member has a
            path of its own, so that there are ``steps`` gradients for each.

    Raises:
        ParameterError: If ``steps`` is too small, there is no such rule or the baseline does not fit the input.
    """

    steps: int = 50
    baseline_value: Any = 0.0
    quadrature: str = field(default="trapezoid", kw_only=True)
    points: str = field(default="uniform", kw_only=True)
    tolerance: float | None = field(default=None, kw_only=True)
    max_steps: int | None = field(default=None, kw_only=True)
    sigma: float = field(default=10.0, kw_only=True)

    def _check_parameters(self) -> None:
        rules.check_rule(self.quadrature)
        fewest = rules.FEWEST[self.quadrature]
        if not is_integer(self.steps, at_least=fewest):
            least = "at least 2 (both ends of the path)" if fewest == 2 else "at least 1"
            raise ParameterError(f"steps={self.steps!r}: expected an integer, {least}.")
        self.steps = int(self.steps)
        self._refinement = rules.refinement(
            self.quadrature, self.steps, self.points, self.tolerance, self.max_steps
        )
        given = self.baseline_value
        self._asked = asked(given, sigma=self.sigma)
        self.baseline_value = self._asked.given
        if self.background is not None and not (np.ndim(given) == 0 and np.all(given == 0)):
            raise ParameterError("baseline_value and background were both given; give one of them.")
        super()._check_parameters()

    def _method_from(self, start: Asked | AskedBackground) -> Method:
        more = self._refinement
        points = rules.points(self.quadrature, self.steps if more is None else more.steps)
        method = Method(
            times_difference, points.weights, points.alphas, start, ends=points.ends, refinement=more
        )
        if not isinstance(start, AskedBackground):
            return method
        if more is not None:
            raise ParameterError(
                "With a background, all members have paths with the same points: give steps, and neither "
                "tolerance nor points='adaptive'."
            )
        return averaged(method, start)

    def _look(self, collected: Collected, stacklevel: int) -> None:
        if not collected.gaps:
            return
        self.gaps = gaps = np.concatenate(collected.gaps)
        fixed = np.full(len(gaps), len(self._plan.request.method.counting))
        self.spent_steps = np.concatenate(collected.spent) if collected.spent else fixed
        if self.tolerance is None:
            return
        missed = np.flatnonzero(gaps > self.tolerance)
        if missed.size:
            listed = ", ".join(f"{row} ({gaps[row]:.2g})" for row in missed[:5])
            warnings.warn(
                f"{missed.size} of {len(gaps)} samples miss f(x) - f(b) by more than tolerance={self.tolerance:g} "
                f"with up to {self.spent_steps[missed].max()} gradients, of max_steps={self.max_steps or rules.MOST}: "
                f"sample {listed}{', ...' if missed.size > 5 else ''}. Allow more with max_steps, or a larger "
                f"tolerance.",
                stacklevel=stacklevel,
            )
