"""Counts the steps that Loops take, those of Loops inside Loops too."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from onnxattr.graph.subgraphs import nodes_of, subgraphs_of
from onnxattr.loading.constant_values import ConstantValues, goes_on


def own_steps(node: ir.Node, constants: ConstantValues) -> int | None:
    """Steps of a Loop, None if they are not known or a condition may end it earlier."""
    (body,), trips = subgraphs_of(node), constants(node.inputs[0])
    go = node.inputs[1] if len(node.inputs) > 1 else None
    if trips is None or trips.size != 1 or not goes_on(body, constants) or not (go is None or constants(go)):
        return None
    return int(trips.item())


def all_steps(node: ir.Node, constants: ConstantValues) -> int:
    """Steps of a Loop and of the Loops in it together; one where they are not known."""
    steps = own_steps(node, constants)
    inner = sum(all_steps(loop, constants) for body in subgraphs_of(node) for loop in loops_of(body))
    return (1 if steps is None else steps) * max(inner, 1)


def loops_of(graph: ir.Graph) -> Iterator[ir.Node]:
    """The outermost Loops of a graph."""
    for node in graph:
        if node.op_type == "Loop":
            yield node
        else:
            for body in subgraphs_of(node):
                yield from loops_of(body)


def grows_sequences(node: ir.Node) -> bool:
    """Whether a Loop, or one in it, hands a sequence from step to step."""
    (body,) = subgraphs_of(node)
    loops = (node, *(inner for inner in nodes_of(body) if inner.op_type == "Loop"))
    values = (
        value for loop in loops for body in subgraphs_of(loop) for value in (*body.inputs, *body.outputs)
    )
    return any(isinstance(value.type, ir.SequenceType) for value in values)
