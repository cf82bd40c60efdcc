"""Average drop, increase and gain: what the score becomes on the input times its explanation."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import Any

import numpy as np

from onnxattr.attributions.advice import caller_of
from onnxattr.metrics.base import ModelMetric

_EPSILON = 1e-8
#: How far a sum or mean of probabilities of 1 may be above 1.
_ROUNDING = 1e-5


class MaskedMetric(ModelMetric):
    """A metric of the score on x times a mask: magnitudes, averaged over channels, brought to [0, 1] for each sample.

    Meant for scores in [0, 1]: give ``activation`` where the output is logits.
    """

    @property
    def passes(self) -> int:
        """Forward passes of one evaluation: each sample as it is and masked."""
        return 2 * self.scored.rows

    def of_samples(self, explanations: Any) -> np.ndarray:
        """The number of each sample, (N,).

        Args:
            explanations: Maps of the inputs' shape; reduced axes may be 1 or, for channels, absent.

        Raises:
            NonFiniteError: If a map or a score is not finite.
            ShapeError: If the maps do not fit the inputs.
        """
        masks, axis = np.abs(self._maps(explanations)), self.scored.channel_axis
        if axis is not None:
            masks = masks.mean(axis=axis, keepdims=True)
        axes = tuple(range(1, masks.ndim))
        low, high = masks.min(axis=axes, keepdims=True), masks.max(axis=axes, keepdims=True)
        masks = (masks - low) / np.where(high > low, high - low, 1)
        after = self.scored.of(lambda image, _: self.scored.x[image] * masks[image], 1, self.name)[:, 0]
        return self._compare(self.scored.scores, after)

    def _say(self, what: str, found: np.ndarray) -> None:
        """Says which scores are no probabilities, and shares of them no shares."""
        if found.any():
            warnings.warn(
                f"{self.name} divides by scores as by probabilities: {int(found.sum())} of {len(found)} are {what}, "
                f"that of sample {int(found.argmax())} first. Put activation='softmax' or 'sigmoid' behind logits.",
                stacklevel=caller_of(self),
            )

    @abstractmethod
    def _compare(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Scores on the inputs and on the masked inputs, (N,), to the number of each sample."""


class AverageDropMetric(MaskedMetric):
    """max(0, f(x) - f(x * mask)) / f(x); lower is better."""

    __doc__ = f"{__doc__}\n\n{MaskedMetric.__doc__}"
    better = "lower"
    paper = "Chattopadhay et al., 2018, Grad-CAM++, arXiv 1710.11063"

    def _compare(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        # A probability may be 0 where it underflows; what is left of it cannot be less.
        self._say("0 or below", (before < 0) | ((before == 0) & (after < 0)))
        return np.asarray(np.maximum(before - after, 0) / (before + _EPSILON))


class AverageIncreaseMetric(MaskedMetric):
    """1 where f(x * mask) > f(x), else 0; higher is better."""

    __doc__ = f"{__doc__}\n\n{MaskedMetric.__doc__}"
    better = "higher"
    paper = "Chattopadhay et al., 2018, Grad-CAM++, arXiv 1710.11063"

    def _compare(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        return (after > before).astype(np.float64)


class AverageGainMetric(MaskedMetric):
    """max(0, f(x * mask) - f(x)) / (1 - f(x)); higher is better."""

    __doc__ = f"{__doc__}\n\n{MaskedMetric.__doc__}"
    better = "higher"
    paper = "Zhang et al., 2024, Opti-CAM, arXiv 2301.07002"

    def _compare(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        self._say("above 1", before > 1 + _ROUNDING)
        return np.asarray(np.maximum(after - before, 0) / (1 - before + _EPSILON))
