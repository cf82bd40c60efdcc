"""Look up the values of a plain ONNX graph and remove what nothing needs."""

from collections.abc import Iterable, Mapping, Set

from onnx import GraphProto, NodeProto

from onnxattr.graph.subgraphs import bodies_of, read_by
from onnxattr.graph.values import LAYOUTS


class GraphView:
    """Producers of the values of a graph; valid until the graph changes."""

    def __init__(self, graph: GraphProto) -> None:
        self.graph = graph
        self.producer = {name: node for node in graph.node for name in node.output if name}
        self.constants = {tensor.name for tensor in graph.initializer}

    def ancestors(self, names: Iterable[str]) -> set[str]:
        """All values that the given ones are computed from, themselves included."""
        found: set[str] = set()
        pending = list(names)
        while pending:
            name = pending.pop()
            if not name or name in found:
                continue
            found.add(name)
            node = self.producer.get(name)
            if node is not None:
                pending.extend(read_by(node))
        return found

    def nodes_between(self, start: str, end: str) -> list[NodeProto] | None:
        """Nodes computing `end` from `start` and constants alone, in graph order; None if they need more."""
        needed: set[str] = set()
        pending = [end]
        while pending:
            name = pending.pop()
            if name == start or not name or name in needed:
                continue
            node = self.producer.get(name)
            if node is None:
                if name not in self.constants:
                    return None
                continue
            needed.add(name)
            pending.extend(read_by(node))
        return [node for node in self.graph.node if needed & set(node.output)]


def remove_dead_nodes(graph: GraphProto, kept: Iterable[str]) -> None:
    """Remove every node that neither an output nor one of the `kept` values needs."""
    needed = GraphView(graph).ancestors([*(value.name for value in graph.output), *kept])
    dead = [index for index, node in enumerate(graph.node) if not needed & set(node.output)]
    for index in reversed(dead):
        del graph.node[index]


def take_out_dead_nodes(graph: GraphProto) -> GraphProto:
    """Remove every node that no output needs, and return those nodes with the initializers that they read."""
    needed = GraphView(graph).ancestors(value.name for value in graph.output)
    taken = GraphProto()
    taken.node.extend(node for node in graph.node if not needed & set(node.output))
    read = {name for node in taken.node for name in read_by(node)}
    taken.initializer.extend(tensor for tensor in graph.initializer if tensor.name in read)
    remove_dead_nodes(graph, [])
    removed = {name for node in taken.node for name in node.output}
    for index in reversed(range(len(graph.value_info))):
        if graph.value_info[index].name in removed:
            del graph.value_info[index]
    return taken


def merge_copies(graph: GraphProto, op_types: Set[str] = LAYOUTS - {"Identity"}) -> None:
    """Merge nodes of some operators that compute the same of the same inputs; of each set the first stays.

    Args:
        graph: Changed in place.
        op_types: Operators of one output that draw no random numbers; those that move elements if none are given.
    """
    outputs = {value.name for value in graph.output}
    first: dict[tuple[str, ...], str] = {}
    for node in list(graph.node):
        if node.op_type not in op_types or node.output[0] in outputs:
            continue
        attributes = sorted(attribute.SerializeToString(deterministic=True) for attribute in node.attribute)
        key = (node.op_type, *node.input, repr(attributes))
        kept = first.setdefault(key, node.output[0])
        if kept != node.output[0]:
            graph.node.remove(node)
            rename_values(graph, {node.output[0]: kept})


def rename_values(graph: GraphProto, names: Mapping[str, str]) -> None:
    """Rename values everywhere in a graph and in the graphs inside its nodes, but not its inputs and outputs."""
    for node in graph.node:
        for values in (node.input, node.output):
            for index, name in enumerate(values):
                values[index] = names.get(name, name)
        for inner in bodies_of(node):
            rename_values(inner, names)
            for value in inner.output:
                value.name = names.get(value.name, value.name)
