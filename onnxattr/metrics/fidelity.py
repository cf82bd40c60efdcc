"""MuFidelity and infidelity: do attributions foretell what random changes of the input do to the score?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any

import numpy as np

from onnxattr.attributions.parameter_checks import count, number
from onnxattr.errors import ParameterError
from onnxattr.metrics.base import ModelMetric
from onnxattr.metrics.maps import baselines
from onnxattr.metrics.similarity import spearman
from onnxattr.metrics.subsets import Subsets

#: (inputs (R, ...), generator) -> (perturbations I, perturbed inputs), both (R, ...).
Perturb = Callable[[np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]


class MuFidelity(ModelMetric):
    """Rank correlation, over random subsets of features, of summed attribution and drop in score; higher is better.

    The drop is that of setting the subset to the baseline. Images and volumes are cut into cells, series along time.

    Args:
        grid_size: Cells along each axis of space, or along time; None for single elements. Tables have no grid.
        subset_percent: Probability of a cell to be in the subset, in (0, 1).
        baseline_mode: What features are set to: a number, an array that broadcasts to the inputs, or a function of the
            inputs (N, ...) that gives one of these. One axis is the last of the inputs, as in NumPy, never samples.
        nb_samples: Number of subsets; all samples have the same.
        masks: Subsets from outside in place of drawn ones, 1 where an element stays and 0 where it is set to the
            baseline: (S, ...) for all samples or (N, S, ...).
    """

    better = "higher"
    paper = (
        "Bhatt et al., 2020, Evaluating and Aggregating Feature-based Model Explanations, arXiv 2005.00631"
    )

    grid_size: int | None = 9
    subset_percent: float = 0.2
    baseline_mode: Any = 0.0
    nb_samples: int = 200
    masks: Any = field(default=None, kw_only=True)

    def _check_parameters(self) -> None:
        self.nb_samples = count("nb_samples", self.nb_samples, at_least=2)
        _check_grid(self)

    def _prepare(self) -> None:
        self._baselines = baselines(self.baseline_mode, self.scored.x, self.scored.features)
        self._subsets = _subsets(self)

    @property
    def passes(self) -> int:
        """Forward passes of one evaluation: each sample as it is and without each subset."""
        return self.scored.rows * (1 + self._subsets.draws)

    def of_samples(self, explanations: Any) -> np.ndarray:
        """The rank correlation of each sample, (N,); 0 where all drops, or all sums, are equal.

        Args:
            explanations: Maps of the inputs' shape; reduced axes may be 1 or, for channels, absent.

        Raises:
            NonFiniteError: If a map or a score is not finite.
            ShapeError: If the maps do not fit the inputs.
        """
        sums = self._subsets.sums(self._maps(explanations))

        def change(image: np.ndarray, draw: np.ndarray) -> np.ndarray:
            return np.asarray(
                np.where(self._subsets.keeps(image, draw), self.scored.x[image], self._baselines[image])
            )

        scores = self.scored.of(change, self._subsets.draws, self.name)
        return spearman(self.scored.scores[:, None] - scores, sums)


class Infidelity(ModelMetric):
    """E (I . phi - (f(x) - f(x - I)))^2 over random perturbations I of the input; lower is better.

    Perturbations are "gaussian" noise I = noise * e, for attributions that are like a gradient; or a "subset" of the
    features goes to the baseline: I = x - b there and 0 elsewhere, for attributions that are parts of f(x) - f(b), as
    those of IntegratedGradients and GradientInput, where I . phi is the sum of phi over the subset. Any other is a
    function (inputs, generator) -> (I, perturbed inputs), as Captum's.

    Args:
        perturbation: "gaussian", "subset" or a function of inputs (R, ...) and a ``numpy.random.Generator`` that gives
            I and the perturbed inputs, both (R, ...). A function is called once a sample, with as many copies as
            there are draws.
        noise: Standard deviation of "gaussian", in input units.
        grid_size: Cells of "subset" along each axis of images, or along time; None for single elements.
        subset_percent: Probability of a cell to be in the subset, in (0, 1).
        baseline_mode: The baseline b of "subset", as ``Deletion``'s.
        nb_samples: Number of perturbations of each sample.
        normalize: Whether phi is scaled first by what fits the drops best, so that its scale does not matter.
        masks: Subsets from outside, as ``MuFidelity``'s, for perturbation "subset".
    """

    better = "lower"
    paper = "Yeh et al., 2019, On the (In)fidelity and Sensitivity of Explanations, arXiv 1901.09392"

    perturbation: str | Perturb = "subset"
    noise: float = 0.1
    grid_size: int | None = 9
    subset_percent: float = 0.2
    baseline_mode: Any = 0.0
    nb_samples: int = 100
    normalize: bool = False
    masks: Any = field(default=None, kw_only=True)

    def _check_parameters(self) -> None:
        if self.perturbation not in ("gaussian", "subset") and not callable(self.perturbation):
            raise ParameterError(
                f"perturbation={self.perturbation!r}: expected 'gaussian', 'subset' or a function of inputs and a "
                "generator."
            )
        if self.masks is not None and self.perturbation != "subset":
            raise ParameterError(
                f"masks were given, and perturbation={self.perturbation!r}; expected 'subset'."
            )
        self.nb_samples = count("nb_samples", self.nb_samples)
        self.noise = number("noise", self.noise, 0)
        _check_grid(self)

    def _prepare(self) -> None:
        self._baselines = baselines(self.baseline_mode, self.scored.x, self.scored.features)
        self._subsets = _subsets(self)
        self.draws = self._subsets.draws

    @property
    def passes(self) -> int:
        """Forward passes of one evaluation: each sample as it is and under each perturbation."""
        return self.scored.rows * (1 + self.draws)

    def of_samples(self, explanations: Any) -> np.ndarray:
        """The infidelity of each sample, (N,), in units of the squared score.

        Args:
            explanations: Maps of the inputs' shape; an axis that is 1 or absent counts for each of the elements that
                share it, which keeps sums over channels where the reducer was the mean.

        Raises:
            NonFiniteError: If a map or a score is not finite.
            ShapeError: If the maps do not fit the inputs.
        """
        maps = self._maps(explanations)
        foretold = np.empty((self.scored.rows, self.draws))
        if self.perturbation == "subset":
            foretold[:] = self._subsets.sums(np.broadcast_to(maps, self.scored.x.shape))

            def change(image: np.ndarray, draw: np.ndarray) -> np.ndarray:
                kept = self._subsets.keeps(image, draw)
                return np.asarray(np.where(kept, self.scored.x[image], self._baselines[image]))

        else:
            change = _Perturbed(self, maps, foretold)
        drops = self.scored.scores[:, None] - self.scored.of(change, self.draws, self.name)
        beta = np.ones((self.scored.rows, 1))
        if self.normalize:
            square = (foretold**2).sum(axis=1, keepdims=True)
            beta = (foretold * drops).sum(axis=1, keepdims=True) / np.where(square > 0, square, 1.0)
        return np.asarray(((beta * foretold - drops) ** 2).mean(axis=1))

    def perturbed(self, sample: int) -> tuple[np.ndarray, np.ndarray]:
        """The perturbations I and the perturbed inputs of one sample, each (draws, ...).

        Raises:
            ParameterError: If a function gives something else.
        """
        generator = np.random.default_rng([self.seed, 1, sample])
        copies = np.repeat(self.scored.x[sample : sample + 1], self.draws, axis=0)
        if not callable(self.perturbation):
            noise = (self.noise * generator.standard_normal(copies.shape)).astype(copies.dtype)
            return noise, copies - noise
        found = self.perturbation(copies, generator)
        pair = isinstance(found, (tuple, list)) and len(found) == 2
        shapes = [np.shape(part) for part in found] if pair else []
        if shapes != [copies.shape] * 2:
            raise ParameterError(
                f"perturbation gave {shapes or type(found).__name__}; expected the perturbations I and the perturbed "
                f"inputs, two arrays of shape {copies.shape}."
            )
        return np.asarray(found[0]), np.asarray(found[1])


def _check_grid(metric: MuFidelity | Infidelity) -> None:
    """Checks the parameters of drawn subsets."""
    metric.subset_percent = number("subset_percent", metric.subset_percent, 0, 1)
    if metric.grid_size is not None:
        metric.grid_size = count("grid_size", metric.grid_size)


def _subsets(metric: MuFidelity | Infidelity) -> Subsets:
    """The subsets that were given, else drawn ones."""
    scored, shape = metric.scored, metric.scored.x.shape
    if metric.masks is not None:
        return Subsets.given(metric.masks, shape)
    drawn = metric.nb_samples, metric.grid_size, metric.subset_percent, metric.seed
    return Subsets(shape, scored.channels, *drawn)


class _Perturbed:
    """Perturbed inputs of (sample, draw) pairs; notes what the maps foretell of each."""

    def __init__(self, metric: Infidelity, maps: np.ndarray, foretold: np.ndarray):
        self._metric, self._maps, self._foretold = metric, maps.astype(np.float64), foretold
        self._sample, self._inputs = -1, np.empty(0)

    def __call__(self, image: np.ndarray, draw: np.ndarray) -> np.ndarray:
        parts = []
        for sample in np.unique(image):
            if sample != self._sample:
                perturbations, self._inputs = self._metric.perturbed(int(sample))
                product = perturbations * self._maps[sample]
                self._foretold[sample] = product.reshape(len(product), -1).sum(axis=1)
                self._sample = sample
            parts.append(self._inputs[draw[image == sample]])
        return np.concatenate(parts)
