"""A noise tunnel in the renderings: where other methods have the gradient at a point, it has a method's whole result.

Points are noisy copies of what goes into the inner method; its graph, a function of those, is called for all rows of a
chunk at once, and what it gives is averaged as gradients are. The three renderings are those of any method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.overrides import RELU_LIKE
from onnxattr.compile.baseline_kinds import Baseline, Computed, Fed
from onnxattr.compile.cut import cut_off, find_cut
from onnxattr.compile.placement import Placement
from onnxattr.compile.renderings.batch import batch_model
from onnxattr.compile.renderings.groups import Groups
from onnxattr.compile.renderings.inlining import inline
from onnxattr.compile.renderings.loop import loop_model
from onnxattr.compile.renderings.model_graph import own_name
from onnxattr.compile.renderings.rewrite import NUMBER, Request, Rewrite
from onnxattr.compile.renderings.tail import Tail
from onnxattr.graph.values import dims_of
from onnxattr.loading.prepared import Prepared


@dataclass(frozen=True)
class TunnelRequest(Request):
    """The graphs of a noise tunnel; ``prepared.wrt`` are the values that get noise.

    Attributes:
        inner: The method inside, with the noisy values among its model's inputs.
        inner_rows: Most rows in one run of the model; None for no bound.
        with_delta: Whether the mean of the inner convergence deltas is given too.
        functions: The graphs of inner methods, each built once for all requests that are made of this one.
    """

    inner: Request | None = None
    inner_rows: int | None = None
    with_delta: bool = False
    functions: dict[Any, tuple[Request, ir.Model]] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def tail(self) -> Tail | None:
        """What is computed at each noisy copy, where values that do not depend on the noise are computed once.

        The method inside may have a tail of its own.
        """
        inner = self.inside
        if RELU_LIKE in inner.method.rules or not inner.score.linear or inner.method.factor is not None:
            return None
        if any(isinstance(kind, Computed | Fed) for kind in inner.baselines):
            return None
        cut = find_cut(self.prepared, inner.method.rules, self.method.points, self.share, straight=False)
        if cut is None:
            return None
        placed = () if inner.placement is None else (inner.placement.image,)
        cut, model = cut_off(self.prepared, cut, placed)
        behind = replace(
            self,
            prepared=replace(self.prepared, model=model),
            inner=replace(inner, prepared=replace(inner.prepared, model=model)),
            share=False,
        )
        return Tail(cut, behind, one_start=False, straight=False)

    @property
    def inside(self) -> Request:
        """The method inside."""
        assert self.inner is not None
        return self.inner

    @property
    def shown(self) -> Prepared:
        """The model with the values that the maps are of."""
        return self.inside.shown

    @property
    def placement(self) -> Placement | None:
        """That of the method inside."""
        return self.inside.placement

    @property
    def map_groups(self) -> tuple[Groups | None, ...]:
        """Those of the method inside."""
        return self.inside.map_groups

    @property
    def has_delta(self) -> bool:
        """Whether there is a convergence delta."""
        return self.with_delta

    @property
    def has_gap(self) -> bool:
        """A mean of gaps would say nothing of the mean."""
        return False

    @property
    def baselines(self) -> Sequence[Baseline]:
        """Those of the method inside."""
        return self.inside.baselines

    def with_baseline_inputs(self) -> TunnelRequest:
        """The same with all baselines of the method inside as inputs of the graph."""
        return replace(self, inner=self.inside.with_baseline_inputs())

    @property
    def in_steps(self) -> TunnelRequest:
        """The same: what is computed once for each sample is in the graph inside."""
        return self

    @property
    def rows_each(self) -> int:
        """How many rows of the model one row of the tunnel takes at once."""
        points = self.inside.points_in_all
        return points if self.inner_rows is None else min(points, self.inner_rows)

    @property
    def points_in_all(self) -> int:
        """How many rows of the model one sample takes in all."""
        return self.method.points * self.inside.points_in_all

    @property
    def function(self) -> ir.Model:
        """The inner method as a graph: its points as one batch, or in a loop.

        That is where they are more than the bound, or follow from each other.
        """
        key = id(self.inner), self.inner_rows
        if key not in self.functions:
            inner = replace(self.inside, numbered=self.inside.seeded)
            rows = self.inner_rows or inner.points_in_all
            if inner.method.refinement is None and inner.points_in_all <= rows:
                model = batch_model(inner, labels=False)
            else:
                model = loop_model(inner, False, max(rows // inner.rows_each, 1))
            self.functions[key] = self.inside, model
        return self.functions[key][1]

    @property
    def maps(self) -> list[ir.Value]:
        """The outputs of the function that are averaged: the attributions, and the delta where it is asked for."""
        outputs = list(self.function.graph.outputs)[1:]
        return outputs[: len(self.shown.wrt) + self.with_delta]

    def unbounded(self) -> TunnelRequest:
        """The same with all points of the inner method as one batch."""
        return replace(self, inner=self.inside.unbounded(), inner_rows=None)

    def rewrite(self) -> Rewrite:
        """A clone of the model to build a graph on."""
        return TunnelRewrite(self)


class TunnelRewrite(Rewrite):
    """The rewrite whose gradients are an inner method's results, and whose last step is a statistic of them."""

    request: TunnelRequest

    def __init__(self, request: TunnelRequest):
        super().__init__(request)
        self._inputs = {str(value.name): value for value in self.graph.inputs}
        self._maps: list[ir.Value] | None = None
        self._target: ir.Value | None = None
        self._per_sample: dict[str, ir.Value] | None = None
        self._fed: dict[str, ir.Value] | None = None
        self._counters: tuple[ir.Value, ir.Value, ir.Value] | None = None

    @property
    def likes(self) -> Sequence[ir.Value]:
        """Values of the maps' types and shapes: the maps themselves where they are computed."""
        return self._maps or [_described(value) for value in self.request.maps]

    def read(self, new: ir.Value, old: ir.Value) -> None:
        """Notes that the model's nodes read a value in the place of another."""
        super().read(new, old)
        self._inputs |= {name: new for name, value in self._inputs.items() if value is old}

    def gather_inputs(self, pick: Callable[[ir.Value], ir.Value]) -> None:
        """Gives the graph inputs of B rows; the model and the method inside see ``pick`` of them, their rows."""
        super().gather_inputs(pick)
        self._fed = {name: pick(value) for name, value in self.baselines_per_sample(None).items()}

    def baselines_per_sample(self, number: ir.Value | None) -> dict[str, ir.Value]:
        """The baselines of the method inside that come from outside, a row for each sample."""
        if self._per_sample is not None:
            return self._per_sample
        op, shown, self._per_sample = self.op, self.request.shown, {}
        for position, kind in enumerate(self.request.baselines):
            if isinstance(kind, Fed):
                value, own = shown.value(shown.wrt[position]), own_name(shown, "baseline", position)
                given = op.input(own, value.dtype, ["baselines", *(dims_of(value) or [None])[1:]])
                samples = op.Range(0, op.Squeeze(op.Shape(self.with_rows, start=0, end=1), [0]), 1)
                row = op.Mod(samples, op.Shape(given, start=0, end=1))
                self._per_sample[own] = op.Gather(self.rows_of_baseline(given, given), row, axis=0)
        return self._per_sample

    def add_target(self, prediction: ir.Value, labels: bool, rows: int | str | None) -> ir.Value:
        """The targets as the score takes them."""
        self._target = super().add_target(prediction, labels, rows)
        return self._target

    def note_draws(self, seed: ir.Value, sample: ir.Value, draw: ir.Value) -> None:
        """Notes what the noise of rows is a function of."""
        self._counters = (seed, sample, draw)

    def gradients(self, points: Sequence[ir.Value], target: ir.Value) -> list[ir.Value]:
        """The results of the inner method at the points."""
        request = self.request
        noisy = dict(zip(request.prepared.wrt, points, strict=True))
        if self._fed is None:
            self._fed = self.baselines_per_sample(None)
        feeds = self._inputs | self._fed | noisy | {own_name(request.inside.prepared, "target"): target}
        if request.inside.seeded:
            feeds |= self._inner_noise(points[0])
        found = inline(request.function.clone(), self.op, self, feeds, "inside")[1:]
        self._maps = [value if len(dims_of(value) or []) > 1 else self._column(value) for value in found]
        self._maps = self._maps[: len(request.maps)]
        self.graph.sort()
        return self._maps

    def _column(self, vector: ir.Value) -> ir.Value:
        column: ir.Value = self.op.Unsqueeze(vector, [1])
        return column

    def _inner_noise(self, like: ir.Value) -> dict[str, ir.Value]:
        """The seed of the inner method, and a number for each row that its noise is a function of."""
        op, name = self.op, own_name(self.request.inside.prepared, "seed")
        if self._counters is None:
            zeros = op.Expand(op.constant(0, ir.DataType.INT64), op.Shape(like, start=0, end=1))
            return {name: op.constant(np.array(1, np.int64)), NUMBER: zeros}
        seed, sample, draw = self._counters
        number = op.Add(op.Mul(sample, self.method.points + 1), op.Add(draw, 1))
        return {name: op.Add(seed, 1), NUMBER: number}

    def zeros(self, position: int, samples: ir.Value) -> ir.Value:
        """Zeros in the shape of a map of each sample."""
        like = self.request.maps[position]
        dims = (dims_of(_described(like)) or [None])[1:]
        if not all(isinstance(dim, int) for dim in dims):
            assert self._target is not None
            at_x = self._maps or self.gradients(self.wrt, self._target)
            return self.op.zeros_like(at_x[position])
        shape = self.op.Concat(samples, np.array(dims, np.int64), axis=0)
        zeros: ir.Value = self.op.Expand(self.op.constant(0, like.dtype), shape)
        return zeros

    def attributions(
        self, xs: Sequence[ir.Value], moments: Sequence[Sequence[ir.Value]], difference: ir.Value | None
    ) -> None:
        """Appends the statistics as graph outputs."""
        shown = self.request.shown
        dim = (dims_of(xs[0]) or [None])[:1]
        for position, (like, found) in enumerate(zip(self.request.maps, moments, strict=True)):
            dims = (dims_of(like) or [None])[1:]
            if position == len(shown.wrt):
                name, value = own_name(shown, "convergence_delta"), self.op.Reshape(found[0], [-1])
            else:
                name = own_name(shown, "attribution", position)
                value = self.method.finish(self.op, found[0], None, found)
            self.add_output(value, name, self.method.dtype_of_moments(like), [*dim, *dims])


def _described(value: ir.Value) -> ir.Value:
    """A value with the type and shape of a map and at least two axes."""
    dims = dims_of(value) or [None]
    return ir.Value(name=value.name, type=value.type, shape=ir.Shape(dims if len(dims) > 1 else [*dims, 1]))
