"""What the nodes inside nodes read, and how both are removed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from itertools import takewhile
from typing import Any

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from onnxattr.graph.values import values_of


def bodies_of(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The branches or the body of a node, as a file holds them."""
    attributes = node.attribute
    return [a.g for a in attributes if a.type == onnx.AttributeProto.GRAPH] if attributes else []


def held_by(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Every graph in a node's attributes, whatever kind they say they are: of a file that has not been checked."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def graphs_in(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and the graphs inside it, as a file holds them."""
    yield graph
    for node in graph.node:
        for body in bodies_of(node):
            yield from graphs_in(body)


def nodes_in(graph: onnx.GraphProto | onnx.FunctionProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph or function, each followed by those inside it, as a file holds them."""
    for node in graph.node:
        yield node
        for body in bodies_of(node):
            yield from nodes_in(body)


def captured_by(body: onnx.GraphProto) -> list[str]:
    """The names of values that a body, and the bodies inside it, read of the graphs around."""
    own = {value.name for value in [*body.input, *body.initializer]}
    own.update(name for node in body.node for name in node.output)
    read = [name for node in body.node for name in read_by(node)]
    return [name for name in [*read, *(value.name for value in body.output)] if name and name not in own]


def read_by(node: onnx.NodeProto) -> list[str]:
    """The names of values that a node and the graphs inside it read, "" where an input is left out."""
    return [*node.input, *(name for body in bodies_of(node) for name in captured_by(body))]


def names_read_in(graph: onnx.GraphProto) -> set[str]:
    """The names that nodes and outputs read, in a graph and in those inside it."""
    graphs = list(graphs_in(graph))
    read = {name for inner in graphs for node in inner.node for name in node.input}
    return read.union(value.name for inner in graphs for value in inner.output)


def names_made_in(graph: onnx.GraphProto) -> Iterator[str]:
    """The names that nodes, inputs and initializers give values, in a graph and in those inside it."""
    for inner in graphs_in(graph):
        yield from (name for node in inner.node for name in node.output)
        yield from (value.name for value in [*inner.initializer, *inner.input])


def set_nodes(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Gives a graph other nodes, some of which it may have already."""
    held = list(nodes)
    del graph.node[:]
    graph.node.extend(held)


def inside_out(graph: onnx.GraphProto, *op_types: str) -> list[onnx.GraphProto]:
    """A graph and those inside it, bodies before the graphs that hold them; none without a node of some operators."""
    found = list(graphs_in(graph))
    return found[::-1] if any(is_standard(node, *op_types) for one in found for node in one.node) else []


def values_in(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """The values of a graph that have a type, subgraphs apart, as a file holds them."""
    return [*graph.input, *graph.output, *graph.value_info]


def is_standard(node: Any, *op_types: str) -> bool:
    """Whether a node, of a file or of onnx_ir, is one of these operators of ai.onnx."""
    return node.op_type in op_types and node.domain in ("", "ai.onnx")


def subgraphs_of(node: Any) -> list[ir.Graph]:
    """The graphs among a node's attributes."""
    attributes = getattr(node, "attributes", None)
    if attributes is None or not attributes.data:  # as most nodes: this is asked of each many times
        return []
    return [a.as_graph() for a in attributes.data.values() if a.type == _GRAPH]


_GRAPH = ir.AttributeType.GRAPH


def graphs_of(graph: ir.Graph) -> Iterator[ir.Graph]:
    """A graph and the graphs inside it."""
    yield graph
    for node in graph:
        for body in subgraphs_of(node):
            yield from graphs_of(body)


def nodes_of(graph: ir.Graph) -> Iterator[ir.Node]:
    """The nodes of a graph, each followed by those inside it; faster than onnx_ir's own walk."""
    for node in graph:
        yield node
        for body in subgraphs_of(node):
            yield from nodes_of(body)


def nodes_behind(graph: ir.Graph, last: ir.Node | None) -> Iterator[ir.Node]:
    """The nodes of a graph behind one of them, from the end on; all of them for None."""
    return takewhile(lambda node: node is not last, reversed(graph))


def take_place(node: ir.Node, result: ir.Value, last: ir.Node, made: ir.Node | None = None) -> None:
    """Puts what was built behind ``last``, the end of a node's graph, in the place of the node, which goes.

    Args:
        node: The node, of one output.
        result: What gets the name, the type, the shape and the readers of that output.
        last: The node that ended the graph before.
        made: The new node that gets the name of the old one; None for none.
    """
    y, graph = node.outputs[0], node.graph
    assert graph is not None
    graph.insert_before(node, list(nodes_behind(graph, last))[::-1])
    result.type, result.shape = y.type, result.shape if y.shape is None else y.shape
    result.metadata_props.update(y.metadata_props)
    ir.convenience.replace_all_uses_with(y, result, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    result.name, y.name = y.name, None
    if made is not None:
        made.name, made.doc_string = node.name, node.doc_string
        made.metadata_props.update(node.metadata_props)


def sort(graph: ir.Graph) -> bool:
    """Puts each node of a whole graph behind what it and its subgraphs read, where one is not; whether one was not.

    Raises:
        ValueError: If nodes read each other in a circle.
    """
    if _in_order(graph, set()):
        return False
    graph.sort()
    return True


def _in_order(graph: ir.Graph, done: set[ir.Node]) -> bool:
    """Whether what nodes read is done before them; ``done`` gets the nodes of the graph."""
    for node in graph:
        if not all(_in_order(body, done) for body in subgraphs_of(node)):
            return False
        for value in node.inputs:
            producer = None if value is None else value.producer()
            if producer is not None and producer not in done:
                return False
        done.add(node)
    return True


def captures_of(node: Any) -> list[ir.Value]:
    """The values of enclosing graphs that a node's subgraphs read, each once."""
    captured: dict[ir.Value, None] = {}
    for body in subgraphs_of(node):
        own = set(values_of(body))
        read = [value for inner in body.all_nodes() for value in inner.inputs]
        captured |= dict.fromkeys(value for value in read if value is not None and value not in own)
    return list(captured)


def detach(node: ir.Node) -> None:
    """Ends the hold on what they read of a node that is to be removed and of those inside it.

    A graph that removes nodes looks at all its outputs: many nodes are removed at once.
    """
    for inner in [node, *(inner for body in subgraphs_of(node) for inner in body.all_nodes())]:
        for index in range(len(inner.inputs)):
            inner.replace_input_with(index, None)


def drop(node: ir.Node) -> None:
    """Removes a node that nothing needs from its graph, and its subgraphs' hold on what they captured."""
    detach(node)
    if node.graph is not None:
        node.graph.remove(node)


def prune(graph: ir.Graph, kept: Collection[ir.Value] = ()) -> None:
    """Removes the nodes of a graph that nothing needs; what their subgraphs captured may go with them.

    Args:
        graph: The graph, changed in place.
        kept: Values that stay although nothing reads them.
    """
    gone = []
    for node in reversed(graph):
        if any(value.uses() or value.is_graph_output() or value in kept for value in node.outputs):
            for body in subgraphs_of(node):
                prune(body, kept)
        else:
            detach(node)
            gone.append(node)
    graph.remove(gone)


def drop_unused(model: ir.Model) -> None:
    """Removes the nodes, optional outputs and initializers that nothing needs.

    onnx_ir's pass drops inputs at the end that are left out, too; of a Loop its schema asks for two, left out or not.
    """
    RemoveUnusedNodesPass()(model)
    for graph in (model.graph, *(function.graph for function in model.functions.values())):
        for node in nodes_of(graph):
            if node.op_type == "Loop" and len(node.inputs) < 2:
                node.resize_inputs(2)


class Names:
    """Names that are taken, and new ones; a name is never free again, so that none is tried twice."""

    def __init__(self, taken: Iterable[str | None]):
        self.counts = Counter(taken)
        self._next: Counter[str | None] = Counter()

    def fresh(self, stem: str | None) -> str:
        """A name that nothing has yet: the stem, or the stem and a number; noted as taken."""
        name = str(stem)
        while self.counts[name]:
            name = f"{stem}_{self._next[stem]}"
            self._next[stem] += 1
        self.counts[name] += 1
        return name


def hoist_initializers(model: ir.Model) -> bool:
    """Moves the initializers of subgraphs to the main graph, so that copies of a subgraph share them; whether any."""
    _, *bodies = graphs_of(model.graph)
    graphs = [body for body in bodies if body.initializers]
    if not graphs:
        return False
    names = Names(value.name for value in values_of(model.graph))
    for graph in graphs:
        for index, value in enumerate(graph.outputs):
            if value.is_initializer() and value.graph is graph:
                node = ir.node("Identity", [value])
                node.outputs[0].name = names.fresh(f"{value.name}_output")
                node.outputs[0].type, node.outputs[0].shape = value.type, value.shape
                graph.append(node)
                graph.outputs[index] = node.outputs[0]
        for name, value in list(graph.initializers.items()):
            del graph.initializers[name]
            # The name may mean something else in another subgraph, where it must not come from outside.
            if names.counts[name] > 1:
                value.name = names.fresh(name)
            model.graph.register_initializer(value)
    return True
