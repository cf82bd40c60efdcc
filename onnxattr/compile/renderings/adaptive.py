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
from onnxattr.compile.renderings.rewrite import Request, Rewrite
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.intervals import Range
from onnxattr.graph.values import dims_of

FLOAT = ir.DataType.FLOAT
#: Of what the choice of points is computed in, here and in ``running.refine``, so that both choose the same.
DOUBLE = ir.DataType.DOUBLE
#: Where a place for a point is not in use; behind all that are.
_UNUSED = 2.0


def adaptive_totals(
    main: Rewrite,
    samples: ir.Value,
    per_sample: Mapping[str, ir.Value],
    shared: Mapping[str, ir.Value],
    step: Request,
    likes: Sequence[ir.Value],
) -> tuple[list[ir.Value], ir.Value, ir.Value, list[Range]]:
    """Appends a Loop over samples around a Loop over points.

    Args:
        main: The graph around the loops.
        samples: The number of samples, (1,).
        per_sample: Values with a row for each sample, by the name of the step's input.
        shared: Values that are the same for all, likewise.
        step: The method whose gradients are taken: that of the graph, or of what is behind a cut.
        likes: Its explained values, a row for each sample.

    Returns:
        The moments of each explained value, f(x) - f(b), (N, 1), how many points each sample took, (N,), and what the
        gradients can hold.
    """
    op = main.op
    body = op.body("sample")
    sample = body.input("number", INT64, [])
    body.input("go_on", ir.DataType.BOOL, [])
    feeds = {
        name: body.Gather(value, body.Reshape(sample, [1]), axis=0) for name, value in per_sample.items()
    } | dict(shared)
    rewrite = rows_rewrite(step)
    moments, difference, spent = _Points(main, body, feeds, rewrite, likes).appended()
    body.graph.outputs.extend([body.Identity(body.graph.inputs[1]), *moments, difference, spent])
    found = op.node(
        "Loop", [op.Squeeze(samples, [0]), np.array(True)], {"body": body.graph}, len(moments) + 2
    )
    *totals, differences, numbers = found
    dim = (dims_of(main.with_rows) or [None])[0]
    for total, x in zip(totals, likes, strict=True):
        total.type, total.shape = x.type, ir.Shape([dim, *(dims_of(x) or [None])[1:]])
    differences.type, differences.shape = main.score.type, ir.Shape([dim, 1])
    numbers.dtype, numbers.shape = INT64, ir.Shape([dim])
    return totals, differences, numbers, rewrite.gradient_ranges


