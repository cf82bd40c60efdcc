"""The loop rendering: the step as the body of an ONNX Loop over chunks of rows; one run, bounded memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxattr.compile.renderings.adaptive import adaptive_totals
from onnxattr.compile.renderings.driven import (
    ALPHA,
    DRAW,
    ENDS,
    PLACES,
    ROW,
    SAMPLE,
    WEIGHTS,
    pilot_names,
    step_rewrite,
)
from onnxattr.compile.renderings.inlining import inline
from onnxattr.compile.renderings.model_graph import INT64, has_rows, own_name
from onnxattr.compile.renderings.rewrite import NUMBER, Request, Rewrite
from onnxattr.compile.renderings.tail import fed_to, moments_of_whole
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.intervals import Range
from onnxattr.graph.values import dims_of


def loop_model(request: Request, labels: bool, rows: int, tells: bool = False) -> ir.Model:
    """Prediction and attribution from one run that takes ``rows`` (sample, point) pairs at a time.

    Inputs and outputs are those of the batch rendering. The prediction, and with a pilot its gradient, are one run of
    all samples.
    """
    main = request.rewrite()
    op, method = main.op, main.method
    dim = (dims_of(main.with_rows) or [None])[0]
    given = len(main.graph.inputs)
    number = op.input(NUMBER, INT64, [dim]) if request.numbered else None
    baselines = main.baselines_per_sample(number)
    fed = list(main.graph.inputs[given:])
    tail = request.tail
    step, sums, ends, once = request, list[ir.Value](), None, set[str]()
    if tail is None:
        feeds = {str(value.name): value for value in main.graph.inputs[: len(request.prepared.inputs)]}
        feeds |= baselines
    else:
        (feeds, ends), step, rows = fed_to(main, tail), tail.request, tail.rows(rows, request)
        once = set(tail.starts) if tail.one_start else once
        sums = ends[0] if tail.straight else [main.value(name) for name in tail.cut.summed]
    prediction = main.add_prediction(main.score, dim)
    samples = op.Shape(main.with_rows, start=0, end=1)
    target = main.add_target(prediction, labels, dim)
    per_sample, shared = {own_name(request.prepared, "target"): target}, dict[str, ir.Value]()
    if method.pilot:
        per_sample |= dict(zip(pilot_names(request), main.gradients(main.wrt, target), strict=True))
    if request.seeded:
        shared[own_name(request.prepared, "seed")] = main.seed()
    for name, value in feeds.items():
        (shared if name in once or not has_rows(value) else per_sample)[name] = value
    spent = None
    if method.refinement is None:
        loop = _Loop(main, samples, rows, per_sample, shared, step, sums, number)
        moments, difference, ranges = loop.moments()
    else:
        found, difference, spent, ranges = adaptive_totals(
            main, samples, per_sample, shared, step, sums or main.likes
        )
        moments = [[moment] for moment in found]
    if tail is not None:
        moments = moments_of_whole(main, tail, moments, ranges, ends)
    main.attributions(main.likes, moments, difference)
    if spent is not None:
        main.add_spent(spent)
    if tells:
        main.add_scores(target, dim)
    # Programs may feed files by the order of their inputs: numbers and baselines stand last.
    main.graph.inputs[:] = [value for value in main.graph.inputs if value not in fed] + fed
    return main.finished_model()


@dataclass
class _Loop:
    """Row r of all chunks holds point r % points of sample r // points, as in the driven rendering.

    Attributes:
        main: The graph around the loop.
        samples: The number of samples, (1,).
        rows: Most rows of a chunk.
        per_sample: Values with a row for each sample, by the name of the step's input that takes a chunk's part.
        shared: Values that every chunk takes as they are, likewise.
        step: The method whose step is the body: that of the graph, or of what is behind a cut.
        sums: Values of the types and shapes of the sums, a row for each sample; none for those of ``main.likes``.
        number: What the noise of each sample is a function of, if not its position.
    """

    main: Rewrite
    samples: ir.Value
    rows: int
    per_sample: Mapping[str, ir.Value]
    shared: Mapping[str, ir.Value]
    step: Request
    sums: Sequence[ir.Value]
    number: ir.Value | None = None

    def moments(self) -> tuple[list[list[ir.Value]], ir.Value | None, list[Range]]:
        """The moments of each gradient, f(x) - f(b) of a path, and the gradients' ranges."""
        totals, ranges = self.totals()
        powers = len(self.main.method.powers)
        end = len(self.sums or self.main.likes) * powers
        moments = [totals[start : start + powers] for start in range(0, end, powers)]
        return moments, totals[-1] if self.main.method.ends is not None else None, ranges

    def totals(self) -> tuple[list[ir.Value], list[Range]]:
        """Appends the Loop; returns the outputs of the step, summed over all chunks, and the gradients' ranges."""
        op, points = self.main.op, self.main.method.points
        body = op.body("chunk")
        number = body.input("number", INT64, [])
        body.input("go_on", ir.DataType.BOOL, [])
        count = op.Squeeze(op.Mul(self.samples, points), [0])
        start = body.Mul(number, self.rows)
        row = body.Range(start, body.Min(body.Add(start, self.rows), count), 1)
        sample, point = body.Div(row, points), body.Mod(row, points)
        first, end = body.Gather(sample, [0]), body.Add(body.Gather(sample, [-1]), 1)
        chunk = body.Range(body.Squeeze(first, [0]), body.Squeeze(end, [0]), 1)
        # Gather, as the shape behind a Slice with computed ends is unknown to a runtime, and unknown shapes are slow.
        feeds = {name: body.Gather(value, chunk, axis=0) for name, value in self.per_sample.items()}
        feeds |= self._row_feeds(body, sample, point, chunk, start) | dict(self.shared)
        masked = len(self.main.method.counting) < points
        step = step_rewrite(self.step, masked)
        parts = inline(step.finished_model(), body, self.main, feeds, "of_chunk")
        initial, sums = self._zeros(), []
        for part, zeros in zip(parts, initial, strict=True):
            total = body.input("total", zeros.dtype, [None, *(dims_of(part) or [])[1:]])
            there = body.Add(body.Slice(total, first, end, [0]), part)
            before, after = body.Slice(total, [0], first, [0]), body.Slice(total, end, [2**62], [0])
            sums.append(body.Concat(before, there, after, axis=0))
        body.graph.outputs.extend([body.Identity(body.graph.inputs[1]), *sums])
        trips = op.Div(op.Add(count, self.rows - 1), self.rows)
        found = list(op.node("Loop", [trips, np.array(True), *initial], {"body": body.graph}, len(sums)))
        for value, zeros in zip(found, initial, strict=True):
            value.type, value.shape = zeros.type, zeros.shape
        return found, step.gradient_ranges

    def _row_feeds(
        self, body: OpBuilder, sample: ir.Value, point: ir.Value, chunk: ir.Value, start: ir.Value
    ) -> dict[str, ir.Value]:
        """What the step needs to know of the rows of a chunk of samples; see ``step_rewrite``."""
        method, main = self.main.method, self.main
        points = method.points
        row = body.Sub(sample, body.Gather(chunk, [0]))
        # Positions among the rows of all chunks: a sample's rows here are those from ``first`` up to ``end``.
        ends_at = body.Add(start, body.Shape(sample, start=0, end=1))
        first = body.Unsqueeze(body.Max(body.Mul(chunk, points), start), [1])
        end = body.Unsqueeze(body.Min(body.Mul(body.Add(chunk, 1), points), ends_at), [1])
        wanted = body.Add(first, np.arange(min(points, self.rows))[None])
        within, taken = body.Less(wanted, end), body.Min(wanted, body.Sub(end, 1))

        def per_point(table: np.ndarray, dtype: ir.DataType | None, which: ir.Value) -> ir.Value:
            return body.Gather(body.constant(table, dtype), which)

        def of_samples(table: np.ndarray, dtype: ir.DataType | None) -> ir.Value:
            return body.Where(within, per_point(table, dtype, body.Mod(taken, points)), 0)

        numbers = sample if self.number is None else body.Gather(self.number, sample)
        feeds = {ROW: row, PLACES: body.Sub(taken, start), SAMPLE: numbers, DRAW: point}
        feeds[WEIGHTS] = of_samples(method.weights, method.dtype_of_moments(main.wrt[0]))
        if method.alphas is not None and method.ends is not None:
            feeds[ALPHA] = per_point(method.alphas, ir.DataType.FLOAT, point)
            feeds[ENDS] = of_samples(method.ends, main.score.dtype)
        return feeds

    def _zeros(self) -> list[ir.Value]:
        """The sums before the first chunk, in the order of the step's outputs."""
        op, found = self.main.op, []
        for position, x in enumerate(self.sums or self.main.likes):
            zeros = op.zeros_like(x) if self.sums else self.main.zeros(position, self.samples)
            zeros = op.cast(zeros, self.main.method.dtype_of_moments(x))
            zeros.shape = x.shape
            found += [zeros] * len(self.main.method.powers)
        if self.main.method.ends is not None:
            zeros = op.Expand(op.constant(0, self.main.score.dtype), op.Concat(self.samples, [1], axis=0))
            zeros.shape = ir.Shape([(dims_of(self.main.score) or [None])[0], 1])
            found.append(zeros)
        return found
