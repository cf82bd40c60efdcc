"""What the driver is given and gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

#: The model's inputs, and what else a graph takes, by name.
Feeds = dict[str, np.ndarray]
#: Called with the number of gradients done.
Advance = Callable[[int], Any]


@dataclass(frozen=True)
class Run:
    """What ``Driver.explain`` found for its samples.

    Attributes:
        maps: The attributions of each explained value.
        prediction: The model's output where it was computed: for labels, and for methods that look at the input itself.
        delta: How much the attributions do not add up to the difference, (N,); None without a path.
        gap: Its size relative to that of the difference, (N,); None without a path.
        difference: f(x) - f(b), (N,); None without a path, or where it is not known.
        spent: How many gradients each sample took, (N,), where that differs; else None.
        scores: The explained scores, (N,), where they were computed and are no sum of outputs; else None.
    """

    maps: list[np.ndarray]
    prediction: np.ndarray | None
    delta: np.ndarray | None = None
    gap: np.ndarray | None = None
    difference: np.ndarray | None = None
    spent: np.ndarray | None = None
    scores: np.ndarray | None = None
