"""Sparseness and complexity: on how few features an explanation lies."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import field
from typing import Any

import numpy as np

from onnxattr.attributions.parameters import Parameters
from onnxattr.errors import ParameterError
from onnxattr.metrics.base import Metric
from onnxattr.metrics.maps import as_maps

_EPSILON = 1e-8
_CHANNELS = (1, 3, 4)


class ConcentrationMetric(Metric, Parameters):
    """A metric of the maps alone.

    Args:
        batch_size: Taken for Xplique's sake; there is nothing to run in batches.
        channel_axis: The channel axis of maps of rank 4, over which magnitudes are averaged first; None for the last,
            or the second where that one has the size of channels (1, 3 or 4) and the last has not.
    """

    batch_size: int | None = 32
    channel_axis: int | None = field(default=None, kw_only=True)

    def of_samples(self, explanations: Any) -> np.ndarray:
        """The number of each map, (N,).

        Args:
            explanations: Maps, (N, ...).

        Raises:
            NonFiniteError: If a map is not finite.
            ParameterError: If channel_axis is none of the maps' axes, or that of the samples.
        """
        maps = np.abs(as_maps(explanations).astype(np.float64))
        if maps.ndim == 4:
            second = maps.shape[1] in _CHANNELS and maps.shape[3] not in _CHANNELS
            axis = self.channel_axis if self.channel_axis is not None else 1 if second else -1
            if axis not in (1, 2, 3, -1, -2, -3):
                raise ParameterError(
                    f"channel_axis={axis!r}: expected an axis of maps of shape {maps.shape} after that of the samples, "
                    "from 1 to 3."
                )
            maps = maps.mean(axis=axis)
        flat = maps.reshape(len(maps), -1)
        total = flat.sum(axis=1, keepdims=True)
        # Of a map of zeros all magnitudes are equal, and so are their shares.
        return self._of_shares(np.where(total > 0, flat / np.where(total > 0, total, 1.0), 1 / flat.shape[1]))

    detailed_evaluate = of_samples

    @abstractmethod
    def _of_shares(self, shares: np.ndarray) -> np.ndarray:
        """(N, features) shares of the whole magnitude to (N,)."""


class Sparseness(ConcentrationMetric):
    """The Gini index of the magnitudes: 0 where all are equal, nearly 1 where one has all; higher is sparser."""

    better = "higher"
    paper = "Chalasani et al., 2020, Concise Explanations of Neural Networks, ICML"

    def _of_shares(self, shares: np.ndarray) -> np.ndarray:
        rising, n = np.sort(shares, axis=1), shares.shape[1]
        weighted = 2 * (rising * np.arange(1, n + 1)).sum(axis=1)
        return np.asarray(weighted / n - (n + 1) / n)


class Complexity(ConcentrationMetric):
    """The entropy of the magnitudes in nats: 0 if one has all, log(features) if all are equal; lower is better."""

    better = "lower"
    paper = (
        "Bhatt et al., 2020, Evaluating and Aggregating Feature-based Model Explanations, arXiv 2005.00631"
    )

    def _of_shares(self, shares: np.ndarray) -> np.ndarray:
        return np.asarray(-(shares * np.log(shares + _EPSILON)).sum(axis=1))
