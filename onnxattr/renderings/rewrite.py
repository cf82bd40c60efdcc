"""One clone of a model on its way to become a graph of a method: inputs of rows, points, gradients, last step."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import onnx
import onnx_ir as ir

from onnxattr.attributions.baseline_kinds import OF_PATH, Baseline, Computed, Fed, Fixed
from onnxattr.attributions.definition import Definition
from onnxattr.attributions.placed_path import Rows
from onnxattr.attributions.placement import Placement
from onnxattr.autodiff import inputs_of, pullback
from onnxattr.builder import OpBuilder
from onnxattr.errors import ModelError
from onnxattr.finish_graph import clean
from onnxattr.gradient import named_copy
from onnxattr.loading.heads import is_binary, threshold
from onnxattr.loading.missing import may_be_missing
from onnxattr.model import Prepared
from onnxattr.relus import relu_spans
from onnxattr.renderings.groups import Groups, summed
from onnxattr.renderings.reducers import REDUCERS
from onnxattr.renderings.scored import ScoredModel
from onnxattr.rules.overrides import RELU_LIKE
from onnxattr.scores.score import LINEAR, Score, TargetKind
from onnxattr.values import dims_of, named_values

INT64 = ir.DataType.INT64
#: The input of a graph that says, for each image, what its noise is a function of, if not its position.
NUMBER = "onnxattr/number"


@dataclass(frozen=True)
class Request:
    """Everything that determines the graphs of a method on a model."""

    prepared: Prepared
    definition: Definition
    reducer: str | None
    channel_axes: tuple[int | None, ...]
    relu_policy: str
    score: Score = LINEAR
    #: The groups over which the attributions of each explained value are summed; None for none.
    groups: tuple[Groups | None, ...] = ()
    #: Whether the graph has the input ``NUMBER``.
    numbered: bool = False

    @property
    def shown(self) -> Prepared:
        """The model with the values that the maps are of."""
        return self.prepared

    @property
    def placement(self) -> Placement | None:
        """How maps at a layer lie over the image."""
        return self.definition.placement

    @property
    def map_groups(self) -> tuple[Groups | None, ...]:
        """The groups over which each map is summed; None for a map that is not."""
        return self.groups or (None,) * len(self.prepared.wrt)

    @property
    def has_delta(self) -> bool:
        """Whether there is a convergence delta."""
        return self.definition.ends is not None

    @property
    def has_gap(self) -> bool:
        """Whether there is a relative gap."""
        return self.definition.ends is not None

    @property
    def seeded(self) -> bool:
        """Whether numbers are drawn."""
        return self.definition.seeded

    @property
    def baselines(self) -> Sequence[Baseline]:
        """The baseline of each map; none where there is no path."""
        return self.definition.baseline or ()

    def with_baseline_inputs(self) -> Request:
        """The same with all baselines as inputs of the graph."""
        return replace(self, definition=self.definition.fed(every=True))

    @property
    def rows_each(self) -> int:
        """How many rows of the model one row of the method's graphs takes at once."""
        return 1

    @property
    def points_in_all(self) -> int:
        """How many rows of the model one image takes in all."""
        return self.definition.points

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
        """The same for graphs that take from outside what is computed once for each image."""
        return replace(self, definition=self.definition.fed(every=False))


