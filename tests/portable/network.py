"""What is run in every runtime: a model with its rows and the methods that explain them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from support.methods import NEEDED, ON_ANY_MODEL

NOISY = ("SmoothGrad", "SquareGrad", "VarGrad")
REPEATED = ("IntegratedGradients", *NOISY)
NOISE = 0.2


@dataclass(frozen=True)
class Variant:
    """What an explainer is asked in one export.

    Attributes:
        note: What is special, for the table.
        target: Labels (N,), -1 for the predicted class, or weights (N, classes).
        baseline: (1 or N, ...) float32 where the file takes its baseline as an input.
    """

    note: str
    target: np.ndarray
    baseline: np.ndarray | None = None


@dataclass(frozen=True)
class Network:
    """A model and its rows.

    Attributes:
        model: The ONNX model.
        rows: (N, ...) float32.
        target: Labels, -1 for the predicted class.
        methods: The methods with their own parameters.
        seed: Of the noise.
        output_layer: Where the model is cut.
        chunk: Points that a loop takes at a time: such that there are several chunks, the last of them shorter.
        variants: More exports of a method.
    """

    model: onnx.ModelProto
    rows: np.ndarray
    target: tuple[int, ...]
    methods: dict[str, dict[str, Any]]
    seed: int = 0
    output_layer: Any = None
    chunk: int = 4
    variants: dict[str, list[Variant]] = field(default_factory=dict)


@dataclass
class Entry:
    """One explainer: what a runtime needs to run it, and what has to come out."""

    network: str
    method: str
    rendering: str
    variant: Variant
    expected: dict[str, np.ndarray]

    @property
    def name(self) -> str:
        """Of its files."""
        parts = [self.network, self.method, self.rendering, *self.variant.note.split()]
        return "-".join(parts)


def all_methods(steps: int, nb_samples: int, **path: Any) -> dict[str, dict[str, Any]]:
    """The methods that need a model alone, with the number of points of those that have several."""
    own = {"IntegratedGradients": {"steps": steps, **path}}
    own |= {name: {"nb_samples": nb_samples, "noise": NOISE} for name in NOISY}
    return {name: own.get(name, {}) for name in ON_ANY_MODEL if name not in NEEDED}
