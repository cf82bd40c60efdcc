"""Average stability and max-sensitivity: how far explanations move as inputs move a little."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from onnxattr.attributions.base import Attribution
from onnxattr.attributions.parameter_checks import count, number
from onnxattr.compile.renderings.noisy_values import with_inputs
from onnxattr.errors import ParameterError, ShapeError
from onnxattr.metrics.base import ModelMetric
from onnxattr.metrics.maps import as_maps
from onnxattr.metrics.scored import on_prepared
from onnxattr.running.given.arrays import as_array

#: (inputs (R, ...), generator) -> changed inputs (R, ...).
Move = Callable[[np.ndarray, np.random.Generator], np.ndarray]
#: Two maps to how far they are apart.
Distance = Callable[[np.ndarray, np.ndarray], float]
_DISTANCES: dict[str, Distance] = {
    "l1": lambda a, b: float(np.abs(a - b).sum()),
    "l2": lambda a, b: float(np.sqrt(((a - b) ** 2).sum())),
}


class MethodMetric(ModelMetric):
    """A metric that explains changed inputs itself.

    It is called with a method, an explainer file that was loaded, or a function of inputs and weights on the output.

    Args:
        batch_size: Most rows in one run of the model; None for no limit. Methods have a batch size of their own.
    """

    takes = "method"

    @abstractmethod
    def of_samples(self, explanations: Any) -> np.ndarray:
        """The number of each sample, (N,), of a method, an explainer file, or a function (inputs, weights)."""

    def _explain(self, explainer: Any, inputs: np.ndarray | None, samples: np.ndarray) -> np.ndarray:
        """Maps of inputs, (R, ...), float64.

        Args:
            explainer: A method or an explainer file, or a function of inputs and targets as weights.
            inputs: What stands in the place of the value that is changed, (R, ...); None for the inputs as they are.
            samples: Which sample each row is made of, (R,).
        """
        scored = self.scored
        fed = {k: v[samples] if v.ndim else v for k, v in scored.feeds.items()}
        fed |= {} if inputs is None else {scored.name: inputs}
        given = fed if len(fed) > 1 else next(iter(fed.values()))
        explain, targets = getattr(explainer, "explain", None), scored.weights
        if explain is not None and scored.labels is not None:
            targets = scored.labels  # which explainer files may take alone
        found = (explain or explainer)(given, targets[samples])
        maps = as_maps(next(iter(found.values())) if isinstance(found, dict) else found).astype(np.float64)
        if len(maps) != len(samples):
            raise ShapeError(
                f"{self.name} got maps of shape {maps.shape} for {len(samples)} inputs; expected one for each."
            )
        return maps

    def _quiet(self, explainer: Any) -> Any:
        """A method without a progress bar of its own; anything else as it is.

        Raises:
            ParameterError: If it is neither a method nor a function.
        """
        if not callable(getattr(explainer, "explain", explainer)):
            raise ParameterError(
                f"{self.name} takes a method, or a function of inputs and targets that gives maps; got "
                f"{type(explainer).__name__}. It explains changed inputs, for which maps of the inputs do not do."
            )
        if not isinstance(explainer, Attribution):
            return explainer
        twin = copy.copy(explainer)
        twin.options = replace(explainer.options, progress=False)
        return twin


class _Neighbours(MethodMetric):
    """Compares each sample's map with those of its neighbours."""

    radius: float = 0.1
    #: Number of neighbours of each sample.
    draws = 0

    @property
    def explanations(self) -> int:
        """Explanations of one evaluation: each sample and its neighbours."""
        return self.scored.rows * (1 + self.draws)

    def of_samples(self, explanations: Any, base_explanations: Any = None) -> np.ndarray:
        """The number of each sample, (N,).

        Args:
            explanations: A method, an explainer file that was loaded, or a function that gives maps of inputs and
                targets, as weights on the output.
            base_explanations: The maps of the inputs as they are, if they are known already.

        Raises:
            NonFiniteError: If a map is not finite.
            ParameterError: If it is called with something else.
            ShapeError: If there are not as many maps as inputs, or those of changed inputs have another shape.
        """
        explainer, x, rows = self._quiet(explanations), self.scored.x, self.scored.rows
        if base_explanations is None:
            base = self._explain(explainer, None, np.arange(rows))
        else:
            base = as_maps(base_explanations).astype(np.float64)
        explainer, found = self._at_changed(explainer), np.empty(rows)
        with self.scored.progress(rows * self.draws, self.name, unit="map") as bar:
            for sample in range(rows):
                neighbours = np.asarray(self._neighbours(sample), x.dtype)
                maps = self._explain(explainer, neighbours, np.full(self.draws, sample))
                if (len(base), *maps.shape[1:]) != (rows, *base.shape[1:]):
                    raise ShapeError(
                        f"{self.name} compares maps of one shape: the maps of the {rows} inputs have shape "
                        f"{base.shape}, those of changed inputs {maps.shape}. Give the maps "
                        "that the method itself makes of the inputs, base_explanations=method.explain(inputs, targets)."
                    )
                found[sample] = self._measure(maps, base[sample])
                bar.update(self.draws)
        return found

    def evaluate(self, explanations: Any, base_explanations: Any = None) -> float:
        """The mean over samples; the arguments and errors are those of ``of_samples``."""
        return float(np.mean(self.of_samples(explanations, base_explanations)))

    __call__ = evaluate

    def _check_neighbours(self, nb_samples: int) -> None:
        self.radius, self.draws = number("radius", self.radius, 0), count("nb_samples", nb_samples)

    def _at_changed(self, explainer: Any) -> Any:
        """The method as one that takes what is changed as an input.

        Raises:
            ParameterError: If an inner value is explained, and not by a method at the same value.
        """
        scored = self.scored
        if scored.name in scored.feeds:
            return explainer
        if not isinstance(explainer, Attribution) or explainer.prepared.wrt != (scored.name,):
            raise ParameterError(
                f"{self.name} changes {scored.name!r}, a value inside the model, which only a method with the same "
                f"wrt= can explain at other numbers; got {explainer!r}."
            )
        return on_prepared(explainer, with_inputs(explainer.prepared, [scored.name]))

    @abstractmethod
    def _neighbours(self, sample: int) -> np.ndarray:
        """Changed copies of a sample, (draws, ...)."""

    @abstractmethod
    def _measure(self, maps: np.ndarray, base: np.ndarray) -> float:
        """The number of a sample, of its neighbours' maps, (draws, ...), and its own."""


