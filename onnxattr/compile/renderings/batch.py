"""The batch rendering: all points of all samples as rows of one run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxattr.compile.noise import normal_like
from onnxattr.compile.placed_path import Rows
from onnxattr.compile.renderings.driven import powers_of
from onnxattr.compile.renderings.inlining import inline
from onnxattr.compile.renderings.model_graph import INT64, own_name
from onnxattr.compile.renderings.rewrite import NUMBER, Request, Rewrite
from onnxattr.compile.renderings.tail import Tail, fed_to, moments_of_whole
from onnxattr.errors import ModelError
from onnxattr.graph.values import dims_of


def batch_model(request: Request, labels: bool, tells: bool = False, needed: bool = False) -> ir.Model:
    """The batch rendering: prediction and attribution from one run, all points as rows.

    Inputs: the model's; ``target``, with ``labels`` (N,) int64, -1 for the predicted class, else weights on the
    model's output; with noise ``seed`` () int64. Outputs: ``prediction``, then the attributions; with ``tells`` also
    what ``Rewrite.add_scores`` appends. With ``needed`` there is no prediction where the attributions do not depend on
    the inputs, so that the model is not run forth.

    Raises:
        ModelError: If the method has several points and the model's batch is fixed.
    """
    if request.tail is not None:
        return _shared(request, request.tail, labels)
    found = _at_all_points(request, labels)
    rewrite = found.rewrite
    rewrite.attributions(found.xs, found.moments, found.difference)
    if tells:
        rewrite.add_scores(found.target_rows, found.dim, found.at_x)
    elif needed and not rewrite.looks:
        del rewrite.graph.outputs[0]
    return rewrite.finished_model()


def _shared(request: Request, tail: Tail, labels: bool) -> ir.Model:
    """The same where work is shared: the batch is that of what is behind the cut."""
    main = request.rewrite()
    _check_dynamic(main)
    op = main.op
    behind = _at_all_points(tail.request, labels)
    for index, moment in enumerate(moment for moments in behind.moments for moment in moments):
        behind.rewrite.add_output(moment, f"onnxattr/moment_{index}", moment.dtype, [None])
    if behind.difference is not None:
        dtype = behind.difference.dtype
        behind.rewrite.add_output(behind.difference, "onnxattr/difference", dtype, [None, 1])
    points = behind.rewrite.finished_model()
    taken = {str(value.name): value for value in points.graph.inputs}
    number = op.input(NUMBER, INT64, ["samples"]) if request.numbered else None
    main.baselines_per_sample(number)
    feeds, ends = fed_to(main, tail)
    if tail.request.seeded:
        feeds[own_name(tail.request.prepared, "seed")] = main.seed()
        feeds |= {} if number is None else {NUMBER: number}
    given = taken[own_name(tail.request.prepared, "target")]
    dim = (dims_of(main.with_rows) or [None])[0]
    target = op.input(
        own_name(request.prepared, "target"), given.dtype, [dim, *(dims_of(given) or [None])[1:]]
    )
    feeds[str(given.name)] = target
    prediction, *found = inline(points, op, main, feeds, "of_points")
    main.add_prediction(prediction, dim)
    difference = found.pop() if request.method.ends is not None else None
    powers = len(request.method.powers)
    moments = [found[start : start + powers] for start in range(0, len(found), powers)]
    moments = moments_of_whole(main, tail, moments, behind.rewrite.gradient_ranges, ends)
    main.attributions(main.wrt, moments, difference)
    return main.finished_model()


@dataclass(frozen=True)
class _Found:
    """What a batch of all points gives.

    Attributes:
        rewrite: The graph, with the model's inputs and the prediction.
        dim: The number of samples.
        at_x: Picks the rows of the samples themselves.
        target_rows: What to explain, for each row.
        xs: The explained values of the samples.
        moments: For each of them its moments.
        difference: f(x) - f(b), (N, 1); None without a path.
    """

    rewrite: Rewrite
    dim: int | str | None
    at_x: Callable[[ir.Value], ir.Value]
    target_rows: ir.Value
    xs: list[ir.Value]
    moments: list[list[ir.Value]]
    difference: ir.Value | None


def _at_all_points(request: Request, labels: bool) -> _Found:
    """The model at all points of all samples, its gradients there and their sums."""
    rewrite = request.rewrite()
    op, method = rewrite.op, rewrite.method
    # With noise, x itself is one more row, of weight 0: it gives the prediction and the pilot.
    extra = int(bool(method.noise))
    count = method.points + extra
    at_x = 0 if extra else count - 1
    if count > 1:
        _check_dynamic(rewrite)
    seed = rewrite.seed() if method.noise else None
    samples = _Samples(rewrite, count)
    number = op.input(NUMBER, INT64, ["samples"]) if request.numbered else None
    if count > 1:
        rewrite.gather_inputs(samples.repeat)

    def points(x: ir.Value, position: int) -> ir.Value:
        if method.alphas is not None:
            return _on_path(rewrite, samples, x, position, at_x, number)
        return x if seed is None else _noisy(rewrite, samples, x, position, seed, number)

    placed = rewrite.place_points(points)
    dim = _rows_dim(rewrite, count)
    prediction = rewrite.add_prediction(samples.pick(rewrite.score, at_x), dim)
    target = rewrite.add_target(prediction, labels, dim)
    target_rows = samples.repeat(target) if count > 1 else target
    gradients = rewrite.gradients(placed, target_rows)
    xs, moments = [], []
    for position, (x, gradient) in enumerate(zip(rewrite.likes, gradients, strict=True)):
        if method.pilot:
            gradient = op.Sub(gradient, samples.repeat(samples.pick(gradient, at_x)))
        gradient = rewrite.along_path(gradient, position)
        moments.append([samples.total(powers, method.weights) for powers in powers_of(op, gradient, method)])
        xs.append(samples.pick(x, at_x))
        xs[-1].shape = ir.Shape([dim, *(dims_of(x) or [None])[1:]]) if count > 1 else x.shape
    difference = None
    if method.ends is not None:
        difference = samples.total(rewrite.score_of_rows(target_rows), method.ends)
    return _Found(rewrite, dim, lambda rows: samples.pick(rows, at_x), target_rows, xs, moments, difference)


def _on_path(
    rewrite: Rewrite, samples: _Samples, x: ir.Value, position: int, at_x: int, number: ir.Value | None
) -> ir.Value:
    """The points of all samples on their paths."""
    method = rewrite.method
    assert method.alphas is not None
    alpha = samples.tile(method.alphas.astype(np.float32))
    if not method.fixed:
        rewrite.baseline(position, samples.pick(x, at_x), number)  # computed once for each sample
    local, draw = samples.numbers(), samples.tile(np.arange(method.points))
    sample = local if number is None else samples.repeat(number)
    return rewrite.on_path(x, position, Rows(alpha, local, sample, draw))


def _noisy(
    rewrite: Rewrite, samples: _Samples, x: ir.Value, position: int, seed: ir.Value, number: ir.Value | None
) -> ir.Value:
    """The noisy copies of all samples, each behind the sample itself."""
    op, method = rewrite.op, rewrite.method
    draw = samples.tile(np.arange(-1, method.points))
    sample = samples.numbers() if number is None else samples.repeat(number)
    rewrite.note_draws(seed, sample, draw)
    noise = normal_like(op, x, seed, sample, draw, position)
    if method.relative:
        noise = op.Mul(noise, rewrite.deviation(x))
    std = 1.0 if method.relative else method.noise
    scale = samples.tile(np.array([0.0] + [std] * method.points, np.float32))
    return op.Add(x, op.Mul(noise, rewrite.column(scale, x)))


def _rows_dim(rewrite: Rewrite, count: int) -> int | str | None:
    if count > 1:
        return "samples"
    return (dims_of(rewrite.with_rows) or [None])[0]


def _check_dynamic(rewrite: Rewrite) -> None:
    for value in rewrite.graph.inputs:
        dims = dims_of(value)
        if dims and isinstance(dims[0], int):
            raise ModelError(
                f"Input {value.name!r} has a fixed batch of {dims[0]}: its points cannot be rows of one run. "
                "Use 'loop' or 'auto', or export the model with a dynamic first axis."
            )


class _Samples:
    """Index arithmetic of the batch rendering, where row r holds point r % count of sample r // count."""

    def __init__(self, rewrite: Rewrite, count: int):
        self.rewrite, self.op, self.count = rewrite, rewrite.op, count

    def samples(self) -> ir.Value:
        """The number of samples, as an int64 vector of one element."""
        return self.op.Shape(self.rewrite.with_rows, start=0, end=1)

    def numbers(self) -> ir.Value:
        """The sample of each row: 0, 0, ..., 1, 1, ..."""
        op = self.op
        total = op.Mul(self.samples(), self.count)
        return op.Div(op.Range(0, op.Squeeze(total, [0]), 1), self.count)

    def repeat(self, value: ir.Value) -> ir.Value:
        """Each sample ``count`` times in a row."""
        return self.op.Gather(value, self.numbers(), axis=0)

    def tile(self, per_point: np.ndarray) -> ir.Value:
        """A value per point, for each row."""
        return self.op.Tile(self.op.constant(per_point), self.samples())

    def grouped(self, value: ir.Value) -> ir.Value:
        """Rows as (samples, points, elements)."""
        op = self.op
        elements = op.elements(value, 1)  # a -1 has no value where there are no samples
        return op.reshape_rows(value, op.Concat(self.samples(), [self.count], elements, axis=0), value)

    def pick(self, value: ir.Value, point: int) -> ir.Value:
        """The rows of one point."""
        if self.count == 1:
            return value
        op = self.op
        return self._ungroup(op.Gather(self.grouped(value), [point], axis=1), value)

    def total(self, value: ir.Value, weights: np.ndarray) -> ir.Value:
        """The sum over the last points of each sample, by their weights; those before have no part in it.

        Nor do those of weight 0, whatever they are.
        """
        if self.count == 1:
            return value
        counting = np.flatnonzero(weights)
        row, grouped = self.op.constant(weights[counting].reshape(1, 1, -1), value.dtype), self.grouped(value)
        if len(counting) < weights.size:
            grouped = self.op.Gather(grouped, counting + self.count - weights.size, axis=1)
        elif self.count > weights.size:
            grouped = self.op.Slice(grouped, [self.count - weights.size], [2**62], [1])
        return self._ungroup(self.op.MatMul(row, grouped), value)

    def _ungroup(self, grouped: ir.Value, like: ir.Value) -> ir.Value:
        sizes = self.op.Concat(self.samples(), self.op.shape(like, 1), axis=0)
        return self.op.reshape_rows(grouped, sizes, like)
