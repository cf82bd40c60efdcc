"""The parameters that every method takes by keyword."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxattr.compile.noise import SEEDS
from onnxattr.compile.relus import POLICIES
from onnxattr.errors import ParameterError
from onnxattr.loading.prepared import Outputs, Wrt
from onnxattr.loading.verify import check_choice
from onnxattr.running.finite import check_mode
from onnxattr.session import check_providers


class Unasked(str):
    """A parameter's default, told apart from the same text passed by a caller."""

    __slots__ = ()


#: Reducers of methods by default: they act on images alone.
MEAN, MAX = Unasked("mean"), Unasked("max")


@dataclass(frozen=True)
class Options:
    """Options that every method takes beside Xplique's, by keyword; see ``Attribution``."""

    wrt: Wrt = None
    output: Outputs = None
    providers: Sequence[Any] | None = None
    seed: int = 0
    relu_policy: str = "all"
    channel_axis: int | None = None
    neuron: int | tuple[int, ...] | None = None
    feature_mask: Any = None
    progress: bool | None = None
    precision: str = "model"
    check_finite: str = "warn"
    verify: bool | str = "auto"
    sample: Any = None

    def check(self) -> None:
        """Checks what can be checked without a model.

        Raises:
            ParameterError: If a parameter is outside its domain.
        """
        check_mode(self.check_finite)
        check_choice(self.verify)
        if self.relu_policy not in POLICIES:
            raise ParameterError(f"relu_policy={self.relu_policy!r}: expected one of {POLICIES}.")
        if not is_integer(self.seed, at_least=0) or self.seed >= SEEDS:
            raise ParameterError(f"seed={self.seed!r}: expected an integer from 0 to {SEEDS - 1}.")
        if self.channel_axis is not None and self.channel_axis not in (-3, -2, -1, 1, 2, 3):
            raise ParameterError(
                f"channel_axis={self.channel_axis!r}: expected 1, 2 or 3 (or -1 for the last axis)."
            )
        self._check_wrt()
        self._check_output()
        self._check_neuron()
        if self.providers is not None:
            check_providers(self.providers)

    def _check_output(self) -> None:
        names = self.output
        if names is None or (isinstance(names, str) and names):
            return
        texts = isinstance(names, (list, tuple)) and names and all(isinstance(name, str) for name in names)
        if not texts or len(set(names)) < len(names):
            raise ParameterError(
                f"output={names!r}: expected the name of an output of the model, or for an operator that computes with "
                "several a list of names, each once."
            )

    def _check_wrt(self) -> None:
        names = self.wrt
        if names is None or callable(names) or is_place(names):
            return
        if not isinstance(names, Sequence) or not names or not all(map(is_place, names)):
            raise ParameterError(
                f"wrt={names!r}: expected the name or index of a layer, the name of a value or node, several of them, "
                "or None."
            )
        if len(set(names)) < len(names):
            raise ParameterError(f"wrt={names!r}: name every value once.")

    def _check_neuron(self) -> None:
        parts = self.neuron if isinstance(self.neuron, (tuple, list)) else (self.neuron,)
        if self.neuron is not None and not (parts and all(map(is_integer, parts))):
            raise ParameterError(
                f"neuron={self.neuron!r}: expected an integer, the channel or unit, or a tuple of integers, the index "
                "of one unit in a sample's output."
            )


def is_place(value: Any) -> bool:
    """Whether a value can say where in a model: a name, or the index of a layer."""
    return isinstance(value, str) or is_integer(value)


def is_integer(value: Any, at_least: int | None = None) -> bool:
    """Whether a value is an integer, and not a boolean, from some number on."""
    integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return integer and (at_least is None or value >= at_least)
