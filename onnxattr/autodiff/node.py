"""Nodes as rules see them: inputs padded to what the operator can take, attributes as plain values with defaults."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import onnx
import onnx_ir as ir

from onnxattr.autodiff.ranks import rank_of
from onnxattr.errors import RuleError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.schemas import infer

if TYPE_CHECKING:
    from onnxattr.autodiff.registry import RuleTable

T = TypeVar("T")
_VARIADIC = onnx.defs.OpSchema.FormalParameterOption.Variadic


def op_name(node: Any) -> str:
    """The name of a node's operator as the table spells it."""
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"


class Attributes(Mapping[str, Any]):
    """The attributes of a node as plain Python values: int, float, str, lists of those, tensors, graphs.

    Attributes that the node leaves out have the default of the operator's schema, where it has one.
    """

    def __init__(self, written: Mapping[str, Any], defaults: Mapping[str, Any]):
        self._written = dict(written)
        self._all = {**defaults, **written}
        self._read: set[str] = set()

    @property
    def written(self) -> dict[str, Any]:
        """Those that the node itself has."""
        self._read |= self._written.keys()
        return dict(self._written)

    def kept(self, *names: str) -> dict[str, Any]:
        """Those of some names that the node itself has, in the order of the names."""
        self._read |= {*names}
        return {name: self._written[name] for name in names if name in self._written}

    def unread(self) -> dict[str, Any]:
        """Those that the node itself has and that nothing has asked for."""
        return {name: value for name, value in self._written.items() if name not in self._read}

    def __getitem__(self, name: str) -> Any:
        self._read.add(name)
        return self._all[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    # The getters of onnx_ir's attributes, which take the default of an attribute that has none.

    def _get(self, name: str, default: Any = None) -> Any:
        return self.get(name, default)

    get_int = get_ints = get_float = get_floats = get_string = get_strings = _get
    get_tensor = get_tensors = get_graph = get_graphs = _get


@dataclass(frozen=True)
class Span:
    """Several nodes that are differentiated as one, such as the Relu, Min and Max of a ReLU with a ceiling.

    It stands in for a node in the reverse sweep: a rule sees its inputs and outputs as those of a node of type
    ``op_type``.
    """

    op_type: str
    inputs: tuple[ir.Value | None, ...]
    outputs: tuple[ir.Value, ...]
    name: str
    domain: str = ""
    #: The cotangents of the outputs while a rule is called, None for those that do not reach the score.
    cts: tuple[ir.Value | None, ...] = field(default=(), compare=False, repr=False)

    @property
    def x(self) -> ir.Value:
        """The first input."""
        return self.required(1)[0]

    @property
    def y(self) -> ir.Value:
        """The first output."""
        return self.outputs[0]

    def required(self, count: int) -> tuple[ir.Value, ...]:
        """The first inputs, which have to be given.

        Raises:
            RuleError: If the node leaves one of them out.
        """
        return self.given(self.inputs[:count], count)

    def given(self, inputs: Sequence[ir.Value | None], count: int | None = None) -> tuple[ir.Value, ...]:
        """Some of the inputs, which have to be given; see ``required``."""
        found = tuple(value for value in inputs if value is not None)
        wanted = len(inputs) if count is None else count
        if len(found) < wanted:
            raise RuleError(f"{self.where} has {len(found)} of the {wanted} inputs that its rule needs.")
        return found

    @property
    def where(self) -> str:
        """The operator and the name of the node, for messages."""
        return f"{op_name(self)} node {self.name!r}"


def moved(span: Span, places: Mapping[ir.Value, ir.Value]) -> Span:
    """A span in a copy of its graph, by the copies of its values."""
    inputs = tuple(value and places.get(value, value) for value in span.inputs)
    return replace(span, inputs=inputs, outputs=tuple(places.get(value, value) for value in span.outputs))


@dataclass(frozen=True, kw_only=True)
class NodeView(Span):
    """A node as its rule sees it.

    Attributes:
        inputs: As many as the operator's schema has, None for those left out; as they are for an operator without a
            schema, or with any number of inputs.
        outputs: The node's outputs.
        attributes: The attributes by name, as plain values.
        node: The node itself.
        opset: The opset that the graph is written in.
    """

    node: ir.Node
    opset: int
    attributes: Attributes = field(compare=False)

    def _attribute(self, name: str, kind: type[T], default: T | None) -> T:
        value = self.attributes.get(name, default)
        if not isinstance(value, kind):
            given = "it is missing and has no default" if value is None else f"it is {value!r}"
            raise RuleError(f"{self.where} needs the attribute {name!r}, {_NAMES[kind]}; {given}.")
        return value

    def get_int(self, name: str, default: int | None = None) -> int:
        """An integer attribute, or the default of the schema, or the given one."""
        return self._attribute(name, int, default)

    def get_float(self, name: str, default: float | None = None) -> float:
        """A float attribute; see ``get_int``."""
        return float(self._attribute(name, float, default))

    def get_string(self, name: str, default: str | None = None) -> str:
        """A text attribute; see ``get_int``."""
        return self._attribute(name, str, default)

    def get_ints(self, name: str) -> list[int]:
        """A list of integers, empty where the node leaves it out."""
        return [int(number) for number in self.attributes.get(name) or ()]

    def get_floats(self, name: str) -> list[float]:
        """A list of floats, empty where the node leaves it out."""
        return [float(number) for number in self.attributes.get(name) or ()]

    def get_strings(self, name: str) -> list[str]:
        """A list of texts, empty where the node leaves it out."""
        return [str(text) for text in self.attributes.get(name) or ()]

    def get_graph(self, name: str) -> ir.Graph:
        """A subgraph."""
        return self._attribute(name, ir.Graph, None)

    def output(self, op: OpBuilder, index: int) -> ir.Value:
        """An output of the forward node, which is asked for it where the model does not use it."""
        node = self.node
        if index >= len(node.outputs):
            node.resize_outputs(index + 1)
        value = node.outputs[index]
        if not value.name:
            value.name = op.unique_name(f"{node.op_type}_output")
            types = [(other, other.type, other.shape) for other in node.outputs if other is not value]
            infer(node, self.opset)
            for other, kind, shape in types:
                other.type, other.shape = kind, shape
        return value

    def rank(self, value: ir.Value) -> int:
        """The rank of a value, which the rule needs to know; see ``rank_of``."""
        return rank_of(value, self)


_NAMES: dict[type, str] = {int: "an integer", float: "a float", str: "a text", ir.Graph: "a graph"}


@dataclass(frozen=True, kw_only=True)
class Closure(NodeView):
    """A node with subgraphs, as its rule sees it: the values that they capture follow its inputs.

    Attributes:
        active: The values that need a cotangent, those among the inputs included.
        rules: The table to differentiate the subgraphs with.
        spans: What is to be differentiated as one inside them.
    """

    active: Collection[ir.Value]
    rules: RuleTable
    spans: Mapping[ir.Node, Span]


def view_of(node: ir.Node | NodeView, opset: int, inputs: int = 0) -> NodeView:
    """What a rule sees of a node.

    Args:
        node: The node.
        opset: The ai.onnx opset of its graph.
        inputs: How many inputs its operator can have, if ONNX has no schema of it.
    """
    if isinstance(node, NodeView):
        return node
    most, defaults = _signature(node.op_type, node.domain, opset)
    most = most or inputs
    return NodeView(
        op_type=node.op_type,
        domain=node.domain,
        name=node.name or "",
        inputs=(*node.inputs, *[None] * (most - len(node.inputs))),
        outputs=tuple(node.outputs),
        node=node,
        opset=opset,
        attributes=Attributes(attributes_of(node), defaults),
    )


def attributes_of(node: ir.Node | NodeView) -> dict[str, Any]:
    """The attributes that a node itself has by name, for a node that has them too."""
    if isinstance(node, NodeView):
        return dict(node.attributes.written)
    return {name: attribute.value for name, attribute in node.attributes.items()}


@functools.cache
def _signature(op_type: str, domain: str, opset: int) -> tuple[int, dict[str, Any]]:
    """How many inputs an operator can have (0 if any number, or not known), and the defaults of its attributes."""
    try:
        ours = domain in ("", "ai.onnx")
        schema = onnx.defs.get_schema(op_type, opset, "") if ours else onnx.defs.get_schema(op_type, domain)
    except onnx.defs.SchemaError:
        return 0, {}
    variadic = bool(schema.inputs) and schema.inputs[-1].option == _VARIADIC
    defaults = {
        name: onnx.helper.get_attribute_value(attribute.default_value)
        for name, attribute in schema.attributes.items()
        if attribute.default_value.type
    }
    plain = {name: _plain(value) for name, value in defaults.items()}
    return 0 if variadic else len(schema.inputs), plain


def _plain(value: Any) -> Any:
    """A default with texts in place of bytes."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.decode() if isinstance(value, bytes) else value
