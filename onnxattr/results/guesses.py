"""The classes that a model gives most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxattr.errors import ParameterError

if TYPE_CHECKING:
    from onnxattr.results.explanation import Explanation


@dataclass(frozen=True)
class Guess:
    """A class with what the model gives for it.

    Attributes:
        label: The class.
        name: Its name, or "class 3" where it has none.
        value: What the model gives.
        probability: ``value`` where that is one, the softmax of logits; None where the model's file does not say what
            its output is.
    """

    label: int
    name: str
    value: float
    probability: float | None


def guesses(explanation: Explanation, count: int = 5) -> list[list[Guess]]:
    """For each sample the classes that the model gives most, the largest first.

    Raises:
        ParameterError: If the output tells no classes apart, or ``count`` is no number of classes.
    """
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
        raise ParameterError(f"count={count!r}: expected an integer from 1 on.")
    values = explanation.predictions
    if values is None:
        raise ParameterError("The output tells no classes apart, so that none is the first.")
    probabilities = _probabilities(values, explanation.prediction_kind)
    found = []
    for row, array in enumerate(values):
        # Equal values in the order of their labels; NaN last.
        order = np.argsort(-np.nan_to_num(array, nan=-np.inf), kind="stable")[:count]
        found.append(
            [
                Guess(
                    int(k),
                    _name_of(explanation, int(k)),
                    float(array[k]),
                    None if probabilities is None else float(probabilities[row, k]),
                )
                for k in order
            ]
        )
    return found


def _probabilities(values: np.ndarray, kind: str) -> np.ndarray | None:
    if kind == "probabilities":
        return values
    if kind != "logits":
        return None
    powers = np.exp(values.astype(np.float64) - values.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _name_of(explanation: Explanation, label: int) -> str:
    names = explanation.classes
    return names[label] if label < len(names) else f"class {label}"
