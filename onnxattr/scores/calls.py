"""f(x) in an operator: the model itself, as a function of symbolic arrays. A second call copies nodes, not weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import onnx_ir as ir

from onnxattr.autodiff.paths import inputs_of
from onnxattr.errors import OperatorError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.subgraphs import subgraphs_of
from onnxattr.graph.values import dims_of, shape_text, values_of
from onnxattr.scores.arrays import Array

#: The values of a model's outputs from those of its inputs, both in the model's order.
Run = Callable[[Sequence[ir.Value]], Sequence[ir.Value]]


class ByName(dict[str, Array]):
    """Arrays by name, in the model's order; also by position."""

    def __missing__(self, key: Any) -> Array:
        if isinstance(key, int) and -len(self) <= key < len(self):
            return list(self.values())[key]
        raise OperatorError(f"The operator asks for {key!r}; the model has {', '.join(map(repr, self))}.")


class Model:
    """f: takes an array, or with several inputs a list in the model's order or a dict; gives the output.

    With several outputs it gives them by name. Inputs that a dict leaves out are the model's own.

    Attributes:
        inputs: The model's inputs by name.
    """

    def __init__(
        self,
        op: OpBuilder,
        inputs: Mapping[str, ir.Value],
        outputs: Sequence[str],
        run: Run,
        real: ir.DataType,
    ):
        """Makes the function of a model.

        Args:
            op: Builder of the graph that calls are made in.
            inputs: Its inputs, as x has them.
            outputs: The names of its outputs that are explained.
            run: Makes a call.
            real: The float type of its outputs.
        """
        self._op, self._outputs, self._run, self._values = op, list(outputs), run, dict(inputs)
        self._real = real

    def array(self, value: ir.Value) -> Array:
        """A value of the graph as an array."""
        return Array(self._op, value, self._real)

    @property
    def input_names(self) -> list[str]:
        """The names of its inputs."""
        return list(self._values)

    @property
    def output_names(self) -> list[str]:
        """The names of its outputs that are explained."""
        return self._outputs

    @property
    def inputs(self) -> Any:
        """x: the inputs, an array or several by name."""
        arrays = {name: self.array(value) for name, value in self._values.items()}
        return next(iter(arrays.values())) if len(arrays) == 1 else ByName(arrays)

    def __call__(self, *given: Any) -> Any:
        """f(x)."""
        arrays = self._given(given)
        values = []
        for (name, own), array in zip(self._values.items(), arrays, strict=True):
            if array.kind != own.dtype:
                array = array.astype(own.dtype)
            _check_shape(name, own, array)
            values.append(array.value)
        found = [self.array(value) for value in self._run(values)]
        return found[0] if len(found) == 1 else ByName(zip(self._outputs, found, strict=True))

    predict = __call__

    def _given(self, given: Sequence[Any]) -> list[Array]:
        own = self.inputs
        parts: Any = given[0] if len(given) == 1 else given
        if len(self._values) == 1:
            name = next(iter(self._values))
            parts = parts.get(name, own) if isinstance(parts, Mapping) else parts
            parts = [parts[0] if isinstance(parts, (list, tuple)) and len(parts) == 1 else parts]
        elif isinstance(parts, Mapping):
            unknown = [name for name in parts if name not in self._values]
            if unknown:
                raise OperatorError(
                    f"The operator calls f with inputs {unknown}; the model has {list(self._values)}."
                )
            parts = [parts.get(name, own[name]) for name in self._values]
        if not isinstance(parts, (list, tuple)) or len(parts) != len(self._values):
            raise OperatorError(
                f"The operator calls f with {len(given)} inputs; the model has {len(self._values)}: "
                f"{', '.join(map(repr, self._values))}."
            )
        for part in parts:
            if not isinstance(part, Array):
                raise OperatorError(
                    f"The operator calls f with {type(part).__name__}; expected x, or an array computed from it."
                )
        return list(parts)


def _check_shape(name: str, own: ir.Value, array: Array) -> None:
    wanted, given = dims_of(own), dims_of(array.value)
    if wanted is None or given is None:
        return
    clash = len(wanted) != len(given) or any(
        isinstance(w, int) and isinstance(g, int) and w != g for w, g in zip(wanted, given, strict=True)
    )
    if clash:
        raise OperatorError(
            f"The operator calls f with {array!r}; input {name!r} has the shape {shape_text(wanted)}."
        )