@dataclass
class _Points:
    """The points of one sample, one in each run of the model.

    Points have places in the order in which they are taken; the Loop stacks their gradients in the same order. As in
    ``running.refine``, several are chosen at a time; those that wait for their turn are a state of the Loop.

    Attributes:
        main: The graph around the loops.
        body: The body of the Loop over samples.
        feeds: What the step takes of the sample, a row, by the name of the step's input.
        step: The graph that takes a gradient.
        likes: Its explained values.
    """

    main: Rewrite
    body: OpBuilder
    feeds: Mapping[str, ir.Value]
    step: Rewrite
    likes: Sequence[ir.Value]

    def __post_init__(self) -> None:
        refinement = self.main.method.refinement
        assert refinement is not None
        self.refinement = refinement
        self.places = refinement.most
        self.first = quadrature.trapezoid(refinement.steps)[0].astype(np.float32)
        score = self.main.score.dtype
        self.rounding = quadrature.ROUNDING.get(int(score.itemsize) if score else 4, 1e-6)

    def appended(self) -> tuple[list[ir.Value], ir.Value, ir.Value]:
        """The moments, f(x) - f(b), (1,), and the number of points, ()."""
        body, places = self.body, self.places
        states: list[np.ndarray] = [np.full(places, _UNUSED), *[np.zeros(places)] * 2]
        states += [np.zeros(quadrature.at_once(places)), np.array(0), self.first[:1]]
        constants = map(body.constant, states)
        outputs = len(states) + len(self.likes)
        found = body.node(
            "Loop", [np.array(places), np.array(True), *constants], {"body": self._point().graph}, outputs
        )
        path = _Path(body, found[:3], places)
        moments, taken = [], None
        for stack, x in zip(found[len(states) :], self.likes, strict=True):
            dims = (dims_of(x) or [None])[1:]
            stack.type, stack.shape = x.type, ir.Shape([None, 1, *dims])
            taken = body.Shape(stack, start=0, end=1)
            weights = body.Unsqueeze(body.Slice(path.weights(), [0], taken, [0]), [0])
            flat = body.Reshape(stack, body.Concat(taken, [-1], axis=0))
            total = body.MatMul(body.cast_like(weights, flat), flat)
            total = body.reshape_rows(total, body.shape(stack, 2), x)
            total.type, total.shape = x.type, ir.Shape(dims)
            moments.append(total)
        assert taken is not None
        difference = body.Reshape(body.cast_like(path.difference(), self.main.score), [1])
        difference.type, difference.shape = self.main.score.type, ir.Shape([1])
        spent = body.Squeeze(taken, [0])
        spent.dtype, spent.shape = INT64, ir.Shape([])
        return moments, difference, spent

    def _point(self) -> OpBuilder:
        """The body of the inner Loop: takes a point, and chooses the next ones when no others wait."""
        body, places = self.body.body("point"), self.places
        number = body.input("number", INT64, [])
        body.input("go_on", ir.DataType.BOOL, [])
        states = [body.input(name, DOUBLE, [places]) for name in ("alphas", "slopes", "scores")]
        waiting = body.input("waiting", DOUBLE, [quadrature.at_once(places)])
        left, wanted = body.input("left", INT64, []), body.input("wanted", FLOAT, [1])
        feeds = dict(self.feeds) | {ALPHA: wanted, ROW: body.constant(np.zeros(1, np.int64))}
        *gradients, slopes, scores = inline(self.step.finished_model(), body, self.main, feeds, "of_point")
        own = body.Equal(body.constant(np.arange(places)), number)
        news = [body.Reshape(body.Cast(v, to=DOUBLE.value), [1]) for v in (wanted, slopes, scores)]
        states = [body.Where(own, new, old) for new, old in zip(news, states, strict=True)]
        for state in states:
            state.dtype, state.shape = DOUBLE, ir.Shape([places])
        path, count = _Path(body, states, places), body.Add(number, 1)
        begins, some_left = body.Less(count, len(self.first)), body.Greater(left, 0)
        chosen, how_many = path.next_points(count, self.refinement, self.rounding)
        waiting = body.Where(some_left, waiting, chosen)
        left = body.Where(begins, 0, body.Sub(body.Where(some_left, left, how_many), 1))
        begun = body.Gather(body.constant(self.first), body.Min(count, len(self.first) - 1), axis=0)
        then = body.Cast(body.Gather(waiting, body.Max(left, 0), axis=0), to=FLOAT.value)
        wanted = body.Reshape(body.Where(begins, begun, then), [1])
        waiting.dtype, waiting.shape = DOUBLE, ir.Shape([quadrature.at_once(places)])
        go_on = body.Or(begins, body.GreaterOrEqual(left, 0))
        body.graph.outputs.extend([go_on, *states, waiting, left, wanted, *gradients])
        return body