class Rewrite:
    """One clone of the model on its way to become a graph of the method."""

    def __init__(self, request: Request):
        self.request = request
        self.definition = request.definition
        self.model = request.prepared.clone()
        self.graph = self.model.graph
        self.op = OpBuilder(self.graph, request.prepared.opset, prefix="onnxattr")
        self._values = values = named_values(self.graph)
        self.score = values[request.prepared.output]
        self.wrt = [values[name] for name in request.prepared.wrt]
        self.graph.outputs.clear()
        self._values = values
        self._baselines: dict[int, ir.Value] = {}
        self._scored = ScoredModel(self)
        self._factor: ir.Value | None = None
        self._seed: ir.Value | None = None
        self._slopes: dict[int, ir.Value] = {}

    def value(self, name: str) -> ir.Value:
        """A value of the model by its name, as the model was before anything was added."""
        return self._values[name]

    @property
    def likes(self) -> Sequence[ir.Value]:
        """Values of the types and shapes of the moments: the explained ones."""
        return self.wrt

    def zeros(self, position: int, images: ir.Value) -> ir.Value:
        """Zeros in the shape of a moment; ``images`` (1,) is the number of images."""
        return self.op.zeros_like(self.wrt[position])

    def read(self, new: ir.Value, old: ir.Value) -> None:
        """Notes that the model's nodes read a value in the place of another."""
        self._scored.read(new, old)

    def note_draws(self, seed: ir.Value, image: ir.Value, draw: ir.Value) -> None:
        """Takes note of what the noise of rows is a function of; see ``normal_like``."""

    @property
    def with_rows(self) -> ir.Value:
        """An input that has a row for each image."""
        return next(value for value in self.graph.inputs if has_rows(value))

    def gather_inputs(self, pick: Callable[[ir.Value], ir.Value]) -> None:
        """Gives the graph inputs of B rows; the model itself sees ``pick`` of them, its rows."""
        for index, old in enumerate(list(self.graph.inputs)[: len(self.request.prepared.inputs)]):
            if not has_rows(old):
                continue
            shape = ["images" if not isinstance(d, int) else d for d in (dims_of(old) or [])[:1]] + (
                dims_of(old) or []
            )[1:]
            new = ir.Value(name=old.name, type=old.type, shape=ir.Shape(shape))
            old.name = self.op.unique_name(f"{old.name}_rows")
            self.graph.inputs[index] = new
            rows = pick(new)
            rows.shape = old.shape
            ir.convenience.replace_all_uses_with(old, rows)
            self.read(rows, old)
            self.wrt = [rows if value is old else value for value in self.wrt]

    def place_points(self, points: Callable[[ir.Value, int], ir.Value]) -> list[ir.Value]:
        """Replaces each explained value by its points, for all that reads it; returns the points."""
        placed = []
        for position, value in enumerate(self.wrt):
            uses = list(value.uses())
            z = points(value, position)
            if z is not value:
                z.shape, z.type = value.shape, value.type
            for use in uses if z is not value else []:
                use.node.replace_input_with(use.idx, z)
            self.read(z, value)
            placed.append(z)
        self.graph.sort()
        return placed

    def add_prediction(self, prediction: ir.Value, rows: int | str | None) -> ir.Value:
        """Appends the model's output as the graph output ``prediction``; returns it."""
        name = own_name(self.request.prepared, "prediction")
        named = named_copy(self.op, prediction, name, prediction)
        named.shape = ir.Shape([rows, *(dims_of(self.score) or [None])[1:]])
        self.graph.outputs.append(named)
        return named

    def add_target(self, prediction: ir.Value, labels: bool, rows: int | str | None) -> ir.Value:
        """The input ``target`` as the cotangent of the prediction: the weights given, or one-hot rows of labels.

        Raises:
            ModelError: If there are ``labels`` and the model's output has no axis of classes.
        """
        op, name = self.op, own_name(self.request.prepared, "target")
        if not labels:
            return self.target_input(rows)
        dims = dims_of(self.score) or []
        if is_binary(self.request.prepared.unit):
            return self._unit_target(op.input(name, INT64, [rows]), prediction)
        if len(dims) != 2:
            raise ModelError(
                f"Labels need a model output of shape (N, classes); {self.score.name!r} has shape {dims}."
            )
        target = op.input(name, INT64, [rows])
        chosen = op.Where(op.Less(target, 0), op.ArgMax(prediction, axis=1, keepdims=0), target)
        # In float32 first: the runtime has no OneHot of float64.
        values = op.constant([0, 1], ir.DataType.FLOAT)
        one_hot = op.cast_like(op.OneHot(chosen, op.shape(self.score, 1, 2), values, axis=-1), self.score)
        one_hot.shape = ir.Shape([rows, dims[1]])
        return one_hot

    def target_input(self, rows: int | str | None) -> ir.Value:
        """The input ``target`` as the score takes it, for some rows."""
        kind = self.request.target_kind
        return self.op.input(own_name(self.request.prepared, "target"), kind.dtype, [rows, *kind.dims])

    def _unit_target(self, target: ir.Value, prediction: ir.Value) -> ir.Value:
        """1 for class 1, the unit itself, and -1 for class 0; 0 for a label without a class."""
        op, dims = self.op, dims_of(self.score) or []
        unit = op.cast_like(op.Reshape(prediction, [-1]), op.constant(0, ir.DataType.FLOAT))
        predicted = op.And(op.Less(target, 0), op.Greater(unit, threshold(self.request.prepared.unit)))
        sign = op.Where(op.Or(predicted, op.Equal(target, 1)), 1.0, -1.0)
        sign = op.Where(op.Greater(target, 1), 0.0, sign)
        weights = op.cast_like(op.Reshape(sign, [-1] + [1] * (len(dims) - 1)), self.score)
        weights.shape = ir.Shape([dims_of(target)[0], *dims[1:]])  # type: ignore[index]
        return weights

    def gradients(self, points: Sequence[ir.Value], target: ir.Value) -> list[ir.Value]:
        """The gradients of the score at the points; ``target`` has a row for each of them."""
        spans = {}
        if RELU_LIKE in self.definition.rules:
            spans = relu_spans(self.graph, self.request.prepared.layers, self.request.relu_policy)
        cotangents = {self.score: target}
        if not self.request.score.linear:
            score = self._scored.score(target)
            cotangents = {score: self.op.expand_like(1.0, score)}
            spans = self._scored.with_copies(spans)
        gradients = pullback(self.op, cotangents, points, self.definition.rules, spans)
        if (factor := self.definition.factor) is not None:
            layer = self._values[factor.placement.layer]
            full = factor.finish(self.op, layer, None, pullback(self.op, cotangents, [layer], factor.rules))
            self._factor = self._placed(factor.placement, full)
        if spans and not _depend(gradients, points, target):
            warnings.warn(
                "With its ReLUs overridden, this model's map depends on the target alone, not on the input: no "
                "max-pool or other operator on the way back looks at it. GuidedBackprop and GradientInput do.",
                stacklevel=2,
            )
        return gradients

    def seed(self) -> ir.Value:
        """The input ``seed``, an int64 scalar."""
        if self._seed is None:
            self._seed = self.op.input(own_name(self.request.prepared, "seed"), INT64, [])
        return self._seed

    def baseline(
        self, position: int, x: ir.Value | None = None, image: ir.Value | None = None
    ) -> ir.Value | None:
        """The baseline of the explained value at a position, of one row or as many as there are images.

        Args:
            position: Which of the explained values it is.
            x: The explained value, a row for each image; needed where the baseline is first asked for and computed.
            image: The numbers of the images, int64; None if they are counted from 0 on.
        """
        if self.definition.baseline is None:
            return None
        kind, like = self.definition.baseline[position], self.wrt[position]
        if isinstance(kind, OF_PATH):
            return None
        if isinstance(kind, Fixed):
            return self.op.constant(kind.numbers, like.dtype)
        if position not in self._baselines:
            self._baselines[position] = (
                self._fed_baseline(like, position)
                if isinstance(kind, Fed)
                else self._computed_baseline(kind, position, x, image)
            )
        return self._baselines[position]

    def _fed_baseline(self, like: ir.Value, position: int) -> ir.Value:
        prepared, dims = self.request.prepared, (dims_of(like) or [])[1:]
        if prepared.value(prepared.wrt[position]).producer() is not None:
            # What broadcasts to an inner value whose sizes are open is taken too.
            dims = [dim if isinstance(dim, int) else None for dim in dims]
        name = own_name(prepared, "baseline", position)
        return self.op.input(name, like.dtype, ["baselines", *dims])

    def _computed_baseline(
        self, kind: Computed, position: int, x: ir.Value | None, image: ir.Value | None
    ) -> ir.Value:
        assert x is not None
        if not kind.seeded:
            return self.op.expand_like(kind.build(self.op, x, None, None, position), x)
        if image is None:
            rows = self.op.Shape(x, start=0, end=1)
            image = self.op.Range(0, self.op.Squeeze(rows, [0]), 1)
        return self.op.expand_like(kind.build(self.op, x, self.seed(), image, position), x)

    def baselines_per_image(self, number: ir.Value | None) -> dict[str, ir.Value]:
        """The baselines that are not the same for each image, a row for each, by the names of inputs.

        Args:
            number: What the numbers drawn for each image are a function of, if not its position.
        """
        found = {}
        for position, kind in enumerate(self.request.definition.baseline or ()):
            if not isinstance(kind, (Fixed, *OF_PATH)):
                x = self.wrt[position]
                baseline = self.baseline(position, x, number)
                assert baseline is not None
                name = own_name(self.request.prepared, "baseline", position)
                found[name] = self.op.expand_like(baseline, x)
        return found

    def column(self, vector: ir.Value, like: ir.Value) -> ir.Value:
        """A vector over rows, shaped to broadcast over the other axes of ``like`` and in its dtype."""
        rank = len(dims_of(like) or [None])
        return self.op.cast_like(self.op.Reshape(vector, [-1] + [1] * (rank - 1)), like)

    def on_path(self, x: ir.Value, position: int, rows: Rows) -> ir.Value:
        """z = (1 - alpha) b + alpha x: b and x themselves at the ends, to the last bit; or the definition's own path.

        Args:
            x: The explained value at a position, for each row.
            position: Which of the explained values it is.
            rows: Where the rows lie.
        """
        if self.definition.path is not None:
            z, self._slopes[position] = self.definition.path.at(self, x, position, rows)
            return z
        op, column = self.op, self.column(rows.alpha, x)
        baseline = self.baseline_of_rows(position, rows.image)
        return op.Add(op.Mul(op.Sub(1.0, column), baseline), op.Mul(column, x))

    def baseline_of_rows(self, position: int, image: ir.Value) -> ir.Value:
        """The baseline of the explained value at a position, for rows of some images."""
        op, baseline = self.op, self.baseline(position)
        assert baseline is not None
        if not isinstance(self.definition.baseline[position], Fixed):
            baseline = op.Gather(baseline, op.Mod(image, op.Shape(baseline, start=0, end=1)), axis=0)
        return baseline

    def deviation(self, x: ir.Value) -> ir.Value | float:
        """The standard deviation of the noise: a number, or for each row a share of its range."""
        if not self.definition.relative:
            return self.definition.noise
        op, axes = self.op, list(range(1, len(dims_of(x) or [None])))
        spread = op.Sub(op.ReduceMax(x, axes, keepdims=1), op.ReduceMin(x, axes, keepdims=1))
        share: ir.Value = op.Mul(spread, self.definition.noise)
        return share

    def along_path(self, gradient: ir.Value, position: int) -> ir.Value:
        """A gradient of rows times the slope of a path of the definition's own; else the gradient itself."""
        slope = self._slopes.get(position)
        return gradient if slope is None else self.op.Mul(gradient, slope)

    def score_of_rows(self, target: ir.Value) -> ir.Value:
        """The explained score of each row, (R, 1)."""
        op = self.op
        if not self.request.score.linear:
            return op.cast_like(op.Reshape(self._scored.score(target), [-1, 1]), self.score)
        weighted = op.Flatten(op.Mul(self.score, target), axis=1)
        return op.ReduceSum(weighted, [1], keepdims=1)

    def attributed(
        self, x: ir.Value, position: int, moments: Sequence[ir.Value], baseline: ir.Value | None
    ) -> ir.Value:
        """The method's last step for the explained value at a position, before anything is reduced."""
        full = self.definition.finish(self.op, x, baseline, moments)
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
            if (placement := self.definition.placement) is not None:
                result = self._placed(placement, full)
                dims = list(dims_of(result) or [])
            else:
                result, dims = self._reduced(full, position, list(dims_of(x) or []))
            if (groups := self.request.map_groups[position]) is not None:
                result.shape = ir.Shape(dims)
                result, dims = summed(op, result, groups), [dims[0], groups.count]
            name = own_name(self.request.prepared, "attribution", position)
            self._output(result, name, result.dtype or x.dtype, dims)
        if difference is not None:
            total = totals[0] if len(totals) == 1 else op.Sum(*totals)
            delta = op.Reshape(op.Sub(total, difference), [-1])
            size = op.Reshape(op.Abs(difference), [-1])
            gap = op.Div(op.Abs(delta), op.Where(op.Equal(size, 0), 1, size))
            for stem, value in (("convergence_delta", delta), ("relative_gap", gap)):
                name = own_name(self.request.prepared, stem)
                self._output(value, name, difference.dtype, (dims_of(xs[0]) or [None])[:1])

    def add_spent(self, spent: ir.Value) -> None:
        """Appends how many gradients each image took as the graph output ``spent_steps``, (N,) int64."""
        self._output(spent, own_name(self.request.prepared, "spent_steps"), INT64, dims_of(spent) or [None])

    def _placed(self, placement: Placement, full: ir.Value) -> ir.Value:
        """A map at a layer as one over the image."""
        image = next((v for v in self.graph.inputs if v.name == placement.image), None)
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

    def _output(
        self, value: ir.Value, name: str, dtype: ir.DataType | None, dims: Sequence[int | str | None]
    ) -> None:
        result = self.op.Identity(value)
        result.name = self.op.unique_name(name, exact=True)
        result.dtype, result.shape = dtype, ir.Shape(dims)
        self.graph.outputs.append(result)

    def finished_model(self) -> ir.Model:
        """The model without the nodes that the method does not need."""
        self.graph.sort()
        clean(self.model)
        return self.model

    def finished(self) -> onnx.ModelProto:
        """The same as ONNX."""
        return ir.serde.serialize_model(self.finished_model())


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


def has_rows(value: ir.Value) -> bool:
    """Whether an input has a batch axis; scalars such as a sampling rate have none."""
    return bool(dims_of(value))


def own_names(prepared: Prepared, stem: str) -> list[str]:
    """The names of something that each explained value has."""
    return [own_name(prepared, stem, position) for position in range(len(prepared.wrt))]


def own_name(prepared: Prepared, stem: str, position: int | None = None) -> str:
    """The name of an input or output that a method adds: marked as ours where the model has that name itself.

    What one of several explained values has, is named after the value as well, as the caller named it.
    """
    alone = position is None or len(prepared.wrt) == 1
    name = stem if alone else f"{stem}_{prepared.asked[position or 0]}"
    return f"onnxattr_{name}" if name in prepared.values else name
