"""Gives every value of a model a name of its own: branches may use one name for several, which inference mixes up."""

from __future__ import annotations

import onnx_ir as ir

from onnxattr.graph.subgraphs import Names, graphs_of
from onnxattr.graph.values import values_of


def give_own_names(graph: ir.Graph) -> bool:
    """Renames what a subgraph calls by a name that stands for a value already, in place; whether it did."""
    _, *bodies = graphs_of(graph)
    if not bodies:
        return False
    taken = Names(value.name for value in dict.fromkeys(values_of(graph)) if value.name)
    inner = [value for body in bodies for value in own_values(body)]
    seen = {value.name for value in own_values(graph)}
    changed = False
    for value in dict.fromkeys(inner):
        if value.name and value.name in seen:
            value.name = taken.fresh(value.name)
            changed = True
        seen.add(value.name)
    return changed


def own_values(graph: ir.Graph) -> list[ir.Value]:
    """The values of a graph, subgraphs apart: inputs, initializers, node outputs."""
    outputs = (value for node in graph for value in node.outputs)
    return [*graph.inputs, *graph.initializers.values(), *outputs]