class _Path:
    """The points of one sample in ascending order, places that are not in use behind them.

    Args of the constructor: where to append; alphas, slopes and scores by place; the number of places.
    """

    def __init__(self, op: OpBuilder, state: Sequence[ir.Value], places: int):
        self.op, self.places = op, places
        for value in state:
            value.dtype, value.shape = DOUBLE, ir.Shape([places])
        alphas, slopes, scores = state
        self.alphas, self.order = op.node("TopK", [alphas, [places]], {"largest": 0, "sorted": 1}, 2)
        self.slopes, self.scores = (op.Gather(value, self.order) for value in (slopes, scores))
        self.used = op.Less(self.alphas, 1.5)
        within = op.Less(self._above(self.alphas), 1.5)
        self.lengths = op.Where(within, op.Sub(self._above(self.alphas), self._below(self.alphas)), 0.0)
        sums = op.Add(self._above(self.slopes), self._below(self.slopes))
        change = op.Sub(self._above(self.scores), self._below(self.scores))
        misses = op.Sub(op.Mul(op.Mul(self.lengths, sums), 0.5), change)
        self.misses = op.Where(within, misses, 0.0)

    def _below(self, value: ir.Value) -> ir.Value:
        return self.op.Slice(value, [0], [self.places - 1], [0])

    def _above(self, value: ir.Value) -> ir.Value:
        return self.op.Slice(value, [1], [self.places], [0])

    def next_points(
        self, count: ir.Value, refinement: quadrature.Refinement, rounding: float
    ) -> tuple[ir.Value, ir.Value]:
        """The middles of the intervals that miss the most, and how many of them to take, (), as ``refine`` does.

        Args:
            count: The number of points so far, ().
            refinement: When it is enough.
            rounding: What a score is exact to, relative to its size.
        """
        op, most = self.op, quadrature.at_once(refinement.most)
        steps = self._quarters(op.Mul(op.Abs(self.misses), op.Sqrt(self.lengths)))
        halved = op.Greater(self.lengths, quadrature.SHORTEST)
        places = op.Round(op.Mul(op.Log(op.Max(self.lengths, quadrature.SHORTEST)), 1 / np.log(2)))
        # A number whose order is that of (order, length), both integers; places that are equal come from left to right.
        largest = op.ReduceMax(op.Where(halved, steps, quadrature.NONE), keepdims=0)
        order = self._order(steps, largest, refinement.margin)
        rank = op.Add(op.Mul(order, 32.0), places)
        rank = op.Where(halved, rank, 64 * quadrature.NONE)
        _, which = op.node("TopK", [rank, [most]], {"largest": 1, "sorted": 1}, 2)
        ends = [op.Gather(part(self.alphas), which) for part in (self._below, self._above)]
        good = op.Gather(halved, which)
        if refinement.tolerance is not None:
            of_chosen = op.Gather(steps, which)
            least = op.Sub(largest, float(quadrature.NEGLIGIBLE))
            good = op.And(good, op.GreaterOrEqual(of_chosen, least))
        number = op.Min(op.Max(op.Div(count, quadrature.EACH), 1), op.Sub(refinement.most, count))
        good = op.And(good, op.Less(op.constant(np.arange(most)), number))
        how_many = op.ReduceSum(op.Cast(good, to=INT64.value), keepdims=0)
        if refinement.tolerance is not None:
            how_many = op.Where(self._misses_by_more(refinement.tolerance, rounding), how_many, 0)
        return op.Mul(op.Add(*ends), 0.5), how_many

    def _order(self, steps: ir.Value, largest: ir.Value, margin: int) -> ir.Value:
        """What intervals are ordered by: their errors, or of those with large ones what halving leaves of the sum."""
        if not margin:
            return steps
        op = self.op
        total = op.ReduceSum(self.misses, keepdims=0)
        left = self._quarters(op.Abs(op.Sub(total, op.Mul(self.misses, quadrature.TAKEN))))
        large = op.GreaterOrEqual(steps, op.Sub(largest, float(margin)))
        return op.Where(large, op.Sub(quadrature.FIRST, left), steps)

    def _quarters(self, sizes: ir.Value) -> ir.Value:
        """Sizes in quarters of powers of two, rounded down; ``NONE`` for those that are next to nothing."""
        op = self.op
        quarters = op.Floor(op.Mul(op.Log(op.Max(sizes, quadrature.TINY)), 4 / np.log(2)))
        return op.Where(op.Greater(sizes, quadrature.TINY), quarters, quadrature.NONE)

    def difference(self) -> ir.Value:
        """f(x) - f(b), ()."""
        op = self.op
        at_x = op.ReduceSum(op.Where(op.Equal(self.alphas, 1.0), self.scores, 0.0), keepdims=0)
        return op.Sub(at_x, op.Squeeze(op.Slice(self.scores, [0], [1], [0]), [0]))

    def _misses_by_more(self, tolerance: float, rounding: float) -> ir.Value:
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
        return op.ScatterElements(np.zeros(self.places), self.order, sorted_weights, axis=0)
