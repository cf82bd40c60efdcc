"""What a baseline is in the graphs of a method: numbers, an input of the graph, or a function of the sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
        sizes: Sizes that the model leaves open, and the numbers it is computed from do not, by their names.
    """

    name: str
    build: Compute
    seeded: bool = False
    sizes: Mapping[str, int] = field(default_factory=dict)


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


def shape_for_sample(kind: Any) -> tuple[int, ...]:
    """The shape of the numbers that a graph holds for one sample; empty where it holds none."""
    if isinstance(kind, Fixed):
        return kind.numbers.shape
    return kind.members.shape[1:] if isinstance(kind, Background) else ()


def open_sizes(kind: Any, dims: Sequence[int | str | None]) -> dict[str, int]:
    """Sizes that a model leaves open, and the numbers of a baseline do not, by their names.

    Args:
        kind: The baseline.
        dims: The sizes of what it is a baseline of.
    """
    if isinstance(kind, Computed):
        return dict(kind.sizes)
    return named_sizes(dims, shape_for_sample(kind))


def named_sizes(dims: Sequence[int | str | None], shape: Sequence[int]) -> dict[str, int]:
    """What named sizes are, by numbers that broadcast to them: the last axes correspond."""
    pairs = zip(reversed(dims), reversed(shape), strict=False)
    return {dim: size for dim, size in pairs if isinstance(dim, str) and size > 1}
