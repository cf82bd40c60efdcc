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
from onnxattr.compile.fit import TARGETS_FIT, of_sizes
from onnxattr.compile.method import Method
from onnxattr.compile.placement import Placement
from onnxattr.compile.relus import relu_spans
from onnxattr.compile.renderings.groups import Groups
from onnxattr.compile.renderings.maps_graph import MapsGraph
from onnxattr.compile.renderings.model_graph import dims_of_rows, own_name
from onnxattr.compile.renderings.tail import Tail, tail_of
from onnxattr.graph.intervals import Range
from onnxattr.graph.operator_kinds import SIZES
from onnxattr.graph.values import dims_of
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


class Rewrite(MapsGraph):
    """One clone of the model on its way to become a graph of the method."""

    def __init__(self, request: Request):
        super().__init__(request)
        #: Whether the gradients depend on the points, once they are appended.
        self.looks = True
        #: What the gradients at points can hold, once they are appended; that of one for each of ``likes``.
        self.gradient_ranges: list[Range] = []
        self._fits: dict[ir.Value, ir.Value] = {}

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
        if self.request.score.linear:
            cotangents = {self.score: self._fitted(target)}
        else:
            score = self._scored.score(self._fitted(target))
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
            return op.cast_like(op.Reshape(self._scored.score(self._fitted(target)), [-1, 1]), self.score)
        weighted = op.Flatten(op.Mul(self.score, self._fitted(target)), axis=1)
        return op.ReduceSum(weighted, [1], keepdims=1)

    def _fitted(self, target: ir.Value) -> ir.Value:
        """Targets with a number for each of the output; a run fails where it has other sizes, and broadcasts nothing.

        Sizes that the file knows are those of the graph's input: a runtime compares them itself.
        """
        dims = (dims_of(self.score) or [])[1:]
        if self.request.target_kind.own_sizes or all(isinstance(dim, int) for dim in dims):
            return target
        if target not in self._fits:
            fitted = of_sizes(self.op, target, self.op.Shape(self.score), TARGETS_FIT)
            fitted.shape = self.score.shape
            self._fits[target] = fitted
        return self._fits[target]

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
            dims = dims_of_rows(value, dim)
            self.add_output(at_x(value), own_name(prepared, f"prediction_{name}"), value.dtype, dims)
        if not self.request.score.linear:
            score = self.op.Reshape(at_x(self.score_of_rows(target)), [-1])
            self.add_output(score, own_name(prepared, "score"), self.score.dtype, [dim])


def _depend(values: Sequence[ir.Value], points: Sequence[ir.Value], target: ir.Value) -> bool:
    """Whether the numbers of some value, not its shape alone, depend on the points."""
    sought, seen, waiting = set(points), {target}, list(values)
    while waiting:
        value = waiting.pop()
        if value in sought:
            return True
        node = value.producer()
        if value not in seen and node is not None and node.op_type not in SIZES:
            waiting += inputs_of(node)
        seen.add(value)
    return False
