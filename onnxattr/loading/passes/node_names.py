"""Names of nodes."""

from __future__ import annotations

import onnx_ir as ir

from onnxattr.graph.subgraphs import nodes_of


def name_nodes(graph: ir.Graph) -> bool:
    """Gives nodes a name that have none, or that of a node before them in their graph; whether there were any.

    Errors and tables point at nodes by name, and ONNX Runtime refuses two of a name in a graph.
    """
    changed, given = False, set[tuple[ir.Graph | ir.Function | None, str]]()
    taken = {node.name for node in nodes_of(graph) if node.name}
    for index, node in enumerate(nodes_of(graph)):
        own = (node.graph, node.name or "")
        if not node.name or own in given:
            name = f"{node.name or node.op_type}_{index}"
            while name in taken:
                name += "_"
            node.name = name
            taken.add(name)
            changed = True
        given.add((node.graph, node.name))
    return changed
