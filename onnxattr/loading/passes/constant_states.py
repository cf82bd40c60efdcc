"""States that a Loop or Scan hands from step to step as they are, read from outside instead.

Exporters of while loops make a state of everything that the body reads, weights included. Each step of ONNX Runtime
copies it, and a gradient would keep a copy for each step.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxattr.graph.subgraphs import drop, is_standard, nodes_of, subgraphs_of
from onnxattr.graph.values import values_of

#: The condition of Loops that go on until they have counted.
_ALWAYS = "loop/always"


def read_constant_states_outside(graph: ir.Graph) -> bool:
    """Removes the states that no step changes from the Loops and Scans of a graph and its subgraphs, in place."""
    changed = False
    for node in [node for node in nodes_of(graph) if is_standard(node, "Loop", "Scan")]:
        if constant := _constant(node):
            _state_condition(graph, node)
            _remove(node, constant)
            changed = True
    return changed


def _state_condition(graph: ir.Graph, node: ir.Node) -> None:
    """Gives a Loop without a condition one: without states behind it, a file would drop the empty input."""
    if node.op_type != "Loop" or node.inputs[1] is not None:
        return
    if (value := graph.initializers.get(_ALWAYS)) is None:
        value = ir.Value(name=_ALWAYS, const_value=ir.tensor(np.array(True), name=_ALWAYS))
        value.type, value.shape = ir.TensorType(ir.DataType.BOOL), ir.Shape([])
        graph.register_initializer(value)
    node.replace_input_with(1, value)


def _first_state(node: ir.Node) -> int:
    """Before its states a Loop has a count and a condition."""
    return 2 if node.op_type == "Loop" else 0


def _constant(node: ir.Node) -> list[int]:
    """The numbers of the states that the body gives back as they were, and whose names mean the same inside."""
    (body,) = subgraphs_of(node)
    first = _first_state(node)
    read = node.attributes.get_int("num_scan_inputs", 0)
    inside = {value.name for value in values_of(body)}
    found = []
    for k in range(len(node.inputs) - first - read):
        outer, before = node.inputs[first + k], body.inputs[first + k]
        if outer is None or _source(body.outputs[first // 2 + k]) is not before:
            continue
        # A value of the body with the name of the one outside would be read in its place.
        if outer.name == before.name or outer.name not in inside:
            found.append(k)
    return found


def _source(value: ir.Value) -> ir.Value:
    """What a value is a copy of."""
    node = value.producer()
    while node is not None and is_standard(node, "Identity") and node.inputs[0] is not None:
        value = node.inputs[0]
        node = value.producer()
    return value


def _remove(node: ir.Node, states: list[int]) -> None:
    (body,) = subgraphs_of(node)
    first, graph = _first_state(node), node.graph
    assert graph is not None
    befores = [body.inputs[first + k] for k in states]
    outers = [node.inputs[first + k] for k in states]
    for k in reversed(states):
        del body.inputs[first + k], body.outputs[first // 2 + k]
    for k, before, outer in zip(states, befores, outers, strict=True):
        assert outer is not None
        _give_copies(body, before, outer)
        ir.convenience.replace_all_uses_with(before, outer)
        _replace_result(node, node.outputs[k] if k < len(node.outputs) else None, outer)
    inputs = [value for i, value in enumerate(node.inputs) if i - first not in states]
    outputs = [value for k, value in enumerate(node.outputs) if k not in states]
    if not outputs:
        drop(node)
        return
    attributes = list(node.attributes.values())
    new = ir.Node(
        node.domain, node.op_type, inputs, attributes, num_outputs=len(outputs), version=node.version
    )
    graph.insert_before(node, new)
    for old, result in zip(outputs, new.outputs, strict=True):
        _take_over(old, result)
    graph.remove(node, safe=True)
    new.name, new.doc_string = node.name, node.doc_string
    new.metadata_props.update(node.metadata_props)


def _give_copies(body: ir.Graph, before: ir.Value, outer: ir.Value) -> None:
    """A body may give a value from outside as a copy alone, where it gives that of a removed state elsewhere."""
    for index, given in enumerate(body.outputs):
        if given is before:
            copy = ir.Node("", "Identity", [outer])
            body.append(copy)
            result = copy.outputs[0]
            result.name, result.type, result.shape = f"{before.name}/copy_{index}", before.type, before.shape
            body.outputs[index] = result


def _replace_result(node: ir.Node, final: ir.Value | None, outer: ir.Value) -> None:
    """Lets what reads the last value of a state read its first."""
    if final is None:
        return
    if not final.is_graph_output():
        ir.convenience.replace_all_uses_with(final, outer)
        return
    copy = ir.Node("", "Identity", [outer])
    assert node.graph is not None
    node.graph.insert_after(node, copy)
    _take_over(final, copy.outputs[0])


def _take_over(old: ir.Value, new: ir.Value) -> None:
    """Gives a value the name, the type, the notes and the readers of another."""
    new.type, new.shape = old.type, old.shape
    new.metadata_props.update(old.metadata_props)
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    new.name, old.name = old.name, None
