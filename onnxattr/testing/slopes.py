"""Slopes of a model in random directions, beside its gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from onnxattr.testing.check import Evaluate

Feeds = Mapping[str, np.ndarray]
#: How far from the inputs a second point is, where they may lie on a kink; of their magnitude.
_CLOSE = 1e-3
#: The largest difference of the gradients in both precisions that passes, or so many times what the gradient in
#: float64 changes by where inputs change by about as much as float32 rounds: ReLUs, max-pools and roundings decide.
_SINGLE, _TIMES, _ROUNDING = 1e-3, 4.0, 1e-6
#: What is found; see ``Slope``.
AGREES, ZERO, BESIDE, DIFFERS, ROUNDED, TOO_SMALL = (
    "agrees", "is 0, as slopes are", "agrees beside the inputs", "differs", "differs in float32", "too small to tell",
)  # fmt: skip


@dataclass(frozen=True)
class Slope:
    """How a gradient and slopes agree for one input.

    Attributes:
        name: The input.
        difference: The largest relative difference of gradient and slope over all directions.
        step: The half-width of the differences where it was seen.
        single: How far the gradient in float32 is from that in float64, by Euclidean norms; NaN if there is none.
        unsteady: How far the gradient in float64 is from that at inputs changed by 1e-6 of their magnitude; NaN where
            ``single`` is below 1e-3.
        verdict: "agrees"; "is 0, as slopes are"; "agrees beside the inputs", which lie on a kink; "differs";
            "differs in float32" alone; or "too small to tell", where the prediction rounds by more than the slope, as
            behind a saturated softmax.
    """

    name: str
    difference: float
    step: float
    single: float = float("nan")
    unsteady: float = float("nan")
    verdict: str = AGREES


@dataclass(frozen=True)
class Arithmetic:
    """What computes slopes, and the gradients that are compared with them.

    Attributes:
        name: "evaluator" or "onnxruntime".
        precision: The dtype that it computes in.
        steps: Half-widths of the differences, tried in turn: wide ones cross kinks, narrow ones round.
        tolerance: The largest relative difference that passes.
        forward: Runs the model.
        gradient: Runs the model with its gradient.
    """

    name: str
    precision: Any
    steps: tuple[float, ...]
    tolerance: float
    forward: Evaluate
    gradient: Evaluate

    def cast(self, feeds: Feeds) -> dict[str, Any]:
        """The feeds in its precision."""
        return {k: a.astype(self.precision) if a.dtype == np.float32 else a for k, a in feeds.items()}


@dataclass(frozen=True)
class Comparison:
    """Gradients and slopes of one model, in random directions."""

    arithmetic: Arithmetic
    single: Evaluate
    cotangents: Feeds
    rng: np.random.Generator
    directions: int

    def of(self, name: str, feeds: Feeds, bar: Any) -> Slope:
        """The slopes for one input; those close to it, where only they agree."""
        found = self._at(name, feeds, bar)
        if found.verdict != DIFFERS:
            return found
        moved = self._moved(feeds[name], _CLOSE).astype(np.float32)
        beside = self._at(name, {**feeds, name: moved}, bar)
        return replace(beside, verdict=BESIDE) if beside.verdict in (AGREES, ZERO) else found

    def _at(self, name: str, feeds: Feeds, bar: Any) -> Slope:
        """The worst of all directions."""
        given = {**feeds, **{f"{score}_cotangent": ct for score, ct in self.cotangents.items()}}
        (xbar,) = self.arithmetic.gradient([f"{name}_gradient"], self.arithmetic.cast(given))
        found = []
        for _ in range(self.directions):
            found.append(self._along(name, feeds, xbar, self.rng.normal(size=xbar.shape)))
            bar.update()
        worst = max(found, key=lambda slope: (slope.verdict == DIFFERS, slope.difference))
        if worst.verdict == AGREES and not xbar.any():
            worst = replace(worst, verdict=ZERO)
        if self.arithmetic.precision == np.float32:
            return worst
        (single,) = self.single([f"{name}_gradient"], given)
        share, unsteady = _apart(single, xbar), float("nan")
        if share > _SINGLE:
            moved = self.arithmetic.cast(given) | {name: self._moved(feeds[name], _ROUNDING)}
            unsteady = _apart(self.arithmetic.gradient([f"{name}_gradient"], moved)[0], xbar)
        rounded = worst.verdict in (AGREES, ZERO) and not (share <= _SINGLE or share <= _TIMES * unsteady)
        return replace(worst, single=share, unsteady=unsteady, verdict=ROUNDED if rounded else worst.verdict)

    def _moved(self, x: Any, share: float) -> Any:
        """Inputs changed by a share of their magnitude, in float64."""
        wide = x.astype(np.float64)
        size = float(np.sqrt(np.mean(np.square(wide)))) or 1.0
        return wide + share * size * self.rng.normal(size=x.shape)

    def _along(self, name: str, feeds: Feeds, xbar: np.ndarray, v: np.ndarray) -> Slope:
        """The least difference in one direction over the steps, up to the first that is small."""
        tolerance, tried = self.arithmetic.tolerance, []
        for step in self.arithmetic.steps:
            difference, rounding = self._difference(name, feeds, xbar, v, step)
            otherwise = TOO_SMALL if rounding > tolerance else DIFFERS
            verdict = AGREES if difference <= tolerance else otherwise
            tried.append(Slope(name, difference, step, verdict=verdict))
            if difference <= tolerance / 100:
                break
        order = [AGREES, DIFFERS, TOO_SMALL]
        return min(tried, key=lambda slope: (order.index(slope.verdict), slope.difference))

    def _difference(
        self, name: str, feeds: Feeds, xbar: np.ndarray, v: np.ndarray, step: float
    ) -> tuple[float, float]:
        """The relative difference of gradient and slope, and how much of it may be rounding of the predictions."""
        arithmetic, scores = self.arithmetic, list(self.cotangents)
        wide = arithmetic.cast(feeds)
        ends = [
            arithmetic.forward(
                scores, {**wide, name: np.asarray(wide[name] + sign * step * v, arithmetic.precision)}
            )
            for sign in (1, -1)
        ]
        slope = size = 0.0
        for score, up, down in zip(scores, *ends, strict=True):
            ct = self.cotangents[score].astype(np.float64)
            slope += float(((up.astype(np.float64) - down) * ct).sum()) / (2 * step)
            size += float((np.abs(up.astype(np.float64)) * np.abs(ct)).sum())
        parts = xbar.astype(np.float64) * v
        scale = max(abs(slope), float(np.sqrt(np.square(parts).sum())), 1e-35)
        rounding = float(np.finfo(arithmetic.precision).eps) * size / step
        return abs(float(parts.sum()) - slope) / scale, rounding / scale


def _apart(found: np.ndarray, right: np.ndarray) -> float:
    return float(np.linalg.norm(found - right)) / max(float(np.linalg.norm(right)), 1e-35)
