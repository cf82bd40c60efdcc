"""What every metric shares: what it says of itself, its inputs, its checks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import InitVar, field
from typing import Any, ClassVar

import numpy as np

from onnxattr.attributions.options import OPTIONS, Options
from onnxattr.attributions.parameters import Parameters
from onnxattr.metrics.maps import aligned
from onnxattr.metrics.scored import ScoredInputs
from onnxattr.running.held_sessions import HoldsSessions


class Metric(ABC):
    """A number that says how good explanations are.

    Attributes:
        better: "lower" or "higher": which numbers are the better ones; "" where it is a description, not a judgement.
        paper: Where it comes from.
        takes: "maps" if it is called with explanations, "method" if it explains changed inputs itself.
    """

    better: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    takes: ClassVar[str] = "maps"

    @abstractmethod
    def of_samples(self, explanations: Any) -> np.ndarray:
        """The number of each sample, (N,), float64."""

    def evaluate(self, explanations: Any) -> float:
        """The mean over samples."""
        return float(np.mean(self.of_samples(explanations)))

    __call__ = evaluate

    @property
    def name(self) -> str:
        """The metric's name."""
        return type(self).__name__

    @property
    def passes(self) -> int:
        """How many forward passes of single samples one evaluation takes."""
        return 0

    @property
    def explanations(self) -> int:
        """How many explanations of single samples one evaluation makes itself."""
        return 0


class ModelMetric(Metric, Parameters, Options, HoldsSessions):
    """A metric that looks at the model's scores on inputs.

    Args:
        model: A path, bytes, ``onnx.ModelProto``, ``onnx_ir.Model`` or Keras model; or a method of this package, whose
            model and operator are taken.
        inputs: Array (N, ...), or what else ``explain`` takes. Of a model with several inputs the one that ``wrt``
            names is changed, the others stay as they are.
        targets: One-hot rows or any weights of the output's shape, integer labels (N,), or None for the class that is
            predicted on the inputs as they are.
        batch_size: Most rows in one run of the model; None for no limit. Numbers do not depend on it.
        operator: The score, as every method's.
        activation: "sigmoid", "softmax" or None: what is put behind the model's output, for instance to measure drops
            of probability on a model of logits.
        output_layer: Where to cut the model, as every method's.
        seed: Seed of what the metric draws. That of a method given as the model, where no other is given.

    Raises:
        ModelError: If the model cannot be read, rows are not computed apart, or several inputs are explained.
        ParameterError: If a parameter is outside its domain.
        ShapeError: If the inputs do not fit the model.
        TargetError: If the targets do not fit its output.
    """

    by_position: ClassVar[tuple[str, ...]] = ("operator", "activation")

    model: InitVar[Any]
    inputs: InitVar[Any]
    targets: InitVar[Any] = None
    batch_size: int | None = 64
    operator: Any = field(default=None, kw_only=True)
    activation: str | None = field(default=None, kw_only=True)
    output_layer: str | int | None = field(default=None, kw_only=True)

    def __post_init__(self, model: Any, inputs: Any, targets: Any) -> None:
        self._check_parameters()
        # A method that is given as the model keeps its own options but for those that are given here.
        options = {
            name: getattr(self, name) for name in ("output_layer", *OPTIONS) if name in self.given_names
        }
        self.scored = ScoredInputs(
            model, inputs, targets, self.batch_size, self.operator, self.activation, options
        )
        self.seed = self.scored.method.seed
        self._prepare()

    def _check_parameters(self) -> None:
        """Checks the metric's own parameters, before the model is read."""
        return

    def _prepare(self) -> None:
        """What the metric makes of the inputs once, when they and the model have been read."""
        return

    def _maps(self, explanations: Any) -> np.ndarray:
        """The explanations, checked, of the inputs' rank."""
        scored = self.scored
        return aligned(explanations, scored.x, scored.channels, scored.order)
