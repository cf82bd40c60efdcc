"""Recurrent nodes that share their sequences with other nodes, given sequences of their own."""

from __future__ import annotations

from collections import Counter

import onnx

from onnxattr.graph.sequences import RECURRENT, Sequences, tells_all_states
from onnxattr.graph.subgraphs import Names, inside_out, names_made_in, set_nodes


def own_sequences(graph: onnx.GraphProto) -> None:
    """Puts a selection between two equal values in front of recurrent nodes whose sequences others read too.

    OpenVINO (2026.4) otherwise exchanges time and samples for the other readers of sequences of which a recurrent node
    tells all states, as in a bidirectional layer: see ``graph.sequences``. It moves no Transpose across a Where. The
    numbers do not change, bit by bit: where x = x the first value is taken, elsewhere (NaN) the second, and both are x.
    """
    graphs = inside_out(graph, *RECURRENT)
    if not graphs:
        return
    names = Names(names_made_in(graph))
    for one in graphs:
        _own(one, names)


def _own(graph: onnx.GraphProto, names: Names) -> None:
    sequences, nodes, selections = Sequences(graph.node), [], Counter[str]()
    for node in graph.node:
        if tells_all_states(node) and sequences.others(node):
            value = node.input[0]
            # As many as make it differ from those of the nodes before: equal nodes become one.
            selections[value] += 1
            for _ in range(selections[value]):
                equal, selected = names.fresh(value), names.fresh(value)
                nodes.append(onnx.helper.make_node("Equal", [value, value], [equal]))
                nodes.append(onnx.helper.make_node("Where", [equal, value, value], [selected]))
                value = selected
            node.input[0] = value
        nodes.append(node)
    if selections:
        set_nodes(graph, nodes)
