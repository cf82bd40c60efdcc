"""Gives every value of a model a name of its own: branches may use one name for several, which inference mixes up."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from onnxattr.graph.subgraphs import Names, bodies_of, graphs_in


def with_own_names(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model in which no name stands for two values; itself if that is so already."""
    graphs = [*graphs_in(proto.graph)]
    defined = [name for graph in graphs for name in _defined(graph)]
    if len(graphs) == 1 or len(set(defined)) == len(defined):
        return proto
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    _rename(result.graph, {}, set(_defined(result.graph)), Names(defined))
    return result


def _defined(graph: onnx.GraphProto) -> list[str]:
    """The names that a graph gives, each once; those inside its nodes are their own."""
    names = [value.name for value in (*graph.input, *graph.initializer)]
    names += [name for node in graph.node for name in node.output if name]
    return [*dict.fromkeys(names)]


def _rename(graph: onnx.GraphProto, outer: Mapping[str, str], seen: set[str], taken: Names) -> None:
    """Renames what a graph reads and gives; ``seen`` holds the names that stand for a value already."""
    for node in graph.node:
        node.input[:] = [outer.get(name, name) for name in node.input]
        node.output[:] = [outer.get(name, name) for name in node.output]
        for body in bodies_of(node):
            names = {name: name for name in _defined(body)}
            for name in names:
                if name in seen:
                    names[name] = taken.fresh(name)
                seen.add(names[name])
            _rename(body, {**outer, **names}, seen, taken)
    for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        value.name = outer.get(value.name, value.name)
