"""Recurrent nodes with the batch first (layout=1), which ONNX Runtime does not run, written with the time first."""

from __future__ import annotations

import onnx_ir as ir

from onnxattr.graph.subgraphs import is_standard, nodes_of

#: By position among the inputs (X, initial_h, initial_c) and outputs (Y, Y_h, Y_c): the axes of the other layout.
_INPUTS = {0: [1, 0, 2], 5: [1, 0, 2], 6: [1, 0, 2]}
_OUTPUTS = {0: [2, 0, 1, 3], 1: [1, 0, 2], 2: [1, 0, 2]}


def put_time_first(graph: ir.Graph) -> bool:
    """Puts Transposes around the recurrent nodes of a graph and its subgraphs that have layout=1, in place."""
    found = [node for node in nodes_of(graph) if is_standard(node, "LSTM", "GRU", "RNN")]
    found = [node for node in found if node.attributes.get_int("layout", 0) == 1]
    for node in found:
        _put_transposes(node)
    return bool(found)


def _put_transposes(node: ir.Node) -> None:
    graph = node.graph
    assert graph is not None
    stem = node.name or next(value.name for value in node.outputs if value.name)
    del node.attributes["layout"]
    for index, perm in _INPUTS.items():
        value = node.inputs[index] if index < len(node.inputs) else None
        if value is not None:
            before = _transpose(value, perm)
            before.outputs[0].name = f"{stem}/time_first/input_{index}"
            graph.insert_before(node, before)
            node.replace_input_with(index, before.outputs[0])
    for index, perm in _OUTPUTS.items():
        value = node.outputs[index] if index < len(node.outputs) else None
        if value is not None and value.name:
            after = _transpose(None, perm)
            result = after.outputs[0]
            value.replace_all_uses_with(result, replace_graph_outputs=True)
            after.replace_input_with(0, value)
            graph.insert_after(node, after)
            result.name, value.name = value.name, f"{stem}/time_first/output_{index}"
            result.type, result.shape, value.shape = value.type, value.shape, None


def _transpose(value: ir.Value | None, perm: list[int]) -> ir.Node:
    return ir.Node("", "Transpose", [value], [ir.AttrInt64s("perm", perm)])
