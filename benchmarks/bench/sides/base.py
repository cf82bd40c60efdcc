"""What every side offers: functions to time, by the name of who computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from benchmarks.bench.cases import Case

#: A computation, and its result as an array in the layout of the ONNX file.
Run = Callable[[], np.ndarray]
POINTS = 50
#: The most (sample, point) pairs of one run.
BATCH = 32
NOISE = 0.2


class UnavailableError(Exception):
    """The library cannot do this; the message says why."""


class Side:
    """A library with one network.

    Attributes:
        tasks: What it can be asked for.
    """

    tasks: ClassVar[tuple[str, ...]] = ()

    def __init__(self, case: Case, threads: int):
        """Loads the network.

        Args:
            case: Which.
            threads: For one operation; 0 for as many as there are cores.
        """
        self.case, self.threads = case, threads

    def prepare(self, task: str, rows: int, points: int = POINTS) -> dict[str, Run]:
        """Functions that compute the task for so many samples, by the name of who computes.

        Raises:
            UnavailableError: If the library has no such thing.
        """
        raise NotImplementedError

    def samples(self, rows: int) -> np.ndarray:
        """The same random samples on every side."""
        shape = (rows, *self.case.shape)
        return np.random.default_rng(0).uniform(self.case.low, 1, shape).astype(np.float32)
