"""Sanity checks: explanations must change when the model's weights, or the class asked about, do."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from dataclasses import field
from typing import Any

import numpy as np

from onnxattr.attributions.base import Attribution
from onnxattr.attributions.options import is_integer
from onnxattr.attributions.parameter_checks import count
from onnxattr.errors import ModelError, NonFiniteError, NonFiniteWarning, ParameterError
from onnxattr.loading.prepared import Prepared
from onnxattr.metrics.maps import aligned
from onnxattr.metrics.scored import on_prepared
from onnxattr.metrics.similarity import spearman, ssim
from onnxattr.metrics.stability import MethodMetric
from onnxattr.metrics.weights import DRAWS, Draw, WeightLayer, weight_layers, with_weights_drawn

SIMILARITIES = ("spearman", "ssim")
_PAPER = "Adebayo et al., 2018, Sanity Checks for Saliency Maps, arXiv 1810.03292"


class ModelRandomizationStrategy(ABC):
    """Which weights of a model are drawn anew."""

    draw: str | Draw = "shuffle"

    @abstractmethod
    def chosen(self, layers: list[WeightLayer]) -> list[WeightLayer]:
        """The layers whose weights are drawn anew, of all that have some, from the input to the output."""

    def randomize(self, prepared: Prepared, seed: int) -> Prepared:
        """The model with weights drawn anew; the model itself stays as it is."""
        layers = weight_layers(prepared)
        chosen = self.chosen(layers)
        if not chosen:
            warnings.warn(
                f"None of the {len(layers)} layers with weights is drawn anew, so that maps cannot differ. Raise "
                "stop_layer.",
                stacklevel=3,
            )
        return with_weights_drawn(prepared, chosen, self.draw, seed)


class ProgressiveLayerRandomization(ModelRandomizationStrategy):
    """Layers from the output downwards up to some layer, which keeps its weights.

    Args:
        stop_layer: The name of a layer, its place in the order of the walk, or the share of the layers, in [0, 1],
            that are drawn anew.
        reverse: Whether layers are walked from the output; else from the input.
        draw: "shuffle": each weight's own values in another order, so that the model's scale stays; "normal": of its
            mean and standard deviation; "uniform" in [0, 1), as Xplique; or a function (name, weights, generator) that
            gives weights of the same shape.

    Raises:
        ParameterError: If a parameter is outside its domain.
    """

    def __init__(self, stop_layer: str | int | float, reverse: bool = True, draw: str | Draw = "shuffle"):
        share = isinstance(stop_layer, float) and 0 <= stop_layer <= 1
        if not (isinstance(stop_layer, str) or is_integer(stop_layer, at_least=0) or share):
            raise ParameterError(
                f"stop_layer={stop_layer!r}: expected a layer's name, its place from 0 on, or a share in [0.0, 1.0]."
            )
        if not callable(draw) and draw not in DRAWS:
            raise ParameterError(f"draw={draw!r}: expected one of {list(DRAWS)} or a function.")
        self.stop_layer, self.reverse, self.draw = stop_layer, bool(reverse), draw

    def chosen(self, layers: list[WeightLayer]) -> list[WeightLayer]:
        """The layers before the one where the walk stops.

        Raises:
            ParameterError: If no layer has the name.
        """
        walk = layers[::-1] if self.reverse else layers
        if isinstance(self.stop_layer, str):
            names = [layer.name for layer in walk]
            if self.stop_layer not in names:
                raise ParameterError(
                    f"stop_layer={self.stop_layer!r} is no layer with weights; there are {names[:40]}."
                )
            return walk[: names.index(self.stop_layer)]
        if isinstance(self.stop_layer, float):
            return walk[: int(len(walk) * self.stop_layer)]
        return walk[: self.stop_layer]


class _Sanity(MethodMetric):
    """Similarity of explanations before and after a change that should change them.

    Args:
        activation: "sigmoid", "softmax" or None: what is put behind the output. A method explains its own model.
        seed: Seed of the draws.
        similarity: "spearman": rank correlation, of images averaged over channels; "ssim": structural similarity of
            images.
    """

    better, paper = "lower", _PAPER

    seed: int = field(default=42, kw_only=True)
    similarity: str = field(default="spearman", kw_only=True)

    def _check_parameters(self) -> None:
        self.draw_seed = count("seed", self.seed, at_least=0)
        if self.similarity not in SIMILARITIES:
            raise ParameterError(f"similarity={self.similarity!r}: expected one of {SIMILARITIES}.")

    def _prepare(self) -> None:
        if self.similarity == "ssim" and self.scored.x.ndim != 4:
            raise ParameterError(
                f"similarity='ssim' compares images, and the inputs have shape {self.scored.x.shape}; take 'spearman'."
            )

    @property
    def explanations(self) -> int:
        """Explanations of one evaluation: each sample before and after."""
        return 2 * self.scored.rows

    def _own_maps(self, explainer: Any, what: str) -> np.ndarray:
        """The maps of the inputs as they are, (N, ...), of the inputs' rank.

        Raises:
            NonFiniteError: If one is not finite.
        """
        samples = np.arange(self.scored.rows)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NonFiniteWarning)  # the error says more
            try:
                maps = self._explain(explainer, None, samples)
            except NonFiniteError as error:
                raise NonFiniteError(f"{what}: {error}") from error
        return aligned(maps.astype(np.float32), self.scored.x, self.scored.channels)

    def _similarities(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        axis = self.scored.channel_axis
        if self.similarity == "ssim":
            assert axis is not None
            return ssim(np.moveaxis(before, axis, -1), np.moveaxis(after, axis, -1))
        if axis is not None:
            before, after = before.mean(axis=axis), after.mean(axis=axis)
        return spearman(before.reshape(len(before), -1), after.reshape(len(after), -1))


class ModelRandomizationMetric(_Sanity):
    """Similarity of a method's maps on the model and on the same model with weights drawn anew; lower is better.

    Maps that stay as they are do not show what the model has learnt. It is called with a method.

    Args:
        model: A path, bytes, ``onnx.ModelProto``, ``onnx_ir.Model`` or Keras model, or a method, in whose model weights
            are drawn anew.
        randomization_strategy: Which weights are drawn anew; None for ``ProgressiveLayerRandomization(0.25)``.
    """

    by_position = ("batch_size", "activation", "seed", "similarity")

    randomization_strategy: ModelRandomizationStrategy | None = None
    batch_size: int | None = field(default=MethodMetric.batch_size, kw_only=True)

    def _prepare(self) -> None:
        super()._prepare()
        self._strategy = self.randomization_strategy or ProgressiveLayerRandomization(0.25)

    def of_samples(self, explanations: Any) -> np.ndarray:
        """The similarity of each sample's maps, (N,), of a method.

        Raises:
            ModelError: If the method's model has no weights in initializers.
            NonFiniteError: If a map is not finite.
            ParameterError: If it is called with anything but a method.
        """
        method = self._method(explanations)
        drawn = self._strategy.randomize(method.prepared, self.draw_seed)
        before = self._own_maps(method, f"{method.name} on the model")
        after = self._own_maps(on_prepared(method, drawn), _on_drawn(method))
        return self._similarities(before, after)

    def detailed_evaluate(self, explainer: Any, stages: int | None = None) -> dict[str, float]:
        """The mean similarity as layer after layer is drawn anew, from the output downwards.

        Args:
            explainer: A method.
            stages: How many layers, spread evenly, the maps are compared at; None for every layer.

        Returns:
            By the name of the last layer drawn anew; all above it are too.

        Raises:
            ModelError: If the method's model has no weights in initializers.
            NonFiniteError: If a map is not finite.
            ParameterError: If it is called with anything but a method.
        """
        method = self._method(explainer)
        layers = weight_layers(method.prepared)[::-1]
        wanted = len(layers) if stages is None else min(count("stages", stages), len(layers))
        ends = np.unique(np.linspace(len(layers) / wanted, len(layers), wanted).round().astype(int))
        before, found = self._own_maps(method, f"{method.name} on the model"), {}
        with self.scored.progress(len(ends), self.name, unit="layer") as bar:
            for end in ends:
                drawn = with_weights_drawn(method.prepared, layers[:end], self._strategy.draw, self.draw_seed)
                after = self._own_maps(on_prepared(method, drawn), _on_drawn(method))
                found[layers[end - 1].name] = float(self._similarities(before, after).mean())
                bar.update(1)
        return found

    def _method(self, explainer: Any) -> Attribution:
        if not isinstance(explainer, Attribution):
            raise ParameterError(
                f"{self.name} takes a method of this package, whose model it draws anew; got "
                f"{type(explainer).__name__}."
            )
        quiet: Attribution = self._quiet(explainer)
        return quiet


class RandomLogitMetric(_Sanity):
    """Similarity of a method's maps for the target and for another class drawn at random; lower is better.

    Args:
        targets: Weights, one-hot rows, labels (N,), or None for the predicted class. The class of a sample is that of
            its largest weight.
        classes: The other classes, (N,), in place of drawn ones.

    Raises:
        ModelError: If the model cannot be read, rows are not computed apart, several inputs are explained, or the
            output has no classes to choose among.
    """

    by_position = ("activation", "seed", "similarity")

    similarity: str = field(default="ssim", kw_only=True)
    classes: Any = field(default=None, kw_only=True)

    def _prepare(self) -> None:
        super()._prepare()
        weights = self.scored.weights
        if weights.ndim != 2 or weights.shape[1] < 2:
            raise ModelError(
                f"The output has shape {weights.shape}: there is no other class. RandomLogitMetric takes (N, classes)."
            )
        if self.classes is None:
            generator = np.random.default_rng([self.draw_seed, 5])
            drawn = generator.integers(0, weights.shape[1] - 1, len(weights))
            self.classes = drawn + (drawn >= weights.argmax(axis=1))
        else:
            self.classes = np.asarray(self.classes)
        fits = self.classes.shape == (len(weights),) and self.classes.dtype.kind in "iu"
        if not fits or not ((self.classes >= 0) & (self.classes < weights.shape[1])).all():
            raise ParameterError(f"classes: expected {len(weights)} labels from 0 to {weights.shape[1] - 1}.")
        same = np.flatnonzero(self.classes == weights.argmax(axis=1))
        if len(same):
            raise ParameterError(
                f"classes: of sample {same[0]} it is {self.classes[same[0]]}, the class that is explained itself, "
                "whose two maps are the same; expected another class of each sample."
            )

    def of_samples(self, explanations: Any) -> np.ndarray:
        """The similarity of each sample's two maps, (N,), of a method or a function (inputs, targets).

        Raises:
            NonFiniteError: If a map is not finite.
        """
        explainer, scored = self._quiet(explanations), self.scored
        before = self._own_maps(explainer, "For the target")
        asked = scored.weights, scored.labels
        try:
            scored.weights = np.eye(asked[0].shape[1], dtype=asked[0].dtype)[self.classes]
            scored.labels = self.classes
            after = self._own_maps(explainer, "For another class")
        finally:
            scored.weights, scored.labels = asked
        return self._similarities(before, after)


def _on_drawn(method: Attribution) -> str:
    return f"{method.name} on the model with weights drawn anew (draw='shuffle' keeps their scale)"
