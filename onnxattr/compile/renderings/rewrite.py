"""What determines the graphs of a method, and one of them on its way: gradients at its points, its last step."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from onnxattr.autodiff.engine import pullback
from onnxattr.autodiff.overrides import RELU_LIKE
from onnxattr.autodiff.paths import inputs_of
from onnxattr.compile.baseline_kinds import Baseline
from onnxattr.compile.method import Method
from onnxattr.compile.placement import Placement
from onnxattr.compile.relus import relu_spans
from onnxattr.compile.renderings.groups import MASK, Groups, summed
from onnxattr.compile.renderings.model_graph import INT64, own_name
from onnxattr.compile.renderings.points_graph import PointsGraph
from onnxattr.compile.renderings.reducers import REDUCERS
from onnxattr.compile.renderings.tail import Tail, tail_of
from onnxattr.graph.intervals import Range
from onnxattr.graph.values import dims_of
from onnxattr.loading.missing import may_be_missing
from onnxattr.loading.prepared import Prepared
from onnxattr.scores.score import LINEAR, Score, TargetKind

#: The input of a graph that says, for each sample, what its noise is a function of, if not its position.
NUMBER = "onnxattr/number"


@dataclass(frozen=True)
class Request:
    """Everything that determines the graphs of a method on a model."""

    prepared: Prepared
    method: Method
    reducer: str | None
    channel_axes: tuple[int | None, ...]
    relu_policy: str
    score: Score = LINEAR
    #: The groups over which the attributions of each explained value are summed; None for none.
    groups: tuple[Groups | None, ...] = ()
    #: Whether the graph has the input ``NUMBER``.
    numbered: bool = False
    #: Names of the passes that may make the gradient cheaper; None for all.
    rewrites: Collection[str] | None = None
    #: Whether what is the same at all points of a sample is computed once for it; see ``compile.cut.find_cut``.
    share: bool | str = "auto"
    #: Names of the values whose gradients are summed in the place of those of the explained ones; see ``compile.cut``.
    summed: tuple[str, ...] = ()

    @functools.cached_property
    def tail(self) -> Tail | None:
        """What is computed at each point alone, where the rest is computed once for each sample."""
        return tail_of(self)

    @property
    def shown(self) -> Prepared:
        """The model with the values that the maps are of."""
        return self.prepared

    @property
    def placement(self) -> Placement | None:
        """How maps at a layer lie over the image."""
        return self.method.placement

    @property
    def map_groups(self) -> tuple[Groups | None, ...]:
        """The groups over which each map is summed; None for a map that is not."""
        return self.groups or (None,) * len(self.prepared.wrt)

    @property
    def has_delta(self) -> bool:
        """Whether there is a convergence delta."""
        return self.method.ends is not None

    @property
    def has_gap(self) -> bool:
        """Whether there is a relative gap."""
        return self.method.ends is not None

    @property
    def seeded(self) -> bool:
        """Whether numbers are drawn."""
        return self.method.seeded

    @property
    def baselines(self) -> Sequence[Baseline]:
        """The baseline of each map; none where there is no path."""
        return self.method.baseline or ()

    def with_baseline_inputs(self) -> Request:
        """The same with all baselines as inputs of the graph."""
        return replace(self, method=self.method.fed(every=True))

    @property
    def rows_each(self) -> int:
        """How many rows of the model one row of the method's graphs takes at once."""
        return 1

    @property
    def points_in_all(self) -> int:
        """How many rows of the model one sample takes in all."""
        return self.method.points

    def unbounded(self) -> Request:
        """The same where nothing bounds the rows of a run."""
        return self

    def rewrite(self) -> Rewrite:
        """A clone of the model to build a graph on."""
        return Rewrite(self)

    @property
    def target_kind(self) -> TargetKind:
        """What the targets of the score are."""
        return self.score.target_kind(self.prepared.value(self.prepared.output))

    @property
    def in_steps(self) -> Request:
        """The same for graphs that take from outside what is computed once for each sample."""
        return replace(self, method=self.method.fed(every=False))


