"""Writes nodes in other operators, or with other operands, in their place in the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.subgraphs import graphs_of, nodes_of

#: What stands for the outputs of a node, None for those that nothing needs; None for a node that stays.
Results = Sequence[ir.Value | None] | None


def replay(op: OpBuilder, write: Callable[[OpBuilder, ir.Node], Results]) -> bool:
    """Takes the nodes off the builder's graph and puts them back in order, with others in the place of some.

    Args:
        op: The builder on the graph.
        write: Appends what stands for a node, or returns None and leaves the node, which it may change.

    Returns:
        Whether there are other nodes.
    """
    graph, changed = op.graph, False
    nodes = list(graph)
    graph.remove(nodes)
    for node in nodes:
        results = write(op, node)
        if results is None:
            graph.append(node)
        else:
            _take_over(op, node, results)
            changed = True
    return changed


def change_each(
    graph: ir.Graph,
    opset: int,
    prefix: str,
    fits: Callable[[ir.Node], bool],
    change: Callable[[OpBuilder, ir.Node], bool],
) -> bool:
    """Changes the nodes that fit, subgraphs included, in place.

    Args:
        graph: The main graph of a model.
        opset: Its opset.
        prefix: What the names of new nodes begin with.
        fits: Whether a node is to be changed.
        change: Writes new operands of a node at the end of its graph, and says whether there are any.

    Returns:
        Whether a node was changed.
    """
    if not any(map(fits, nodes_of(graph))):
        return False
    main, changed = OpBuilder(graph, opset, prefix=prefix), False
    for part in list(graphs_of(graph)):
        op = main.inside(part)
        done = [change(op, node) for node in list(part) if fits(node)]
        if any(done):
            part.sort()
            changed = True
    return changed


def _take_over(op: OpBuilder, node: ir.Node, results: Sequence[ir.Value | None]) -> None:
    """Gives the values that stand for a node's outputs the names and the uses of those."""
    given = [*results, *[None] * len(node.outputs)]
    for old, new in zip(node.outputs, given, strict=False):
        if new is None or not old.name:  # an output that the node leaves out
            continue
        if new in node.inputs or new.producer() is None:
            # A node of its own, also where the builder would give a constant.
            copy = ir.node("Identity", [new], name=op.unique_name("Identity"))
            op.graph.append(copy)
            copy.outputs[0].type, copy.outputs[0].shape = new.type, new.shape
            new = copy.outputs[0]
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        new.name, old.name = old.name, None
        if new.dtype is None:
            new.type = old.type
    for index in range(len(node.inputs)):
        node.replace_input_with(index, None)
