"""A clone of a model on its way to become a graph of a method: its inputs and targets in, predictions out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import onnx_ir as ir

from onnxattr.compile.clean_up import clean
from onnxattr.compile.fit import of_boxes, of_classes, one_seed, same_rows
from onnxattr.compile.gradient import named_copy
from onnxattr.compile.renderings.scored import ScoredModel
from onnxattr.errors import ModelError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.subgraphs import sort
from onnxattr.graph.values import dims_of, named_values, shape_text
from onnxattr.loading.heads import is_binary, threshold
from onnxattr.loading.prepared import Prepared

if TYPE_CHECKING:
    from onnxattr.compile.renderings.rewrite import Request

INT64 = ir.DataType.INT64


class ModelGraph:
    """One clone of the model, with the inputs and outputs that every graph of a method has."""

    def __init__(self, request: Request):
        self.request = request
        self.method = request.method
        self.model = request.prepared.clone()
        self.graph = self.model.graph
        self.op = OpBuilder(self.graph, request.prepared.opset, prefix="onnxattr")
        self._values = values = named_values(self.graph)
        self.score = values[request.prepared.output]
        self.wrt = [values[name] for name in request.prepared.wrt]
        self.graph.outputs.clear()
        self._scored = ScoredModel(self)
        self._seed: ir.Value | None = None

    def value(self, name: str) -> ir.Value:
        """A value of the model by its name, as the model was before anything was added."""
        return self._values[name]

    @property
    def with_rows(self) -> ir.Value:
        """An input that has a row for each sample."""
        return next(value for value in self.graph.inputs if has_rows(value))

    def read(self, new: ir.Value, old: ir.Value) -> None:
        """Notes that the model's nodes read a value in the place of another."""
        self._scored.read(new, old)

    def gather_inputs(self, pick: Callable[[ir.Value], ir.Value]) -> None:
        """Gives the graph inputs of B rows; the model itself sees ``pick`` of them, its rows."""
        for index, old in enumerate(list(self.graph.inputs)[: len(self.request.prepared.inputs)]):
            if not has_rows(old):
                continue
            shape = ["samples" if not isinstance(d, int) else d for d in (dims_of(old) or [])[:1]] + (
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
        sort(self.graph)
        return placed

    def add_prediction(self, prediction: ir.Value, rows: int | str | None) -> ir.Value:
        """Appends the model's output as the graph output ``prediction``; returns it."""
        name = own_name(self.request.prepared, "prediction")
        named = named_copy(self.op, prediction, name, prediction)
        named.shape = ir.Shape(dims_of_rows(self.score, rows))
        self.graph.outputs.append(named)
        return named

    def add_target(self, prediction: ir.Value, labels: bool, rows: int | str | None) -> ir.Value:
        """The input ``target`` as the cotangent of the prediction: the weights given, or one-hot rows of labels.

        Raises:
            ModelError: If there are ``labels`` and the model's output has no axis of classes.
        """
        op, name = self.op, own_name(self.request.prepared, "target")
        if not labels:
            target = self._of_samples(self.target_input(rows), prediction)
            return of_boxes(op, target) if self.request.target_kind.corners else target
        dims = dims_of(self.score) or []
        if is_binary(self.request.prepared.unit):
            target = self._of_samples(op.input(name, INT64, [rows]), prediction)
            return self._unit_target(of_classes(op, target, op.constant([2])), prediction)
        if len(dims) != 2:
            raise ModelError(
                f"Labels need a model output of shape (N, classes); {self.score.name!r} has shape {shape_text(dims)}."
            )
        # A scalar: OneHot takes (1,) too, but onnx's own evaluator does not.
        classes = op.Squeeze(op.shape(self.score, 1, 2))
        target = of_classes(op, self._of_samples(op.input(name, INT64, [rows]), prediction), classes)
        chosen = op.Where(op.Less(target, 0), op.ArgMax(prediction, axis=1, keepdims=0), target)
        # In float32 first: the runtime has no OneHot of float64.
        values = op.constant([0, 1], ir.DataType.FLOAT)
        one_hot = op.cast_like(op.OneHot(chosen, classes, values, axis=-1), self.score)
        one_hot.shape = ir.Shape([rows, dims[1]])
        return one_hot

    def _of_samples(self, target: ir.Value, prediction: ir.Value) -> ir.Value:
        """Targets with a row for each sample; others would be broadcast, or left out."""
        inputs = [v for v in self.graph.inputs[: len(self.request.prepared.inputs)] if has_rows(v)]
        if self.method.points == 1 and len(inputs) > 1:
            # The model itself says what becomes of inputs of one row beside others.
            inputs = [prediction]
        return same_rows(self.op, target, inputs)

    def target_input(self, rows: int | str | None) -> ir.Value:
        """The input ``target`` as the score takes it, for some rows."""
        kind = self.request.target_kind
        return self.op.input(own_name(self.request.prepared, "target"), kind.dtype, [rows, *kind.dims])

    def _unit_target(self, target: ir.Value, prediction: ir.Value) -> ir.Value:
        """1 for class 1, the unit itself, and -1 for class 0."""
        op, dims = self.op, dims_of(self.score) or []
        unit = op.cast_like(op.Reshape(prediction, [-1]), op.constant(0, ir.DataType.FLOAT))
        predicted = op.And(op.Less(target, 0), op.Greater(unit, threshold(self.request.prepared.unit)))
        sign = op.Where(op.Or(predicted, op.Equal(target, 1)), 1.0, -1.0)
        weights = op.cast_like(op.Reshape(sign, [-1] + [1] * (len(dims) - 1)), self.score)
        weights.shape = ir.Shape([*(dims_of(target) or [None])[:1], *dims[1:]])
        return weights

    def seed(self) -> ir.Value:
        """The input ``seed``, an int64 scalar."""
        if self._seed is None:
            seed = self.op.input(own_name(self.request.prepared, "seed"), INT64, [])
            self._seed = one_seed(self.op, seed)
        return self._seed

    def column(self, vector: ir.Value, like: ir.Value) -> ir.Value:
        """A vector over rows, shaped to broadcast over the other axes of ``like`` and in its dtype."""
        rank = len(dims_of(like) or [None])
        return self.op.cast_like(self.op.Reshape(vector, [-1] + [1] * (rank - 1)), like)

    def add_output(
        self, value: ir.Value, name: str, dtype: ir.DataType | None, dims: Sequence[int | str | None]
    ) -> None:
        """Appends a value as a graph output of a name, type and shape."""
        result = self.op.Identity(value)
        result.name = self.op.unique_name(name, exact=True)
        result.type = None if dtype is None else ir.TensorType(dtype)
        result.shape = ir.Shape(dims)
        self.graph.outputs.append(result)

    def finished_model(self) -> ir.Model:
        """The model without the nodes that the method does not need."""
        sort(self.graph)
        clean(self.model)
        return self.model


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


def dims_of_rows(output: ir.Value, rows: int | str | None) -> list[int | str | None]:
    """The sizes of an output of the model for so many rows: of one row, a list of detections has any number."""
    own = dims_of(output) or [None]
    return [own[0] if isinstance(rows, int) else rows, *own[1:]]
