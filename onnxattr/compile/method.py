"""What a method is: points, weights, powers of the gradient, a rule table and a finish function. Data, no loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.registry import RuleTable
from onnxattr.autodiff.standard import STANDARD
from onnxattr.compile.baseline_kinds import OF_PATH, Computed, Fed, Fixed
from onnxattr.compile.placed_path import Path
from onnxattr.compile.placement import Placement
from onnxattr.compile.quadrature import Refinement
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.intervals import HALVES

#: (op, x, baseline, moments) -> attribution before the reducer; all of x's shape.
Finish = Callable[[OpBuilder, ir.Value, ir.Value | None, Sequence[ir.Value]], ir.Value]


@dataclass(frozen=True, eq=False)
class Factor:
    """A map at a layer that the attribution of an image is multiplied by, from a backward pass of its own.

    Attributes:
        finish: The map, from the layer's value and the gradient there.
        placement: Which layer, and how the map lies over the image.
        rules: The rule table of its backward pass.
    """

    finish: Finish
    placement: Placement
    rules: RuleTable = STANDARD


@dataclass(frozen=True, eq=False)
class Method:
    """A gradient method.

    Gradients g_k are taken at points z_k = b + alpha_k (x - b) + noise * e_k; the moments are
    M_p = sum_k weight_k * g_k^p for each p in ``powers``; ``finish`` maps (x, b, moments) to the attribution. With
    another path z_k = z(alpha_k), and g_k stands for the gradient times dz/dalpha.

    Attributes:
        finish: The last step.
        weights: One weight per point.
        alphas: One position per point on the way from baseline to x; None for x itself.
        baseline: What the caller asked for, a number for instance; once it is known how that fits the model, a tuple of
            a ``Baseline`` for each explained value. None where there is no path.
        noise: Standard deviation of the noise in input units; 0 for none.
        relative: Whether ``noise`` is a share of the range of each row's values instead.
        powers: The powers of the gradient whose moments ``finish`` needs.
        pilot: Whether the gradient at x is subtracted from every g_k first (moments about a pilot do not cancel).
        rules: The rule table of the backward pass.
        ends: One weight per point with which scores add up to f(x) - f(b); None where there is no path. Unless given,
            -1 at alpha 0 and 1 at alpha 1. A point whose gradient counts 0 may be there for its score alone.
        path: The path, where it is not the straight one from one baseline.
        placement: For a map at a layer, how it lies over the image; None where it lies over what is explained.
        factor: A map that the attribution is multiplied by.
        refinement: How points are added to those above, for each sample; None where they are the same for all.
    """

    finish: Finish
    weights: np.ndarray = field(default_factory=lambda: np.ones(1))
    alphas: np.ndarray | None = None
    baseline: Any = None
    noise: float = 0.0
    powers: tuple[int, ...] = (1,)
    pilot: bool = False
    rules: RuleTable = STANDARD
    ends: np.ndarray | None = None
    path: Path | None = None
    placement: Placement | None = None
    factor: Factor | None = None
    relative: bool = False
    refinement: Refinement | None = None

    def __post_init__(self) -> None:
        if self.ends is None and self.alphas is not None:
            ends = (self.alphas == 1.0).astype(np.float32) - (self.alphas == 0.0).astype(np.float32)
            object.__setattr__(self, "ends", ends)

    @property
    def points(self) -> int:
        """Number of points per input."""
        return len(self.weights)

    @property
    def counting(self) -> np.ndarray:
        """The points whose gradients count; the others are there for their scores."""
        return np.flatnonzero(self.weights)

    def dtype_of_moments(self, value: ir.Value) -> ir.DataType | None:
        """The type of the moments of the gradient by a value: float32 for squares of half precision.

        The square of 2e-4 is 0 in float16, that of 300 infinite.
        """
        squared = self.powers != (1,) and value.dtype in HALVES
        return ir.DataType.FLOAT if squared else value.dtype

    @property
    def seeded(self) -> bool:
        """Whether numbers are drawn."""
        if self.path is not None and self.path.seeded:
            return True
        return self.noise > 0 or any(isinstance(b, Computed) and b.seeded for b in self.baseline or ())

    @property
    def fixed(self) -> bool:
        """Whether there is no baseline, or the same for each sample."""
        return all(isinstance(baseline, (Fixed, *OF_PATH)) for baseline in self.baseline or ())

    @property
    def key(self) -> tuple[str, ...] | None:
        """What tells methods apart that have other baselines; None where numbers are part of the graph."""
        kinds = self.baseline or ()
        if any(isinstance(kind, (Fixed, *OF_PATH)) for kind in kinds):
            return None
        return tuple(kind.name if isinstance(kind, Computed) else "fed" for kind in kinds)

    def fed(self, every: bool) -> Method:
        """The same with baselines that are inputs of the graph: every one, or those that depend on the sample."""
        if self.baseline is None:
            return self
        kept = () if every else (Fixed, *OF_PATH)
        return replace(self, baseline=tuple(b if isinstance(b, kept) else Fed() for b in self.baseline))

    @property
    def single(self) -> bool:
        """Whether the only point is x itself."""
        return self.alphas is None and self.noise == 0.0 and not self.pilot


def __getattr__(name: str) -> Any:
    """Says how the class of methods was called before."""
    if name == "Definition":
        raise ImportError("onnxattr.compile.method.Definition is called Method now.", name=__name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def first_moment(
    op: OpBuilder, x: ir.Value, baseline: ir.Value | None, moments: Sequence[ir.Value]
) -> ir.Value:
    """phi = M_1."""
    return moments[0]


def magnitude(op: OpBuilder, x: ir.Value, baseline: ir.Value | None, moments: Sequence[ir.Value]) -> ir.Value:
    """phi = |M_1|."""
    return op.Abs(moments[0])


def times_input(
    op: OpBuilder, x: ir.Value, baseline: ir.Value | None, moments: Sequence[ir.Value]
) -> ir.Value:
    """phi = x * M_1."""
    return op.Mul(x, moments[0])


def times_difference(
    op: OpBuilder, x: ir.Value, baseline: ir.Value | None, moments: Sequence[ir.Value]
) -> ir.Value:
    """phi = (x - b) * M_1."""
    return op.Mul(op.Sub(x, baseline), moments[0])


def unbiased_variance(samples: int) -> Finish:
    """phi = n / (n - 1) * (M_2 - M_1^2), with moments about a pilot close to the mean."""

    def finish(
        op: OpBuilder, x: ir.Value, baseline: ir.Value | None, moments: Sequence[ir.Value]
    ) -> ir.Value:
        first, second = moments
        return op.Mul(op.Sub(second, op.Mul(first, first)), samples / (samples - 1))

    return finish
