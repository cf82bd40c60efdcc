"""A deployed model file inside a package, and inputs of its kind."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from real_models.inputs import Inputs


@dataclass(frozen=True)
class Real:
    """A model file inside a package.

    Attributes:
        package: The package that carries it.
        file: The file, below the package's folder; a function for weights that are to become a model.
        inputs: Makes its inputs from a seeded generator.
        wrt: The float value to differentiate at, for models whose own inputs are integers; None for all float inputs.
        outputs: The outputs that get a cotangent; None for all float ones.
        step: Half-width of differences in float64: hardly a ReLU changes its side on so short a way. Smooth networks
            take a longer one, which float64 rounds less.
        note: What is worth knowing of it.
    """

    package: str
    file: str | Callable[[], onnx.ModelProto]
    inputs: Callable[[np.random.Generator], Inputs]
    wrt: str | None = None
    outputs: tuple[str, ...] | None = None
    step: float = 1e-8
    note: str = ""

    @property
    def installed(self) -> bool:
        """Whether its package is there."""
        return importlib.util.find_spec(self.package) is not None

    def load(self) -> onnx.ModelProto:
        """The model; one with ``wrt`` starts there."""
        if callable(self.file):
            model = self.file()
        else:
            folders = importlib.util.find_spec(self.package).submodule_search_locations
            model = onnx.load(Path(next(iter(folders))) / self.file)
        if self.wrt is not None:
            start_at(model, self.wrt)
        return model


def start_at(model: onnx.ModelProto, name: str) -> None:
    """Makes a value inside a model an input of it."""
    typed = {value.name: value for value in onnx.shape_inference.infer_shapes(model).graph.value_info}
    (producer,) = (node for node in model.graph.node if name in node.output)
    model.graph.node.remove(producer)
    model.graph.input.append(typed[name])