class Rewrite(PointsGraph):
    """One clone of the model on its way to become a graph of the method."""

    def __init__(self, request: Request):
        super().__init__(request)
        self._factor: ir.Value | None = None
        #: Whether the gradients depend on the points, once they are appended.
        self.looks = True
        #: What the gradients at points can hold, once they are appended; that of one for each of ``likes``.
        self.gradient_ranges: list[Range] = []

    @property
    def likes(self) -> Sequence[ir.Value]:
        """Values of the types and shapes of the moments: the explained ones, or those whose gradients are summed."""
        return self._summed_at(self.wrt)

    def _summed_at(self, points: Sequence[ir.Value]) -> Sequence[ir.Value]:
        """The values whose gradients are summed, with points in the place of explained ones; the points by default."""
        placed = dict(zip(self.request.prepared.wrt, points, strict=True))
        return [placed.get(name) or self.value(name) for name in self.request.summed] or points

    def zeros(self, position: int, samples: ir.Value) -> ir.Value:
        """Zeros in the shape of a moment; ``samples`` (1,) is the number of samples."""
        return self.op.zeros_like(self.wrt[position])

    def note_draws(self, seed: ir.Value, sample: ir.Value, draw: ir.Value) -> None:
        """Takes note of what the noise of rows is a function of; see ``normal_like``."""

    def gradients(self, points: Sequence[ir.Value], target: ir.Value) -> list[ir.Value]:
        """The gradients of the score at the points; ``target`` has a row for each of them.

        They are gradients by the points, or by the values whose gradients are summed in their place.
        """
        points = self._summed_at(points)
        if target.producer() is not None and target.shape is not None and self.score.shape is not None:
            # Gathered and repeated rows are as many as the score's, which their nodes do not tell. The other axes are
            # the target's own: boxes to be found are not as many as those of the output.
            target.shape = ir.Shape([self.score.shape[0], *list(target.shape)[1:]])
        spans = {}
        if RELU_LIKE in self.method.rules:
            spans = relu_spans(self.graph, self.request.prepared.layers, self.request.relu_policy)
        cotangents = {self.score: target}
        if not self.request.score.linear:
            score = self._scored.score(target)
            cotangents = {score: self.op.expand_like(1.0, score)}
            spans = self._scored.with_copies(spans)
        passes = self.request.rewrites
        gradients = pullback(self.op, cotangents, points, self.method.rules, spans, rewrites=passes)
        if (factor := self.method.factor) is not None:
            layer = self._values[factor.placement.layer]
            found = pullback(self.op, cotangents, [layer], factor.rules, rewrites=passes)
            full = factor.finish(self.op, layer, None, found)
            self._factor = self._placed(factor.placement, full)
        self.gradient_ranges = [self.op.range_of(gradient) for gradient in gradients]
        self.looks = not spans or _depend(gradients, points, target)
        if not self.looks:
            warnings.warn(
                "With its ReLUs overridden, this model's map depends on the target alone, not on the input: no "
                "max-pool or other operator on the way back looks at it. GuidedBackprop and GradientInput do.",
                stacklevel=2,
            )
        return gradients

    def score_of_rows(self, target: ir.Value) -> ir.Value:
        """The explained score of each row, (R, 1)."""
        op = self.op
        if not self.request.score.linear:
            return op.cast_like(op.Reshape(self._scored.score(target), [-1, 1]), self.score)
        weighted = op.Flatten(op.Mul(self.score, target), axis=1)
        return op.ReduceSum(weighted, [1], keepdims=1)

    def add_scores(
        self,
        target: ir.Value,
        dim: int | str | None,
        at_x: Callable[[ir.Value], ir.Value] = lambda rows: rows,
    ) -> None:
        """Appends as graph outputs what the prediction does not tell of the score.

        ``prediction_<name>`` for each further output that the score is computed from, and where it is no sum of
        outputs ``score``, (N,).

        Args:
            target: The targets of all rows.
            dim: The number of samples.
            at_x: Picks the rows of the samples themselves.
        """
        prepared = self.request.shown
        for name in prepared.others:
            value = self.value(name)
            dims = [dim, *(dims_of(value) or [None])[1:]]
            self.add_output(at_x(value), own_name(prepared, f"prediction_{name}"), value.dtype, dims)
        if not self.request.score.linear:
            score = self.op.Reshape(at_x(self.score_of_rows(target)), [-1])
            self.add_output(score, own_name(prepared, "score"), self.score.dtype, [dim])

    def attributed(
        self, x: ir.Value, position: int, moments: Sequence[ir.Value], baseline: ir.Value | None
    ) -> ir.Value:
        """The method's last step for the explained value at a position, before anything is reduced."""
        full = self.method.finish(self.op, x, baseline, moments)
        if self._may_be_missing[position]:
            # The score does not depend on what stands in a missing value's place; 0 * NaN would be NaN.
            full = self.op.Where(self.op.IsNaN(x), 0.0, full)
        return full

    def attributions(
        self, xs: Sequence[ir.Value], moments: Sequence[Sequence[ir.Value]], difference: ir.Value | None
    ) -> None:
        """Appends the method's last step and the reducer as graph outputs, one for each explained value.

        Args:
            xs: The explained values.
            moments: The moments of the gradient for each.
            difference: f(x) - f(b), (N, 1), for methods on a path: gives the outputs ``convergence_delta``, (N,), by
                how much the attributions do not add up to it, and ``relative_gap``, (N,), its size over that of the
                difference; its size alone where there is no difference.
        """
        op, totals = self.op, []
        for position, (x, found) in enumerate(zip(xs, moments, strict=True)):
            full = self.attributed(x, position, found, self.baseline(position))
            if difference is not None:
                full_sum = op.ReduceSum(op.Flatten(full, axis=1), [1], keepdims=1)
                totals.append(op.cast_like(full_sum, difference))
            if self._factor is not None:
                full = op.Mul(full, self._factor)
            if (placement := self.method.placement) is not None:
                result = self._placed(placement, full)
                dims = list(dims_of(result) or [])
            else:
                result, dims = self._reduced(full, position, list(dims_of(x) or []))
            if (groups := self.request.map_groups[position]) is not None:
                result.shape = ir.Shape(dims)
                result = summed(op, result, groups, self._rows_of_mask(position, groups))
                dims = [dims[0], groups.count]
            name = own_name(self.request.prepared, "attribution", position)
            self.add_output(result, name, result.dtype or x.dtype, dims)
        if difference is not None:
            total = totals[0] if len(totals) == 1 else op.Sum(*totals)
            delta = op.Reshape(op.Sub(total, difference), [-1])
            size = op.Reshape(op.Abs(difference), [-1])
            gap = op.Div(op.Abs(delta), op.Where(op.Equal(size, 0), 1, size))
            for stem, value in (("convergence_delta", delta), ("relative_gap", gap)):
                name = own_name(self.request.prepared, stem)
                self.add_output(value, name, difference.dtype, (dims_of(xs[0]) or [None])[:1])

    def _rows_of_mask(self, position: int, groups: Groups) -> ir.Value | None:
        """The input that says the groups of each sample, where they are not the same for all."""
        if not groups.per_sample:
            return None
        name = own_name(self.request.prepared, MASK, position)
        rows = (dims_of(self.wrt[position]) or [None])[0]
        return self.op.input(name, INT64, [rows if isinstance(rows, int) else None, *groups.shape])

    def add_spent(self, spent: ir.Value) -> None:
        """Appends how many gradients each sample took as the graph output ``spent_steps``, (N,) int64."""
        self.add_output(
            spent, own_name(self.request.prepared, "spent_steps"), INT64, dims_of(spent) or [None]
        )

    def _placed(self, placement: Placement, full: ir.Value) -> ir.Value:
        """A map at a layer as one over the image."""
        inner = self._values.get(str(placement.image))
        image = next((v for v in self.graph.inputs if v.name == placement.image), inner)
        return placement.placed(self.op, full, image)

    @functools.cached_property
    def _may_be_missing(self) -> list[bool]:
        """Whether each explained value is an input in which the model replaces missing values."""
        prepared = self.request.prepared
        values = prepared.values
        found = may_be_missing([values[name] for name in prepared.wrt], values[prepared.output])
        return [
            missing and values[name].producer() is None
            for name, missing in zip(prepared.wrt, found, strict=True)
        ]

    def _reduced(
        self, full: ir.Value, position: int, dims: list[int | str | None]
    ) -> tuple[ir.Value, list[int | str | None]]:
        reducer, axis, groups = (
            self.request.reducer,
            self.request.channel_axes[position],
            self.request.map_groups[position],
        )
        if reducer is None or axis is None or (groups is not None and not groups.reduced):
            return full, dims
        dims[axis] = 1
        return REDUCERS[reducer](self.op, full, axis), dims


def _depend(values: Sequence[ir.Value], points: Sequence[ir.Value], target: ir.Value) -> bool:
    """Whether the numbers of some value, not its shape alone, depend on the points."""
    sought, seen, waiting = set(points), {target}, list(values)
    while waiting:
        value = waiting.pop()
        if value in sought:
            return True
        node = value.producer()
        if value not in seen and node is not None and node.op_type not in ("Shape", "Size"):
            waiting += inputs_of(node)
        seen.add(value)
    return False