class Copies:
    """Calls of a model that is part of the graph that is being built: with its own inputs it is itself.

    Attributes:
        nodes: For each copy, the copies of the model's nodes.
        values: For each copy, what stands for the model's values.
    """

    def __init__(
        self,
        op: OpBuilder,
        nodes: Iterable[ir.Node],
        inputs: Sequence[ir.Value],
        outputs: Sequence[ir.Value],
        placed: Mapping[ir.Value, ir.Value],
    ):
        """Notes the model.

        Args:
            op: Builder of the graph.
            nodes: The model's nodes, in order.
            inputs: What the nodes read as its inputs.
            outputs: Its outputs.
            placed: What nodes read in the place of inner values that are explained, with these values.
        """
        self._op, self._inputs, self._outputs, self._placed = op, list(inputs), list(outputs), dict(placed)
        self._nodes = list(nodes)
        self.nodes: list[dict[ir.Node, ir.Node]] = []
        self.values: list[dict[ir.Value, ir.Value]] = []
        self._made: dict[tuple[ir.Value, ...], list[ir.Value]] = {}

    def __call__(self, values: Sequence[ir.Value]) -> list[ir.Value]:
        """The outputs for some inputs."""
        if list(values) == self._inputs:
            return self._outputs
        key = tuple(values)
        if key not in self._made:
            self._made[key] = self._copy(values)
        return self._made[key]

    def _copy(self, values: Sequence[ir.Value]) -> list[ir.Value]:
        mapped = {old: new for old, new in zip(self._inputs, values, strict=True) if old is not new}
        nodes: dict[ir.Node, ir.Node] = {}

        def of(value: ir.Value | None) -> ir.Value | None:
            if value is None or value in mapped:
                return value and mapped[value]
            # A copy has its own inner values: the points are those of the model's own alone.
            own = self._placed.get(value, value)
            return mapped.get(own, value)

        for node in self._nodes:
            if any(of(value) is not value for value in inputs_of(node)):
                nodes[node] = copy = copied(self._op, node, of)
                mapped |= dict(zip(node.outputs, copy.outputs, strict=True))
        self.nodes.append(nodes)
        self.values.append(mapped)
        return [mapped.get(value, value) for value in self._outputs]


def copied(op: OpBuilder, node: ir.Node, of: Callable[[ir.Value | None], ir.Value | None]) -> ir.Node:
    """Appends a copy of a node that reads other values; names are its own, in its subgraphs too."""
    attributes = list(node.attributes.values())
    for place, attribute in enumerate(attributes):
        if attribute.type == ir.AttributeType.GRAPH:
            body = attribute.as_graph().clone(allow_outer_scope_values=True)
            _read_others(op, body, of)
            attributes[place] = ir.Attr(attribute.name, ir.AttributeType.GRAPH, body)
    copy = ir.Node(
        node.domain,
        node.op_type,
        [of(value) for value in node.inputs],
        attributes,
        num_outputs=len(node.outputs),
        name=op.unique_name(str(node.name or node.op_type)),
    )
    for old, new in zip(node.outputs, copy.outputs, strict=True):
        new.name = op.unique_name(old.name) if old.name else old.name
        new.type, new.shape = old.type, old.shape
    op.graph.append(copy)
    return copy


def _read_others(op: OpBuilder, body: ir.Graph, of: Callable[[ir.Value | None], ir.Value | None]) -> None:
    own = set(values_of(body))
    for inner in body.all_nodes():
        for place, value in enumerate(inner.inputs):
            if value is not None and value not in own and of(value) is not value:
                inner.replace_input_with(place, of(value))
        inner.name = op.unique_name(str(inner.name or inner.op_type))
    for value in own:
        if value.name:
            value.name = op.unique_name(value.name)
    for graph in (body, *(g for n in body.all_nodes() for g in subgraphs_of(n))):
        for place, value in enumerate(graph.outputs):
            new = value if value in own else of(value)
            if new is not None and new is not value:
                graph.outputs[place] = new
