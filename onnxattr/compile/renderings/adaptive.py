"""The loop rendering of adaptive points: rounds for each sample, whose points follow from the gradients so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxattr.compile import quadrature
from onnxattr.compile.renderings.driven import ALPHA, ROW, rows_rewrite
from onnxattr.compile.renderings.inlining import inline
from onnxattr.compile.renderings.model_graph import INT64
from onnxattr.compile.renderings.rewrite import Rewrite
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of

FLOAT = ir.DataType.FLOAT
#: Points of a round, which are one run of the model.
_ROUND = 3
#: Where a place for a point is not in use; behind all that are.
_UNUSED = 2.0


def adaptive_totals(
    main: Rewrite,
    samples: ir.Value,
    rows: int,
    per_sample: Mapping[str, ir.Value],
    shared: Mapping[str, ir.Value],
) -> tuple[list[ir.Value], ir.Value, ir.Value]:
    """Appends a Loop over samples around a Loop over rounds.

    Args:
        main: The graph around the loops.
        samples: The number of samples, (1,).
        rows: Most rows in one run of the model.
        per_sample: Values with a row for each sample, by the name of the step's input.
        shared: Values that are the same for all, likewise.

    Returns:
        The moments of each explained value, f(x) - f(b), (N, 1), and how many points each sample took, (N,).
    """
    op = main.op
    body = op.body("sample")
    sample = body.input("number", INT64, [])
    body.input("go_on", ir.DataType.BOOL, [])
    feeds = {
        name: body.Gather(value, body.Reshape(sample, [1]), axis=0) for name, value in per_sample.items()
    } | dict(shared)
    moments, difference, spent = _Rounds(main, body, feeds, rows).appended()
    body.graph.outputs.extend([body.Identity(body.graph.inputs[1]), *moments, difference, spent])
    found = op.node(
        "Loop", [op.Squeeze(samples, [0]), np.array(True)], {"body": body.graph}, len(moments) + 2
    )
    *totals, differences, numbers = found
    dim = (dims_of(main.with_rows) or [None])[0]
    for total, x in zip(totals, main.wrt, strict=True):
        total.type, total.shape = x.type, ir.Shape([dim, *(dims_of(x) or [None])[1:]])
    differences.type, differences.shape = main.score.type, ir.Shape([dim, 1])
    numbers.dtype, numbers.shape = INT64, ir.Shape([dim])
    return totals, differences, numbers


@dataclass
class _Rounds:
    """The rounds of one sample.

    Points have places in the order in which they are taken, ``each`` a round; the Loop stacks their gradients in the
    same order.

    Attributes:
        main: The graph around the loops.
        body: The body of the Loop over samples.
        feeds: What the step takes of the sample, a row, by the name of the step's input.
        rows: Most rows in one run of the model.
    """

    main: Rewrite
    body: OpBuilder
    feeds: Mapping[str, ir.Value]
    rows: int

    def __post_init__(self) -> None:
        refinement = self.main.method.refinement
        assert refinement is not None
        self.refinement = refinement
        first = refinement.steps
        self.each = _ROUND if first % _ROUND == 0 and self.rows >= _ROUND else 1
        self.trips = max(refinement.most, first) // self.each
        self.first = quadrature.trapezoid(first)[0].astype(np.float32).reshape(-1, self.each)

    def appended(self) -> tuple[list[ir.Value], ir.Value, ir.Value]:
        """The moments, f(x) - f(b), (1,), and the number of points, ()."""
        body, places = self.body, self.trips * self.each
        empty = [np.full(places, _UNUSED, np.float32), *[np.zeros(places, np.float32)] * 2]
        initial = [*map(body.constant, empty), body.constant(self.first[0])]
        rounds, count = self._round(), len(self.main.wrt)
        found = body.node(
            "Loop", [np.array(self.trips), np.array(True), *initial], {"body": rounds.graph}, 4 + count
        )
        alphas, slopes, scores, _, *stacks = found
        for value in (alphas, slopes, scores):
            value.dtype, value.shape = FLOAT, ir.Shape([places])
        path = _Path(body, (alphas, slopes, scores), places)
        moments, taken = [], None
        for stack, x in zip(stacks, self.main.wrt, strict=True):
            dims = (dims_of(x) or [None])[1:]
            stack.type, stack.shape = x.type, ir.Shape([None, self.each, *dims])
            taken = body.Mul(body.Shape(stack, start=0, end=1), self.each)
            weights = body.Unsqueeze(body.Slice(path.weights(), [0], taken, [0]), [0])
            flat = body.Reshape(stack, body.Concat(taken, [-1], axis=0))
            total = body.MatMul(body.cast_like(weights, flat), flat)
            total = body.Reshape(total, body.shape(stack, 2))
            total.type, total.shape = x.type, ir.Shape(dims)
            moments.append(total)
        assert taken is not None
        difference = body.Reshape(body.cast_like(path.difference(), self.main.score), [1])
        difference.type, difference.shape = self.main.score.type, ir.Shape([1])
        spent = body.Squeeze(taken, [0])
        spent.dtype, spent.shape = INT64, ir.Shape([])
        return moments, difference, spent

    def _round(self) -> OpBuilder:
        """The body of the inner Loop: takes the points that the round before has chosen, and chooses the next."""
        body, places = self.body.body("round"), self.trips * self.each
        number = body.input("number", INT64, [])
        body.input("go_on", ir.DataType.BOOL, [])
        states = [body.input(name, FLOAT, [places]) for name in ("alphas", "slopes", "scores")]
        wanted = body.input("wanted", FLOAT, [self.each])
        feeds = dict(self.feeds) | {ALPHA: wanted, ROW: body.constant(np.zeros(self.each, np.int64))}
        *gradients, slopes, scores = inline(
            rows_rewrite(self.main.request).finished_model(), body, self.main, feeds, "of_round"
        )
        own = body.Equal(body.constant(np.arange(places) // self.each), number)
        news = [wanted, *(body.Reshape(body.Cast(v, to=FLOAT.value), [self.each]) for v in (slopes, scores))]
        states = [
            body.Where(own, body.Tile(new, [self.trips]), old) for new, old in zip(news, states, strict=True)
        ]
        for state in states:
            state.dtype, state.shape = FLOAT, ir.Shape([places])
        path, after = _Path(body, states, places), body.Add(number, 1)
        begins = body.Less(after, len(self.first))
        begun = body.Gather(body.constant(self.first), body.Min(after, len(self.first) - 1), axis=0)
        chosen = body.Where(begins, begun, path.worst(self.each))
        chosen.dtype, chosen.shape = FLOAT, ir.Shape([self.each])
        tolerance = self.refinement.tolerance
        go_on = body.Identity(body.graph.inputs[1])
        if tolerance is not None:
            dtype = self.main.score.dtype
            rounding = quadrature.ROUNDING[max(int(dtype.itemsize) if dtype else 4, 2)]
            # The state is kept in float32.
            go_on = body.Or(begins, path.misses_by_more(tolerance, max(rounding, 1e-6)))
        body.graph.outputs.extend([go_on, *states, chosen, *gradients])
        return body


class _Path:
    """The points of one sample in ascending order, places that are not in use behind them.

    Args of the constructor: where to append; alphas, slopes and scores by place; the number of places.
    """

    def __init__(self, op: OpBuilder, state: Sequence[ir.Value], places: int):
        self.op, self.places = op, places
        alphas, slopes, scores = state
        self.alphas, self.order = op.node("TopK", [alphas, [places]], {"largest": 0, "sorted": 1}, 2)
        self.slopes, self.scores = (op.Gather(value, self.order) for value in (slopes, scores))
        self.used = op.Less(self.alphas, 1.5)
        within = op.Less(self._above(self.alphas), 1.5)
        self.lengths = op.Where(within, op.Sub(self._above(self.alphas), self._below(self.alphas)), 0.0)
        mean = op.Mul(op.Add(self._above(self.slopes), self._below(self.slopes)), 0.5)
        change = op.Sub(self._above(self.scores), self._below(self.scores))
        self.misses = op.Where(within, op.Sub(op.Mul(self.lengths, mean), change), 0.0)

    def _below(self, value: ir.Value) -> ir.Value:
        return self.op.Slice(value, [0], [self.places - 1], [0])

    def _above(self, value: ir.Value) -> ir.Value:
        return self.op.Slice(value, [1], [self.places], [0])

    def worst(self, count: int) -> ir.Value:
        """The middles of the intervals that miss the most, as ``refine`` weighs them."""
        op = self.op
        worth = op.Mul(op.Abs(self.misses), op.Sqrt(self.lengths))
        worth = op.Where(op.Greater(self.lengths, 2.0**-20), op.Add(worth, op.Mul(self.lengths, 1e-20)), 0.0)
        _, which = op.node("TopK", [worth, [count]], {"largest": 1, "sorted": 1}, 2)
        ends = [op.Gather(part(self.alphas), which) for part in (self._below, self._above)]
        return op.Mul(op.Add(*ends), 0.5)

    def difference(self) -> ir.Value:
        """f(x) - f(b), ()."""
        op = self.op
        at_x = op.ReduceSum(op.Where(op.Equal(self.alphas, 1.0), self.scores, 0.0), keepdims=0)
        return op.Sub(at_x, op.Squeeze(op.Slice(self.scores, [0], [1], [0]), [0]))

    def misses_by_more(self, tolerance: float, rounding: float) -> ir.Value:
        """Whether the sum of all intervals misses f(x) - f(b) by more than a share of it and than rounding, ()."""
        op = self.op
        size = op.Abs(self.difference())
        enough = op.Mul(op.Where(op.Equal(size, 0.0), 1.0, size), tolerance * 0.999)
        largest = op.ReduceMax(op.Abs(op.Where(self.used, self.scores, 0.0)), keepdims=0)
        enough = op.Max(enough, op.Mul(largest, rounding))
        return op.Greater(op.Abs(op.ReduceSum(self.misses, keepdims=0)), enough)

    def weights(self) -> ir.Value:
        """What the gradient at each place counts by the trapezoid rule, in the order of the places."""
        op = self.op
        halves = op.Mul(self.lengths, 0.5)
        sorted_weights = op.Add(op.Concat(halves, [0.0], axis=0), op.Concat([0.0], halves, axis=0))
        return op.ScatterElements(np.zeros(self.places, np.float32), self.order, sorted_weights, axis=0)
