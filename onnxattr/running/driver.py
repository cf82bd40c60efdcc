"""Runs a method's graphs over any number of images and points in chunks; adds partial sums, computes no attribution."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import onnx

from onnxattr.compile.baseline_kinds import Computed
from onnxattr.compile.method import Definition, first_moment
from onnxattr.compile.renderings.batch import batch_graph
from onnxattr.compile.renderings.driven import (
    ALPHA,
    DIFFERENCE,
    DRAW,
    ENDS,
    IMAGE,
    PLACES,
    POINTS,
    ROW,
    WEIGHTS,
    baselines_graph,
    finish_graph,
    path_score_graph,
    pilot_names,
    rows_graph,
    step_graph,
    sum_graph,
)
from onnxattr.compile.renderings.forward import score_graph
from onnxattr.compile.renderings.model_graph import own_name
from onnxattr.compile.renderings.rewrite import Request
from onnxattr.errors import ModelError
from onnxattr.loading.prepared import batch_size_of
from onnxattr.running.arrays import Targets, check_labels, class_count, take, weights_of
from onnxattr.running.chunk_size import rows_in_cache
from onnxattr.running.refine import refined
from onnxattr.session import Session, on_cpu

Feeds = dict[str, np.ndarray]
Advance = Callable[[int], Any]


@dataclass(frozen=True)
class Run:
    """What ``Driver.explain`` found for its rows.

    Attributes:
        maps: The attributions of each explained value.
        prediction: The model's output where it was computed: for labels, and for methods that look at the input itself.
        delta: How much the attributions do not add up to the difference, (N,); None without a path.
        gap: Its size relative to that of the difference, (N,); None without a path.
        difference: f(x) - f(b), (N,); None without a path, or where it is not known.
        spent: How many gradients each row took, (N,), where that differs; else None.
    """

    maps: list[np.ndarray]
    prediction: np.ndarray | None
    delta: np.ndarray | None = None
    gap: np.ndarray | None = None
    difference: np.ndarray | None = None
    spent: np.ndarray | None = None


class Driver:
    """The driven rendering of one method on one model. Sessions are made on first use and kept."""

    def __init__(self, request: Request, batch_size: int | None, seed: int, providers: Sequence[Any] | None):
        """Sets the method up.

        Args:
            request: The method and the model.
            batch_size: Most rows in one run of the model; None for no such limit.
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
        self._target, self._seed = (own_name(request.prepared, name) for name in ("target", "seed"))
        self.rows = 1 if 1 in fixed.values() else batch_size
        self._rows_in_cache: dict[tuple[tuple[int, ...], ...], int] = {}

    def _session(self, graph: onnx.ModelProto) -> Session:
        return Session(graph, self.providers, self.request.prepared.folder)

    @cached_property
    def _predict(self) -> Session:
        return self._session(self.request.prepared.proto())

    @cached_property
    def _score(self) -> Session:
        return self._session(score_graph(self.request))

    @cached_property
    def _by_label(self) -> Session:
        return self._session(batch_graph(self.request, labels=True))

    @cached_property
    def _by_weight(self) -> Session:
        return self._session(batch_graph(self.request, labels=False))

    @cached_property
    def _pilot(self) -> Session:
        plain = Definition(first_moment, rules=self.request.definition.rules)
        request = replace(self.request, definition=plain, reducer=None, groups=())
        return self._session(batch_graph(request, labels=False))

    @cached_property
    def _baselines(self) -> Session:
        return self._session(baselines_graph(self.request))

    @cached_property
    def step(self) -> Session:
        """The step graph; see ``step_rewrite``."""
        return self._session(step_graph(self.request))

    @cached_property
    def _path_scores(self) -> Session:
        return self._session(path_score_graph(self.request))

    @cached_property
    def _rows(self) -> Session:
        return self._session(rows_graph(self.request))

    @cached_property
    def _sum(self) -> Session:
        return self._session(sum_graph(self.request))

    @cached_property
    def _finish(self) -> Session:
        return self._session(finish_graph(self.request))

    def chunks(self, feeds: Feeds, rows: int) -> Iterator[slice]:
        """Slices of at most ``batch_size`` rows, on a CPU of no more than its cache holds."""
        size = self.rows or max(rows, 1)
        if on_cpu(self.providers):
            shapes = {str(v.name): feeds[str(v.name)].shape for v in self.request.prepared.inputs}
            key = tuple(shape[1:] for shape in shapes.values())
            if key not in self._rows_in_cache:
                self._rows_in_cache[key] = rows_in_cache(self.request.prepared, shapes)
            size = min(size, self._rows_in_cache[key])
        size = max(size // self.request.rows_each, 1)
        for start in range(0, rows, size):
            yield slice(start, min(start + size, rows))

    def predict(self, feeds: Feeds, rows: int) -> np.ndarray:
        """The model's (cut) output for each row."""
        return np.concatenate([self._predict.run(take(feeds, part))[0] for part in self.chunks(feeds, rows)])

    def output(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        """The model's (cut) output from one run."""
        return self._predict.run(feeds)[0]

    def work(self, rows: int) -> int:
        """How many gradients ``explain`` takes for that many rows."""
        return rows * len(self.request.definition.counting)

    def explain(self, feeds: Feeds, targets: Targets, rows: int, first_row: int, advance: Advance) -> Run:
        """The attributions of each explained value, and what was computed on the way to them.

        Args:
            feeds: The model's inputs.
            targets: What to explain.
            rows: Number of rows.
            first_row: Position of the first row in the whole input; the noise depends on it.
            advance: Called with the number of gradients done after each chunk.
        """
        if self.request.definition.single:
            return self._explain_single(feeds, targets, rows, advance)
        weights, prediction = self._weights(feeds, targets, rows)
        feeds = self.with_baselines(feeds, rows, first_row)
        if self.request.definition.refinement is not None:
            moments, spent = refined(self, feeds | {self._target: weights}, rows, first_row, advance)
        else:
            moments, spent = self._moments(feeds, weights, rows, first_row, advance), None
        difference = moments[DIFFERENCE].reshape(-1) if DIFFERENCE in moments else None
        return replace(self._run(self.finish(feeds | moments, rows), prediction, difference), spent=spent)

    def finish(self, fed: Feeds, rows: int) -> list[np.ndarray]:
        """The last step, from the model's inputs and the moments of each row."""
        parts = [self._finish.run(take(fed, part)) for part in self.chunks(fed, rows)]
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]

    def _run(
        self, found: list[np.ndarray], prediction: np.ndarray | None, difference: np.ndarray | None = None
    ) -> Run:
        """What the last graph of a method gave."""
        count = len(self.request.shown.wrt)
        delta = found[count] if self.request.has_delta else None
        gap = found[count + 1] if self.request.has_gap else None
        return Run(found[:count], prediction, delta, gap, difference)

    def scores(self, feeds: Feeds, targets: Targets, rows: int) -> np.ndarray:
        """The explained score of each row, (N,)."""
        fed = feeds | {self._target: self._weights(feeds, targets, rows)[0]}
        return np.concatenate([self._score.run(take(fed, part))[1] for part in self.chunks(feeds, rows)])

    def _weights(self, feeds: Feeds, targets: Targets, rows: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Targets as the score takes them, and the prediction where that took it."""
        prediction = None if targets.weights is not None else self.predict(feeds, rows)
        return weights_of(self.request.prepared, targets, prediction), prediction

    def with_baselines(self, feeds: Feeds, rows: int, first_row: int) -> Feeds:
        """The feeds with the baselines that are computed from the samples, a row for each."""
        if not any(isinstance(kind, Computed) for kind in self.request.definition.baseline or ()):
            return feeds
        fed = feeds | {IMAGE: np.arange(first_row, first_row + rows)}
        seed = {self._seed: np.array(self.seed, np.int64)}
        parts = [self._baselines.run(take(fed, part) | seed) for part in self.chunks(feeds, rows)]
        found = map(np.concatenate, zip(*parts, strict=True))
        return feeds | dict(zip(self._baselines.outputs, found, strict=True))

    def _explain_single(self, feeds: Feeds, targets: Targets, rows: int, advance: Advance) -> Run:
        target = targets.labels if targets.weights is None else targets.weights
        assert target is not None
        session = self._by_label if targets.weights is None else self._by_weight
        parts = []
        for part in self.chunks(feeds, rows):
            parts.append(session.run(take(feeds | {self._target: target}, part)))
            if targets.weights is None:
                check_labels(target[part], class_count(self.request.prepared, parts[-1][0].shape))
            advance(part.stop - part.start)
        prediction, *found = (np.concatenate(outputs) for outputs in zip(*parts, strict=True))
        return self._run(found, prediction)

    def _moments(
        self, feeds: Feeds, target: np.ndarray, rows: int, first_row: int, advance: Advance
    ) -> Feeds:
        """Runs the step over all (image, point) rows in full chunks and sums each image's moments."""
        definition = self.request.definition
        fed = feeds | {self._target: target}
        if definition.pilot:
            pilots = zip(
                *[self._pilot.run(take(fed, part))[1:] for part in self.chunks(feeds, rows)], strict=True
            )
            fed |= dict(zip(pilot_names(self.request), map(np.concatenate, pilots), strict=True))
        return self.moments_at(definition, fed, rows, first_row, advance)

    def moments_at(
        self, definition: Definition, fed: Feeds, rows: int, first_row: int, advance: Advance
    ) -> Feeds:
        """The moments of each row, and for a path its f(x) - f(b), from the points of a definition of the method.

        Args:
            definition: The method's own, or the same with other points.
            fed: What the step takes that has a row for each sample.
            rows: Number of rows.
            first_row: Position of the first row in the whole input.
            advance: Called with the number of gradients done after each chunk.
        """
        totals: Feeds = {}
        counting = definition.counting
        for part in self.chunks(fed, rows * len(counting)):
            image, point = np.divmod(np.arange(part.start, part.stop), len(counting))
            point = counting[point]
            images = slice(int(image[0]), int(image[-1]) + 1)
            of_rows = self.row_feeds(image, point, images.start, first_row, definition)
            found = self.step.run(take(fed, images) | of_rows)
            for name, moment in zip(self.step.outputs, found, strict=True):
                if name not in totals:
                    totals[name] = np.zeros((rows, *moment.shape[1:]), moment.dtype)
                totals[name][images] += moment
            advance(part.stop - part.start)
        if len(counting) < definition.points and definition.ends is not None:
            self._add_scores(definition, totals[DIFFERENCE], fed, rows, first_row)
        return totals

    def _add_scores(
        self, definition: Definition, differences: np.ndarray, fed: Feeds, rows: int, first_row: int
    ) -> None:
        """Adds the scores of the points whose gradients do not count to f(x) - f(b), which needs no gradient."""
        assert definition.ends is not None
        assert definition.alphas is not None
        points = np.setdiff1d(np.flatnonzero(definition.ends), definition.counting)
        image, point = (array.ravel() for array in np.meshgrid(np.arange(rows), points, indexing="ij"))
        numbers = {IMAGE: image + first_row, DRAW: point}
        scores = self.scores_on_path(fed, image, definition.alphas[point], numbers)
        np.add.at(differences, image, definition.ends[point, None] * scores)

    def scores_on_path(
        self, fed: Feeds, image: np.ndarray, alphas: np.ndarray, numbers: Mapping[str, np.ndarray] = {}
    ) -> np.ndarray:
        """The explained score at points of a path, (R, 1).

        Args:
            fed: The model's inputs and the weights on its output, a row for each image.
            image: The image of each point, ascending.
            alphas: Where the points lie.
            numbers: What else the graph takes for each point, as a path of its own does.
        """
        found = []
        for part in self.chunks(fed, len(image)):
            images = slice(int(image[part.start]), int(image[part.stop - 1]) + 1)
            of_rows = {ROW: image[part] - images.start, ALPHA: alphas[part].astype(np.float32)}
            of_rows |= {name: array[part] for name, array in numbers.items()}
            of_rows[self._seed] = np.array(self.seed, np.int64)
            found += self._path_scores.run(take(fed, images) | of_rows)
        return np.concatenate(found)

    def gradients_at(
        self, fed: Feeds, image: np.ndarray, alphas: np.ndarray, advance: Advance
    ) -> tuple[Feeds, np.ndarray, np.ndarray]:
        """The gradients at points of a path, each by itself, their sums times x - b, (R,), and the scores there, (R,).

        Args:
            fed: What the step takes that has a row for each sample.
            image: The image of each point.
            alphas: Where the points lie.
            advance: Called with the number of gradients done after each chunk.
        """
        parts = []
        for part in self.chunks(fed, len(image)):
            row = np.arange(part.stop - part.start)
            points = {ROW: row, ALPHA: alphas[part].astype(np.float32)}
            parts.append(self._rows.run(take(fed, image[part]) | points))
            advance(len(row))
        *gradients, slopes, scores = (np.concatenate(found) for found in zip(*parts, strict=True))
        names = self._rows.outputs[: len(gradients)]
        return dict(zip(names, gradients, strict=True)), slopes[:, 0], scores[:, 0]

    def weighted(self, gradients: Feeds, weights: np.ndarray) -> Feeds:
        """The moments of one row from its gradients at points and what they count."""
        fed = {f"{name}{POINTS}": array for name, array in gradients.items()}
        found = self._sum.run(fed | {WEIGHTS: weights[None].astype(self._dtype)})
        return dict(zip(self._sum.outputs, found, strict=True))

    def row_feeds(
        self,
        image: np.ndarray,
        point: np.ndarray,
        start: int,
        first_row: int,
        definition: Definition | None = None,
    ) -> Feeds:
        """What the step takes beside the model's inputs, for rows at some points of some images from ``start`` on."""
        definition = definition or self.request.definition
        row = image - start
        counts = np.bincount(row)
        slots = np.arange(counts.max())
        places = (np.cumsum(counts) - counts)[:, None] + np.minimum(slots, counts[:, None] - 1)
        within = slots < counts[:, None]

        def of_images(table: np.ndarray, dtype: Any) -> np.ndarray:
            return np.where(within, table[point[places]], 0).astype(dtype)

        feeds = {ROW: row, PLACES: places, IMAGE: image + first_row, DRAW: point}
        feeds |= {
            WEIGHTS: of_images(definition.weights, self._dtype),
            self._seed: np.array(self.seed, np.int64),
        }
        if definition.alphas is not None and definition.ends is not None:
            feeds[ALPHA] = definition.alphas[point].astype(np.float32)
            feeds[ENDS] = of_images(definition.ends, self._score_dtype)
        return feeds

    @cached_property
    def _dtype(self) -> Any:
        return _numpy_dtype(self.request, self.request.prepared.wrt[0])

    @cached_property
    def _score_dtype(self) -> Any:
        return _numpy_dtype(self.request, self.request.prepared.output)


def _numpy_dtype(request: Request, name: str) -> Any:
    dtype = request.prepared.value(name).dtype
    assert dtype is not None
    return dtype.numpy()
