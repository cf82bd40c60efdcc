"""What a baseline is in the graphs of a method: numbers, an input of the graph, or a function of the sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder

#: (op, x, seed, sample, position) -> baseline of x's shape, or one that broadcasts to it; ``seed``, an int64 scalar,
#: and ``sample``, (N,) int64, are None where nothing is drawn.
Compute = Callable[[OpBuilder, ir.Value, ir.Value | None, ir.Value | None, int], ir.Value]


@dataclass(frozen=True, eq=False)
class Fixed:
    """The same numbers for each sample; they broadcast to a sample's shape."""

    numbers: np.ndarray


@dataclass(frozen=True, eq=False)
class Fed:
    """An input of the graph, of one row or of as many as there are samples.

    Attributes:
        given: Where the rows come from: an array (rows, ...), or a function that gives one for the inputs; None where
            they are not known here, as in an exported file.
    """

    given: np.ndarray | Callable[..., Any] | None = None


@dataclass(frozen=True, eq=False)
class Computed:
    """A function of the sample, computed in the graph.

    Attributes:
        name: Which function, with its parameters: equal names are equal functions.
        build: Appends it.
        seeded: Whether it draws numbers.
    """

    name: str
    build: Compute
    seeded: bool = False


@dataclass(frozen=True, eq=False)
class Background:
    """A set of baselines, (members, ...); a path says which member starts each of its points."""

    members: np.ndarray


@dataclass(frozen=True, eq=False)
class Along:
    """What a path of its own needs to know of an explained value: the axes that neighbours lie along."""

    axes: tuple[int, ...]


#: What a path of its own looks at by itself.
OF_PATH = (Background, Along)
#: The baseline of one explained value.
Baseline = Fixed | Fed | Computed | Background | Along
