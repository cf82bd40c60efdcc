"""Takes more points on the path, sample by sample, until the attributions add up to f(x) - f(b)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from onnxattr.compile import quadrature
from onnxattr.compile.quadrature import Refinement
from onnxattr.compile.renderings.driven import ALPHA, DIFFERENCE, POINTS, ROW, WEIGHTS
from onnxattr.running.given.arrays import take

if TYPE_CHECKING:
    from onnxattr.running.driver import Driver
    from onnxattr.running.runs import Advance, Feeds

#: About how many bytes of gradients are kept at a time until it is known what each counts, of samples that take as many
#: points as usual; and of samples that take as many as they may.
_KEPT_BYTES, _USUAL_POINTS, _MOST_BYTES = 2**28, 64, 2**30


def refined(
    driver: Driver, fed: Feeds, samples: int, first_sample: int, advance: Advance
) -> tuple[Feeds, np.ndarray]:
    """The moments of all samples, and how many gradients each sample took, (N,).

    Args:
        driver: The driver of the method, which says how points are added.
        fed: The model's inputs, what to explain and baselines, a row for each sample.
        samples: Number of samples.
        first_sample: Position of the first sample in the whole input.
        advance: Called with the number of gradients done.
    """
    refinement = driver.request.method.refinement
    assert refinement is not None
    if not refinement.adaptive:
        return _finer_everywhere(driver, refinement, fed, samples, first_sample, advance)
    of_sample = sum(array.nbytes // len(array) for array in fed.values() if array.ndim)
    group = max(
        1, min(_KEPT_BYTES // (of_sample * _USUAL_POINTS), _MOST_BYTES // (of_sample * refinement.most))
    )
    found: list[_Path] = []
    for start in range(0, samples, group):
        part = slice(start, min(start + group, samples))
        found += _paths(driver, refinement, take(fed, part), part.stop - start, advance)
    moments = {name: np.concatenate([path.moments[name] for path in found]) for name in found[0].moments}
    return moments, np.array([len(path.alphas) for path in found])


def _finer_everywhere(
    driver: Driver, refinement: Refinement, fed: Feeds, samples: int, first_sample: int, advance: Advance
) -> tuple[Feeds, np.ndarray]:
    """More points on the whole path of the samples that miss by more than the tolerance."""
    method, steps = driver.request.method, refinement.steps
    totals = driver.moments_at(method, fed, samples, first_sample, advance)
    missing, spent = np.arange(samples), np.full(samples, steps)
    while True:
        found = driver.finish(take(fed | totals, missing), len(missing))
        missing = missing[found[-1] > refinement.tolerance]
        finer = quadrature.finer(refinement.rule, steps)
        if not missing.size or spent[missing[0]] + len(finer.alphas) > refinement.most:
            return totals, spent
        table = replace(
            method,
            alphas=finer.alphas,
            weights=finer.weights,
            ends=np.zeros(len(finer.alphas), np.float32),
        )
        added = driver.moments_at(table, take(fed, missing), len(missing), first_sample, advance)
        for name in totals.keys() - {DIFFERENCE}:
            totals[name][missing] = totals[name][missing] * finer.kept + added[name]
        spent[missing] += len(finer.alphas)
        steps = finer.steps


def _paths(driver: Driver, refinement: Refinement, fed: Feeds, samples: int, advance: Advance) -> list[_Path]:
    """The points of each sample, placed where its intervals miss their own change of the score."""
    paths = [_Path() for _ in range(samples)]
    start = quadrature.trapezoid(refinement.steps)[0]
    wanted = dict.fromkeys(range(samples), start)
    while wanted:
        sample = np.repeat(list(wanted), [len(alphas) for alphas in wanted.values()])
        alphas = np.concatenate(list(wanted.values()))
        gradients, slopes, scores = _gradients_at(driver, fed, sample, alphas, advance)
        for row in wanted:
            own = np.flatnonzero(sample == row)
            paths[row].add(alphas[own], slopes[own], scores[own], take(gradients, own))
        after = {row: more for row in wanted if len(more := paths[row].more(refinement))}
        for row in wanted.keys() - after.keys():
            paths[row].close(driver)
        wanted = after
    return paths


def _gradients_at(
    driver: Driver, fed: Feeds, sample: np.ndarray, alphas: np.ndarray, advance: Advance
) -> tuple[Feeds, np.ndarray, np.ndarray]:
    """The gradients at points of a path, each by itself, their sums times x - b, (R,), and the scores there, (R,).

    Args:
        driver: The driver of the method.
        fed: What the step takes that has a row for each sample.
        sample: The sample of each point.
        alphas: Where the points lie.
        advance: Called with the number of gradients done after each chunk.
    """
    parts = []
    for part in driver.chunks(fed, len(sample)):
        row = np.arange(part.stop - part.start)
        points = {ROW: row, ALPHA: alphas[part].astype(np.float32)}
        parts.append(driver.graphs.gradients.run(take(fed, sample[part]) | points))
        advance(len(row))
    *gradients, slopes, scores = (np.concatenate(found) for found in zip(*parts, strict=True))
    names = driver.graphs.gradients.outputs[: len(gradients)]
    return dict(zip(names, gradients, strict=True)), slopes[:, 0], scores[:, 0]


def _weighted(driver: Driver, gradients: Feeds, weights: np.ndarray) -> Feeds:
    """The moments of one sample from its gradients at points and what they count."""
    fed = {f"{name}{POINTS}": array for name, array in gradients.items()}
    found = driver.graphs.sum.run(fed | {WEIGHTS: weights[None].astype(driver.graphs.weights_dtype)})
    return dict(zip(driver.graphs.sum.outputs, found, strict=True))


@dataclass
class _Path:
    """The points of one sample in the order in which they were taken.

    Attributes:
        alphas: Where they lie.
        slopes: The sum of the gradient times x - b at each: the change of the score with alpha.
        scores: The score at each.
        parts: The gradients, as they came, until the path is closed.
        moments: What they add up to, and f(x) - f(b), from then on.
    """

    alphas: np.ndarray = field(default_factory=lambda: np.empty(0))
    slopes: np.ndarray = field(default_factory=lambda: np.empty(0))
    scores: np.ndarray = field(default_factory=lambda: np.empty(0))
    parts: list[Feeds] = field(default_factory=list)
    moments: Feeds = field(default_factory=dict)

    def add(self, alphas: np.ndarray, slopes: np.ndarray, scores: np.ndarray, gradients: Feeds) -> None:
        """Adds points."""
        self.kind = scores.dtype
        self.rounding = quadrature.ROUNDING.get(scores.dtype.itemsize, 1e-6)
        self.alphas = np.append(self.alphas, alphas)
        self.slopes = np.append(self.slopes, slopes.astype(np.float64))
        self.scores = np.append(self.scores, scores.astype(np.float64))
        self.parts.append(gradients)

    @property
    def difference(self) -> float:
        """f(x) - f(b)."""
        order = np.argsort(self.alphas)
        return float(self.scores[order[-1]] - self.scores[order[0]])

    def close(self, driver: Driver) -> None:
        """Adds up the gradients, which are kept no longer."""
        weights, start = self.weights(), 0
        for part in self.parts:
            stop = start + len(next(iter(part.values())))
            found = _weighted(driver, part, weights[start:stop])
            self.moments = (
                {name: self.moments[name] + array for name, array in found.items()} if start else found
            )
            start = stop
        self.moments[DIFFERENCE] = np.full((1, 1), self.difference, self.kind)
        self.parts.clear()

    def weights(self) -> np.ndarray:
        """What each gradient counts by the trapezoid rule."""
        order = np.argsort(self.alphas)
        halves = np.diff(self.alphas[order]) / 2
        weights = np.empty(len(order))
        weights[order] = np.append(halves, 0) + np.append(0, halves)
        return weights

    def more(self, refinement: Refinement) -> np.ndarray:
        """Where to take more points: in the middle of the intervals that miss the most; none where it is enough."""
        order, count = np.argsort(self.alphas), len(self.alphas)
        alphas, scores = self.alphas[order], self.scores[order]
        lengths, slopes = np.diff(alphas), self.slopes[order]
        misses = lengths * (slopes[1:] + slopes[:-1]) / 2 - np.diff(scores)
        most = refinement.most
        if refinement.tolerance is not None:
            size = abs(scores[-1] - scores[0]) or 1.0
            enough = max(refinement.tolerance * size * 0.999, self.rounding * np.abs(scores).max())
            if not abs(misses.sum()) > enough:
                return np.empty(0)
        number = min(quadrature.at_once(count), most - count)
        # Nearly equal ones go from left to right, so that rounding does not decide; those that miss nothing by length.
        steps = _quarters(np.abs(misses) * np.sqrt(lengths))
        halved = lengths > quadrature.SHORTEST
        largest, rank = steps[halved].max(initial=quadrature.NONE), steps
        if refinement.margin:
            left = _quarters(np.abs(misses.sum() - quadrature.TAKEN * misses))
            rank = np.where(steps >= largest - refinement.margin, quadrature.FIRST - left, steps)
        picked = np.lexsort((np.arange(len(lengths)), -lengths, -rank, ~halved))[: max(0, number)]
        picked = picked[halved[picked]]
        if refinement.tolerance is not None:
            picked = picked[steps[picked] >= largest - quadrature.NEGLIGIBLE]
        return np.sort((alphas[picked] + alphas[picked + 1]) / 2)


def _quarters(sizes: np.ndarray) -> np.ndarray:
    """Sizes in quarters of powers of two, rounded down; ``NONE`` for those that are next to nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(sizes > quadrature.TINY, np.floor(4 * np.log2(sizes)), quadrature.NONE)