class AverageStability(_Neighbours):
    """Mean distance of a sample's map from those of inputs with uniform noise on top; lower is better.

    Args:
        radius: The noise is uniform in [0, radius), in input units.
        distance: "l1", "l2", or a function of two maps that gives a number.
        nb_samples: Number of neighbours of each sample; all samples have the same noise, ``noisy_masks``.
    """

    better = "lower"
    paper = (
        "Bhatt et al., 2020, Evaluating and Aggregating Feature-based Model Explanations, arXiv 2005.00631"
    )

    distance: str | Distance = "l2"
    nb_samples: int = 20

    def _check_parameters(self) -> None:
        if not callable(self.distance) and self.distance not in _DISTANCES:
            raise ParameterError(
                f"distance={self.distance!r}: expected 'l1', 'l2' or a function of two maps."
            )
        self._distance = self.distance if callable(self.distance) else _DISTANCES[self.distance]
        self._check_neighbours(self.nb_samples)

    def _prepare(self) -> None:
        generator = np.random.default_rng([self.seed, 2])
        #: What is added to each sample, (draws, ...).
        self.noisy_masks = generator.uniform(0, self.radius, (self.draws, *self.scored.x.shape[1:]))

    def _neighbours(self, sample: int) -> np.ndarray:
        return np.asarray(self.scored.x[sample] + np.asarray(self.noisy_masks, self.scored.x.dtype))

    def _measure(self, maps: np.ndarray, base: np.ndarray) -> float:
        return float(np.mean([self._distance(phi, base) for phi in maps]))


class MaxSensitivity(_Neighbours):
    """The largest distance of a sample's map from those of inputs around it, relative to its size; lower is better.

    Args:
        radius: Neighbours are drawn uniformly, each element at most this far away, in input units.
        nb_samples: Number of neighbours of each sample.
        norm: Order of the norm: 1, 2 or ``numpy.inf``, or any that ``numpy.linalg.norm`` takes for vectors.
        perturbation: In place of uniform noise, a function of inputs (R, ...), copies of one sample, and a
            ``numpy.random.Generator`` that gives its neighbours, (R, ...).
    """

    better = "lower"
    paper = "Yeh et al., 2019, On the (In)fidelity and Sensitivity of Explanations, arXiv 1901.09392"

    radius: float = 0.02
    nb_samples: int = 10
    norm: float = 2
    perturbation: Move | None = None

    def _check_parameters(self) -> None:
        if self.perturbation is not None and not callable(self.perturbation):
            raise ParameterError("perturbation: expected a function of inputs and a generator, or None.")
        self.norm = self.norm if self.norm == np.inf else number("norm", self.norm, 0)
        self._check_neighbours(self.nb_samples)

    def _neighbours(self, sample: int) -> np.ndarray:
        generator = np.random.default_rng([self.seed, 3, sample])
        copies = np.repeat(self.scored.x[sample : sample + 1], self.draws, axis=0)
        if self.perturbation is None:
            return copies + generator.uniform(-self.radius, self.radius, copies.shape)
        moved = as_array(self.perturbation(copies, generator), "What perturbation gave")
        if moved.shape != copies.shape:
            raise ParameterError(f"perturbation gave shape {moved.shape}; expected {copies.shape}.")
        return moved

    def _measure(self, maps: np.ndarray, base: np.ndarray) -> float:
        size = float(np.linalg.norm(base.ravel(), self.norm)) or 1.0
        return float(np.linalg.norm((maps - base).reshape(len(maps), -1), self.norm, axis=1).max()) / size


def __getattr__(name: str) -> Any:
    """Says how the class was called before."""
    if name == "ExplainerMetric":
        raise ImportError(f"{__name__}.ExplainerMetric is called MethodMetric now.", name=__name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
