"""Reads weights where they are: exporters keep one of several equal ones and write an Identity for each of the others.

Behind an Identity neither the shape that a Reshape takes nor the bounds of a Clip would be known.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from onnxattr.graph.subgraphs import graphs_of, is_standard


def read_weights_directly(graph: ir.Graph, weights: Collection[str]) -> bool:
    """Lets what reads an Identity of a constant read the constant, subgraphs included; in place.

    Args:
        graph: The graph.
        weights: Names of graph inputs that stand for weights.

    Returns:
        Whether there was one.
    """
    detached = {value for value in graph.inputs if value.name in weights}
    changed = False
    for part in graphs_of(graph):
        for node in list(part):
            source = node.inputs[0] if is_standard(node, "Identity") and node.inputs else None
            if source is None or node.outputs[0].is_graph_output():
                continue
            producer = source.producer()
            constant = producer is not None and is_standard(producer, "Constant")
            if constant or source.const_value is not None or source in detached:
                ir.convenience.replace_all_uses_with(node.outputs[0], source)
                part.remove(node, safe=True)
                changed = True
    return changed
