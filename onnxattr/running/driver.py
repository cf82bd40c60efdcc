"""Runs a method's graphs over samples and points in chunks; adds partial sums, computes no attribution."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from onnxattr.autodiff.overrides import RELU_LIKE
from onnxattr.compile.baseline_kinds import Computed
from onnxattr.compile.fit import LABELS_FIT
from onnxattr.compile.method import Method
from onnxattr.compile.renderings.driven import (
    ALPHA,
    DIFFERENCE,
    DRAW,
    ENDS,
    PLACES,
    ROW,
    SAMPLE,
    WEIGHTS,
    pilot_names,
)
from onnxattr.compile.renderings.model_graph import own_name
from onnxattr.compile.renderings.rewrite import Request
from onnxattr.errors import ModelError
from onnxattr.loading.free_batch import batch_size_of
from onnxattr.providers import on_cpu
from onnxattr.running.chunk_size import rows_in_cache
from onnxattr.running.given.arrays import take
from onnxattr.running.given.targets import Targets, check_labels, class_count, weights_of, without_prediction
from onnxattr.running.graphs import Graphs
from onnxattr.running.refine import refined
from onnxattr.running.runs import Advance, Feeds, Run
from onnxattr.session import Session


class Driver:
    """The driven rendering of one method on one model. Sessions are made on first use and kept."""

    def __init__(self, request: Request, batch_size: int | None, seed: int, providers: Sequence[Any] | None):
        """Sets the method up.

        Args:
            request: The method and the model.
            batch_size: Most samples times points in one run of the model, a chunk; None for no such limit.
            seed: Seed of the noise.
            providers: ONNX Runtime providers, None for the best present.

        Raises:
            ModelError: If the model's batch is fixed above 1.
        """
        self.request, self.seed, self.providers = request, seed, providers
        fixed = {
            v.name: batch_size_of(v) for v in request.prepared.inputs if v.shape is not None and len(v.shape)
        }
        if any(size not in (None, 1) for size in fixed.values()):
            why = f", and {why}" if (why := request.prepared.rows.why) else ""
            raise ModelError(
                f"The inputs have fixed batch sizes {fixed}{why}; export the model with a dynamic batch, or a batch "
                "of 1."
            )
        self.graphs = Graphs(request, providers)
        self._target, self._seed = (own_name(request.prepared, name) for name in ("target", "seed"))
        self.chunk = 1 if 1 in fixed.values() else batch_size
        self._rows_in_cache: dict[tuple[tuple[int, ...], ...], int] = {}

    def chunks(self, feeds: Feeds, samples: int) -> Iterator[slice]:
        """Slices of at most a chunk, on a CPU of no more than its cache holds."""
        size = self.chunk or max(samples, 1)
        if on_cpu(self.providers):
            shapes = {str(v.name): feeds[str(v.name)].shape for v in self.request.prepared.inputs}
            key = tuple(shape[1:] for shape in shapes.values())
            if key not in self._rows_in_cache:
                self._rows_in_cache[key] = rows_in_cache(
                    self.request.prepared, shapes, once=self.request.method.single
                )
            size = min(size, self._rows_in_cache[key])
        size = max(size // self.request.rows_each, 1)
        for start in range(0, samples, size):
            yield slice(start, min(start + size, samples))

    def predict(self, feeds: Feeds, samples: int) -> np.ndarray:
        """The model's (cut) output for each sample."""
        return np.concatenate(
            [self.graphs.predict.run(take(feeds, part))[0] for part in self.chunks(feeds, samples)]
        )

    def output(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        """The model's (cut) output from one run."""
        return self.graphs.predict.run(feeds)[0]

    def work(self, samples: int) -> int:
        """How many gradients ``explain`` takes for that many samples."""
        return samples * len(self.request.method.counting)

    def explain(
        self, feeds: Feeds, targets: Targets, samples: int, first_sample: int, advance: Advance
    ) -> Run:
        """The attributions of each explained value, and what was computed on the way to them.

        Args:
            feeds: The model's inputs.
            targets: What to explain.
            samples: Number of samples.
            first_sample: Position of the first sample in the whole input; the noise depends on it.
            advance: Called with the number of gradients done after each chunk.
        """
        if self.request.method.single:
            return self._explain_single(feeds, targets, samples, advance)
        weights, prediction = self._weights(feeds, targets, samples)
        fed = self.with_baselines(feeds, samples, first_sample) | {self._target: weights}
        return replace(self.run_of(fed, samples, first_sample, advance), prediction=prediction)

    def run_of(self, fed: Feeds, samples: int, first_sample: int, advance: Advance) -> Run:
        """What ``explain`` finds, but for the prediction, with targets and baselines among the feeds."""
        moments, spent = self.summed(fed, samples, first_sample, advance)
        difference = moments[DIFFERENCE].reshape(-1) if DIFFERENCE in moments else None
        return replace(self._run(self.finish(fed | moments, samples), None, difference), spent=spent)

    def summed(
        self, fed: Feeds, samples: int, first_sample: int, advance: Advance
    ) -> tuple[Feeds, np.ndarray | None]:
        """The moments of each sample, and how many gradients it took, (N,), where that differs."""
        if self.request.method.refinement is not None:
            return refined(self, fed, samples, first_sample, advance)
        return self._moments(fed, samples, first_sample, advance), None

    def finish(self, fed: Feeds, samples: int) -> list[np.ndarray]:
        """The last step, from the model's inputs and the moments of each sample."""
        return self.in_chunks(self.graphs.finish, fed, samples)

    def in_chunks(self, session: Session, fed: Feeds, samples: int) -> list[np.ndarray]:
        """The outputs of a graph that has a row for each sample."""
        parts = [session.run(take(fed, part)) for part in self.chunks(fed, samples)]
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]

    def _run(
        self, found: list[np.ndarray], prediction: np.ndarray | None, difference: np.ndarray | None = None
    ) -> Run:
        """What the last graph of a method gave."""
        count = len(self.request.shown.wrt)
        delta = found[count] if self.request.has_delta else None
        gap = found[count + 1] if self.request.has_gap else None
        return Run(found[:count], prediction, delta, gap, difference)

    def scores(self, feeds: Feeds, targets: Targets, samples: int) -> np.ndarray:
        """The explained score of each sample, (N,)."""
        fed = feeds | {self._target: self._weights(feeds, targets, samples)[0]}
        return np.concatenate(
            [self.graphs.score.run(take(fed, part))[1] for part in self.chunks(feeds, samples)]
        )

    def _weights(self, feeds: Feeds, targets: Targets, samples: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Targets as the score takes them, and the prediction where that took it.

        The scores at the ends of a path say whether what is explained is finite; without a path the prediction does.
        """
        if self.request.method.ends is not None:
            targets = without_prediction(self.request.prepared, targets)
        prediction = None if targets.weights is not None else self.predict(feeds, samples)
        return weights_of(self.request.prepared, targets, prediction), prediction

    def with_baselines(self, feeds: Feeds, samples: int, first_sample: int) -> Feeds:
        """The feeds with the baselines that are computed from the samples, a row for each."""
        if not any(isinstance(kind, Computed) for kind in self.request.method.baseline or ()):
            return feeds
        fed = feeds | {SAMPLE: np.arange(first_sample, first_sample + samples)}
        seed = {self._seed: np.array(self.seed, np.int64)}
        found = self.in_chunks(self.graphs.baselines, fed | seed, samples)
        return feeds | dict(zip(self.graphs.baselines.outputs, found, strict=True))

    def _explain_single(self, feeds: Feeds, targets: Targets, samples: int, advance: Advance) -> Run:
        if RELU_LIKE in self.request.method.rules:
            targets = without_prediction(self.request.prepared, targets)
        target = targets.labels if targets.weights is None else targets.weights
        assert target is not None
        session = self.graphs.by_label if targets.weights is None else self.graphs.by_weight
        parts = []
        for part in self.chunks(feeds, samples):
            try:
                parts.append(session.run(take(feeds | {self._target: target}, part)))
            except ModelError as error:
                if LABELS_FIT in str(error):  # a prediction alone tells how many classes there are
                    shape = self.predict(take(feeds, part), part.stop - part.start).shape
                    check_labels(target[part], class_count(self.request.prepared, shape))
                raise
            advance(part.stop - part.start)
        found = [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]
        told = session.outputs[0] == own_name(self.request.prepared, "prediction")
        prediction = found.pop(0) if told else None
        scores = None if self.request.score.linear else found[-1]
        return replace(self._run(found, prediction), scores=scores)

    def _moments(self, fed: Feeds, samples: int, first_sample: int, advance: Advance) -> Feeds:
        """Runs the step over all (sample, point) pairs in full chunks and sums each sample's moments."""
        method = self.request.method
        if method.pilot:
            pilots = zip(
                *[self.graphs.pilot.run(take(fed, part))[1:] for part in self.chunks(fed, samples)],
                strict=True,
            )
            fed |= dict(zip(pilot_names(self.request), map(np.concatenate, pilots), strict=True))
        return self.moments_at(method, fed, samples, first_sample, advance)

    def moments_at(
        self, method: Method, fed: Feeds, samples: int, first_sample: int, advance: Advance
    ) -> Feeds:
        """The moments of each sample, and for a path its f(x) - f(b), from the points of a method.

        Args:
            method: The method's own, or the same with other points.
            fed: What the step takes that has a row for each sample.
            samples: Number of samples.
            first_sample: Position of the first sample in the whole input.
            advance: Called with the number of gradients done after each chunk.
        """
        totals: Feeds = {}
        counting = method.counting
        for part in self.chunks(fed, samples * len(counting)):
            sample, point = np.divmod(np.arange(part.start, part.stop), len(counting))
            point = counting[point]
            span = slice(int(sample[0]), int(sample[-1]) + 1)
            of_pairs = self.step_feeds(sample, point, span.start, first_sample, method)
            found = self.graphs.step.run(take(fed, span) | of_pairs)
            for name, moment in zip(self.graphs.step.outputs, found, strict=True):
                if name not in totals:
                    totals[name] = np.zeros((samples, *moment.shape[1:]), moment.dtype)
                totals[name][span] += moment
            advance(part.stop - part.start)
        if len(counting) < method.points and method.ends is not None:
            self._add_scores(method, totals[DIFFERENCE], fed, samples, first_sample)
        return totals

    def _add_scores(
        self, method: Method, differences: np.ndarray, fed: Feeds, samples: int, first_sample: int
    ) -> None:
        """Adds the scores of the points whose gradients do not count to f(x) - f(b), which needs no gradient."""
        assert method.ends is not None
        assert method.alphas is not None
        points = np.setdiff1d(np.flatnonzero(method.ends), method.counting)
        sample, point = (array.ravel() for array in np.meshgrid(np.arange(samples), points, indexing="ij"))
        numbers = {SAMPLE: sample + first_sample, DRAW: point}
        scores = self.scores_on_path(fed, sample, method.alphas[point], numbers)
        np.add.at(differences, sample, method.ends[point, None] * scores)

    def scores_on_path(
        self, fed: Feeds, sample: np.ndarray, alphas: np.ndarray, numbers: Mapping[str, np.ndarray] = {}
    ) -> np.ndarray:
        """The explained score at points of a path, (R, 1).

        Args:
            fed: The model's inputs and the weights on its output, a row for each sample.
            sample: The sample of each point, ascending.
            alphas: Where the points lie.
            numbers: What else the graph takes for each point, as a path of its own does.
        """
        found = []
        for part in self.chunks(fed, len(sample)):
            span = slice(int(sample[part.start]), int(sample[part.stop - 1]) + 1)
            of_pairs = {ROW: sample[part] - span.start, ALPHA: alphas[part].astype(np.float32)}
            of_pairs |= {name: array[part] for name, array in numbers.items()}
            of_pairs[self._seed] = np.array(self.seed, np.int64)
            found += self.graphs.path_scores.run(take(fed, span) | of_pairs)
        return np.concatenate(found)

    def step_feeds(
        self,
        sample: np.ndarray,
        point: np.ndarray,
        start: int,
        first_sample: int,
        method: Method | None = None,
    ) -> Feeds:
        """What the step takes beside the model's inputs, for some points of some samples from ``start`` on."""
        method = method or self.request.method
        row = sample - start
        counts = np.bincount(row)
        slots = np.arange(counts.max())
        places = (np.cumsum(counts) - counts)[:, None] + np.minimum(slots, counts[:, None] - 1)
        within = slots < counts[:, None]

        def of_samples(table: np.ndarray, dtype: Any) -> np.ndarray:
            return np.where(within, table[point[places]], 0).astype(dtype)

        feeds = {ROW: row, PLACES: places, SAMPLE: sample + first_sample, DRAW: point}
        feeds |= {
            WEIGHTS: of_samples(method.weights, self.graphs.weights_dtype),
            self._seed: np.array(self.seed, np.int64),
        }
        if method.alphas is not None and method.ends is not None:
            feeds[ALPHA] = method.alphas[point].astype(np.float32)
            feeds[ENDS] = of_samples(method.ends, self.graphs.score_dtype)
        return feeds
