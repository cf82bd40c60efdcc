"""Follow the taps of a traced Keras model to the values of the converted graph that they became."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import onnx

from onnxattr.graph.values import LAYOUTS

from ...common import graph_edit
from ...common.graph_edit import GraphView
from ..tracing.relu_groups import ReluGroup
from ..tracing.trace import Trace


@dataclass(frozen=True)
class Resolved:
    """Where the value of a traced tensor is found.

    Attributes:
        value: The value that equals the tensor, layout included.
        main: The value on the way to the outputs that has the same numbers, perhaps transposed.
    """

    value: str
    main: str


def resolve(graph: onnx.GraphProto, traced: Trace) -> dict[str, Resolved]:
    """Where the inputs, outputs and tapped tensors of a trace are found, by name of the tensor."""
    view = GraphView(graph)
    main_path = view.ancestors(value.name for value in graph.output)
    resolved = {}
    for tensor_name, name in traced.values.items():
        value = _through(view, name, {"Identity"}, stop=set())
        main = _through(view, value, LAYOUTS, stop=main_path)
        if main in main_path:
            resolved[tensor_name] = Resolved(value, main)
    return resolved


def name_values(graph: onnx.GraphProto, resolved: dict[str, Resolved], traced: Trace) -> dict[str, Resolved]:
    """Give the values the names of their taps, which are the names of the layers."""
    fixed = {item.name for item in (*graph.input, *graph.output, *graph.initializer)}
    taps = set(traced.taps.values())
    names: dict[str, str] = {}
    for tensor_name, name in traced.values.items():
        if name in taps and tensor_name in resolved and resolved[tensor_name].value not in fixed:
            names.setdefault(resolved[tensor_name].value, name)
    # The Identity nodes between values and taps would define the new names a second time.
    for index in reversed(range(len(graph.node))):
        if graph.node[index].op_type == "Identity" and graph.node[index].output[0] in taps:
            del graph.node[index]
    graph_edit.rename_values(graph, names)
    return {
        tensor_name: Resolved(names.get(found.value, found.value), names.get(found.main, found.main))
        for tensor_name, found in resolved.items()
    }


def _through(view: GraphView, name: str, operators: Collection[str], stop: Collection[str]) -> str:
    """Walk from a value back through nodes of the given types until none is left or a value of `stop` is met."""
    while name not in stop and name in view.producer and view.producer[name].op_type in operators:
        name = view.producer[name].input[0]
    return name


def relu_record(group: ReluGroup, resolved: dict[str, Resolved], view: GraphView) -> dict[str, Any] | None:
    """The "relu" entry of a group: its values on the main path and the nodes between, layout changes trimmed off."""
    if group.input.name not in resolved or group.output.name not in resolved:
        return None
    start, end = resolved[group.input.name].main, resolved[group.output.name].main
    end = _through(view, end, LAYOUTS, stop={start})
    nodes = view.nodes_between(start, end)
    while nodes and nodes[0].op_type in LAYOUTS and sum(start in node.input for node in nodes) == 1:
        start = nodes.pop(0).output[0]
    if not nodes:
        return None
    return {**group.parameters(), "input": start, "output": end, "nodes": [node.name for node in nodes]}
