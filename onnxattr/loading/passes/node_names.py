"""Names of nodes."""

from __future__ import annotations

import onnx_ir as ir

from onnxattr.graph.subgraphs import nodes_of


def name_nodes(graph: ir.Graph) -> bool:
    """Gives unnamed nodes a name, so that errors and tables can point at them; whether there were any."""
    changed = False
    taken = {node.name for node in nodes_of(graph) if node.name}
    for index, node in enumerate(nodes_of(graph)):
        if not node.name:
            name = f"{node.op_type}_{index}"
            while name in taken:
                name += "_"
            node.name = name
            taken.add(name)
            changed = True
    return changed
