"""Parts of tf2onnx that take less memory and time for large models."""

from collections.abc import Callable
from typing import Any


def all_but_constants(update_proto: Callable[..., None]) -> Callable[..., None]:
    """`Node.update_proto` for nodes that hold no weights; the final graph reads constants elsewhere."""

    def update(node: Any, *args: Any, **kwargs: Any) -> None:
        if node.type != "Const":
            update_proto(node, *args, **kwargs)

    return update


def nodes_leading_to(
    graph: Any, outputs_name: Any, input_checker: Any = None, remove_unused_inputs: bool = True
) -> list[Any]:
    """All nodes that the named outputs need: `Graph.extract_sub_graph_nodes` in one search."""
    names = list(outputs_name)
    if not remove_unused_inputs:
        names += [node.output[0] for node in graph.inputs]
    found: dict[Any, None] = {}
    while names:
        node = graph.get_node_by_output(names.pop(), search_in_parent_graphs=False)
        if not node or node in found or (input_checker is not None and input_checker(node) is False):
            continue
        found[node] = None
        names.extend(node.input)
        names.extend(node.get_implicit_inputs())
    return list(found)
