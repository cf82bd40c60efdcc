"""Loops whose states start from one value, given a value for each state."""

from __future__ import annotations

import onnx

from onnxattr.graph.subgraphs import Names, bodies_of, inside_out, names_made_in, set_nodes

#: The number of steps and the condition stand before the states.
_FIRST = 2


def own_states(graph: onnx.GraphProto) -> None:
    """Repeats the node that makes a value from which several states of a Loop start, for each state but the first.

    OpenCV 5.0 holds such states in one place, where each step writes all of them: the sums of VarGrad's gradients and
    of their squares, which both start from zeros, are wrong there while the prediction is right.
    """
    graphs = inside_out(graph, "Loop")
    names = Names(names_made_in(graph)) if graphs else None
    for one in graphs:
        makers = {name: node for node in one.node for name in node.output}
        nodes = []
        for node in one.node:
            if node.op_type == "Loop" and names is not None:
                nodes += _repeated(node, makers, names)
            nodes.append(node)
        if len(nodes) > len(one.node):
            set_nodes(one, nodes)


def _repeated(loop: onnx.NodeProto, makers: dict[str, onnx.NodeProto], names: Names) -> list[onnx.NodeProto]:
    """Nodes that make the start of each state which another one before has too; the loop reads them."""
    nodes = []
    for position in range(_FIRST, len(loop.input)):
        value = loop.input[position]
        if value not in loop.input[_FIRST:position]:
            continue
        maker = makers.get(value)
        node = onnx.helper.make_node("Identity", [value], [""])
        if (
            maker is not None
            and len(maker.output) == 1
            and not bodies_of(maker)
            and "Random" not in maker.op_type
        ):
            node.CopyFrom(maker)
            node.ClearField("name")
        node.output[0] = loop.input[position] = names.fresh(value)
        nodes.append(node)
    return nodes
