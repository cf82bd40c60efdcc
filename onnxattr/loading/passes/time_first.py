"""Recurrent nodes with the batch first (layout=1), which ONNX Runtime does not run, written with the time first."""

from __future__ import annotations

import onnx

from onnxattr.graph.subgraphs import bodies_of

_RECURRENT = ("LSTM", "GRU", "RNN")
#: By position among the inputs (X, initial_h, initial_c) and outputs (Y, Y_h, Y_c): the axes of the other layout.
_INPUTS = {0: [1, 0, 2], 5: [1, 0, 2], 6: [1, 0, 2]}
_OUTPUTS = {0: [2, 0, 1, 3], 1: [1, 0, 2], 2: [1, 0, 2]}


def put_time_first(graph: onnx.GraphProto) -> None:
    """Puts Transposes around the recurrent nodes of a graph and its subgraphs that have layout=1, in place."""
    nodes = []
    for node in graph.node:
        for body in bodies_of(node):
            put_time_first(body)
        layout = next((a for a in node.attribute if a.name == "layout" and a.i == 1), None)
        if node.op_type in _RECURRENT and node.domain in ("", "ai.onnx") and layout is not None:
            node.attribute.remove(layout)
            nodes += _with_transposes(node)
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _with_transposes(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    stem = next(name for name in (node.name, *node.output) if name)
    before, after = [], []
    for index, perm in _INPUTS.items():
        if index < len(node.input) and node.input[index]:
            name = f"{stem}/time_first/input_{index}"
            before.append(onnx.helper.make_node("Transpose", [node.input[index]], [name], perm=perm))
            node.input[index] = name
    for index, perm in _OUTPUTS.items():
        if index < len(node.output) and node.output[index]:
            name = f"{stem}/time_first/output_{index}"
            after.append(onnx.helper.make_node("Transpose", [name], [node.output[index]], perm=perm))
            node.output[index] = name
    return [*before, node, *after]
