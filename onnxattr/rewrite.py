"""One clone of a model on its way to become a graph of a method: inputs of rows, points, gradients, last step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx
import onnx_ir as ir

from onnxattr.attributions.definition import Definition
from onnxattr.autodiff import pullback
from onnxattr.builder import OpBuilder, dims_of
from onnxattr.finish_graph import finish
from onnxattr.model import Prepared, named_values
from onnxattr.relus import relu_spans
from onnxattr.rules.overrides import RELU_LIKE

INT64 = ir.DataType.INT64

#: Inputs of the driven rendering's graphs; the prefix keeps them apart from any model's own.
ROW, WEIGHTS, ALPHA, IMAGE, DRAW, PILOT, MOMENT = (
    f"onnxattr/{name}" for name in ("row", "weights", "alpha", "image", "draw", "pilot", "moment")
)


@dataclass(frozen=True)
class Request:
    """Everything that determines the graphs of a method on a model."""

    prepared: Prepared
    definition: Definition
    reducer: str | None
    channel_axes: tuple[int | None, ...]
    relu_policy: str


class Rewrite:
    """One clone of the model on its way to become a graph of the method."""

    def __init__(self, request: Request):
        self.request = request
        self.definition = request.definition
        self.model = request.prepared.clone()
        self.graph = self.model.graph
        self.op = OpBuilder(self.graph, request.prepared.opset, prefix="onnxattr")
        values = named_values(self.graph)
        self.score = values[request.prepared.output]
        self.wrt = [values[name] for name in request.prepared.wrt]
        self.graph.outputs.clear()

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
            placed.append(z)
        self.graph.sort()
        return placed

    def gradients(self, points: Sequence[ir.Value], seed: ir.Value) -> list[ir.Value]:
        """The gradients of the score at the points; ``seed`` is the cotangent of the model's output."""
        spans = {}
        if RELU_LIKE in self.definition.rules:
            spans = relu_spans(self.graph, self.request.prepared.layers, self.request.relu_policy)
        return pullback(self.op, {self.score: seed}, points, self.definition.rules, spans)

    def baseline(self, like: ir.Value) -> ir.Value | None:
        """The baseline as a constant that broadcasts over rows."""
        if self.definition.baseline is None:
            return None
        return self.op.constant(self.definition.baseline, like.dtype)

    def column(self, vector: ir.Value, like: ir.Value) -> ir.Value:
        """A vector over rows, shaped to broadcast over the other axes of ``like`` and in its dtype."""
        rank = len(dims_of(like) or [None])
        return self.op.cast_like(self.op.Reshape(vector, [-1] + [1] * (rank - 1)), like)

    def on_path(self, x: ir.Value, alpha: ir.Value) -> ir.Value:
        """z = (1 - alpha) b + alpha x: b and x themselves at the ends, to the last bit."""
        op, position = self.op, self.column(alpha, x)
        return op.Add(op.Mul(op.Sub(1.0, position), self.baseline(x)), op.Mul(position, x))

    def attribution(self, x: ir.Value, moments: Sequence[ir.Value], position: int) -> ir.Value:
        """The method's last step and the reducer for the explained value at a position, as a graph output."""
        op, request = self.op, self.request
        name, axis = attribution_names(request.prepared)[position], request.channel_axes[position]
        result = self.definition.finish(op, x, self.baseline(x), moments)
        dims = list(dims_of(x) or [])
        if request.reducer is not None and axis is not None:
            reduce_op = f"Reduce{request.reducer.capitalize()}"
            result = op.node(reduce_op, [result, [axis]], {"keepdims": 1})
            dims[axis] = 1
        result = op.Identity(result)
        result.name = op.unique_name(name, exact=True)
        result.dtype, result.shape = x.dtype, ir.Shape(dims)
        self.graph.outputs.append(result)
        return result

    def finished(self) -> onnx.ModelProto:
        """The graph as ONNX; nodes that the method does not need are gone."""
        self.graph.sort()
        return finish(self.model)


def has_rows(value: ir.Value) -> bool:
    """Whether an input has a batch axis; scalars such as a sampling rate have none."""
    return bool(dims_of(value))


def attribution_names(prepared: Prepared) -> list[str]:
    """The names of the attribution outputs: one for a single explained value, else one for each."""
    if len(prepared.wrt) == 1:
        return [own_name(prepared, "attribution")]
    return [own_name(prepared, f"attribution_{name}") for name in prepared.wrt]


def own_name(prepared: Prepared, name: str) -> str:
    """The name of an input or output that a method adds: marked as ours where the model has that name itself."""
    return f"onnxattr_{name}" if name in named_values(prepared.model.graph) else name
