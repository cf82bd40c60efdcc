"""What shape inference and ONNX Runtime need of subgraphs, beyond what ONNX asks for."""

from __future__ import annotations

import itertools

import onnx

from onnxattr.graph.subgraphs import graphs_in


def give_own_values(graph: onnx.GraphProto) -> None:
    """Lets every subgraph give values of its own nodes alone, each once; in place.

    Of a value that is given twice ONNX Runtime fills one result with what lies in memory, and inference loses the shape
    of an input that is given as it is.
    """
    _, *bodies = graphs_in(graph)
    taken: set[str] = set()
    for body in bodies:
        own = {name for node in body.node for name in node.output}
        for value in body.output:
            if value.name in own:
                own.remove(value.name)
                continue
            taken = taken or _names(graph)
            name = next(n for k in itertools.count() if (n := f"{value.name}_given_{k}") not in taken)
            taken.add(name)
            body.node.append(onnx.helper.make_node("Identity", [value.name], [name]))
            value.name = name


def _names(graph: onnx.GraphProto) -> set[str]:
    """The names of all values of a graph and of those inside it."""
    nodes = (node for part in graphs_in(graph) for node in part.node)
    values = (value for part in graphs_in(graph) for value in (*part.input, *part.initializer))
    return {name for node in nodes for name in node.output} | {value.name for value in values}
