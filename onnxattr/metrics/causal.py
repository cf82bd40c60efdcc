"""Deletion and Insertion: how fast the score falls or rises as the most important features are taken or given."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np

from onnxattr.attributions.advice import caller_of
from onnxattr.attributions.options import is_integer
from onnxattr.attributions.parameter_checks import number
from onnxattr.errors import ParameterError
from onnxattr.metrics.base import ModelMetric
from onnxattr.metrics.maps import baselines, ranked_features

_STEPS = 10


class CausalFidelity(ModelMetric):
    """The area under the score's curve as features change, the most important first.

    Args:
        baseline_mode: What features are set to: a number, an array that broadcasts to the inputs, or a function of the
            inputs (N, ...) that gives one of these. One axis is the last of the inputs, as in NumPy, never samples.
        steps: Number of intervals between start and end; -1 for one feature at a time.
        max_percentage_perturbed: Share of the features that change, in (0, 1].
    """

    #: Whether features go from the input to the baseline, or back.
    removes: ClassVar[bool]
    paper = "Petsiuk et al., 2018, RISE, arXiv 1806.07421"

    baseline_mode: Any = 0.0
    steps: int = _STEPS
    max_percentage_perturbed: float = 1.0

    def _check_parameters(self) -> None:
        if not is_integer(self.steps) or (self.steps < 1 and self.steps != -1):
            raise ParameterError(
                f"steps={self.steps!r}: expected an integer from 1 on, or -1 for one feature at a time."
            )
        self.steps = int(self.steps)
        share = number("max_percentage_perturbed", self.max_percentage_perturbed, 0, 1)
        self.max_percentage_perturbed = share

    def _prepare(self) -> None:
        self._baselines = baselines(self.baseline_mode, self.scored.x, self.scored.features)
        axis, shape = self.scored.channel_axis, self.scored.x.shape
        self._features = int(np.prod(shape[1:])) // (1 if axis is None else shape[axis])
        most = int(self._counts(self._features)[-1])
        if self.steps > most and self.steps != _STEPS:
            warnings.warn(
                f"steps={self.steps}, and there are {most} features to change: one feature a step.",
                stacklevel=caller_of(self),
            )

    @property
    def passes(self) -> int:
        """Forward passes of one evaluation: each sample at each step, both ends included."""
        return self.scored.rows * len(self._counts(self._features))

    def curves(self, explanations: Any) -> tuple[np.ndarray, np.ndarray]:
        """The score of each sample on its way.

        Args:
            explanations: Maps of the inputs' shape; reduced axes may be 1 or, for channels, absent. Channels of images
                change together, by their mean attribution.

        Returns:
            How many features have changed at each step, (S + 1,); the scores there, (N, S + 1).

        Raises:
            NonFiniteError: If a map or a score is not finite.
            ShapeError: If the maps do not fit the inputs.
        """
        ranks, features = ranked_features(self._maps(explanations), self.scored.channel_axis)
        counts = self._counts(features)
        start, end = self.scored.x, self._baselines
        if not self.removes:
            start, end = end, start
        per_row = (-1, *[1] * (start.ndim - 1))

        def change(image: np.ndarray, draw: np.ndarray) -> np.ndarray:
            return np.asarray(
                np.where(ranks[image] < counts[draw].reshape(per_row), end[image], start[image])
            )

        return counts, self.scored.of(change, len(counts), self.name)

    def of_samples(self, explanations: Any) -> np.ndarray:
        """The area under each sample's curve, by the trapezoid rule over [0, 1], (N,)."""
        _, scores = self.curves(explanations)
        return np.asarray((scores[:, :-1] + scores[:, 1:]).mean(axis=1) / 2)

    def detailed_evaluate(self, explanations: Any) -> dict[int, float]:
        """The mean score by the number of features that have changed."""
        counts, scores = self.curves(explanations)
        return dict(zip(counts.tolist(), scores.mean(axis=0).tolist(), strict=True))

    def _counts(self, features: int) -> np.ndarray:
        most = int(np.floor(features * self.max_percentage_perturbed))
        if most < 1:
            raise ParameterError(
                f"max_percentage_perturbed={self.max_percentage_perturbed}: that is none of {features} features."
            )
        steps = most if self.steps == -1 else self.steps
        return np.unique(np.linspace(0, most, steps + 1, dtype=np.int32))


class Deletion(CausalFidelity):
    """The area under the score as the most important features are set to the baseline; lower is better."""

    better, removes = "lower", True


class Insertion(CausalFidelity):
    """The area under the score as the most important features are put into the baseline; higher is better."""

    better, removes = "higher", False
