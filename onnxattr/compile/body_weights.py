"""What the bodies of Scans read of weights in another layout, computed inside the body."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import onnx

from onnxattr.graph.subgraphs import (
    Names,
    bodies_of,
    captured_by,
    graphs_in,
    is_standard,
    names_made_in,
    read_by,
)
from onnxattr.graph.values import LAYOUTS

#: Operators that only change how a value lies in memory: runtimes compute them when they load constants.
_LAYOUT = LAYOUTS | {"Cast", "Concat", "Slice", "Split"}


def own_weights(graph: onnx.GraphProto) -> None:
    """Copies into the bodies of Scans the nodes that lay out the weights that these read.

    OpenVINO (2026.4.1) refuses a Scan whose body reads what a node outside computes. ONNX Runtime computes nodes of
    constants when it loads a file, in a body too, so that a run does the same as before, and gives the same bits.
    """
    if not any(node.op_type == "Scan" for inner in graphs_in(graph) for node in inner.node):
        return
    names = Names(names_made_in(graph))
    fed = {value.name for value in graph.input}
    constant = {tensor.name for tensor in graph.initializer if tensor.name not in fed}
    copied = _own(graph, constant, {}, names)
    if copied:
        for inner in graphs_in(graph):
            _drop_unread(inner, copied)


def _own(
    graph: onnx.GraphProto, constant: set[str], makers: Mapping[str, onnx.NodeProto], names: Names
) -> set[str]:
    """Copies into the Scans of a graph and its bodies; the names of what was copied.

    Args:
        graph: The graph.
        constant: The constants of this graph and those around it.
        makers: By the name of a value of weights in another layout, the node that makes it, here or around.
        names: The names that are taken.
    """
    constant, makers, copied = set(constant), dict(makers), set()
    for node in graph.node:
        if is_standard(node, "Constant"):
            constant.update(node.output)
        elif is_standard(node, *_LAYOUT) and all(n in constant or n in makers for n in node.input if n):
            makers.update(dict.fromkeys(node.output, node))
        for body in bodies_of(node):
            if is_standard(node, "Scan"):
                copied |= _copy(body, makers, names)
            copied |= _own(body, constant | {tensor.name for tensor in body.initializer}, makers, names)
    return copied


def _copy(body: onnx.GraphProto, makers: Mapping[str, onnx.NodeProto], names: Names) -> set[str]:
    """Copies what a body reads of these nodes in front of its own; the names of what was copied."""
    needed, waiting = set(), captured_by(body)
    while waiting:
        name = waiting.pop()
        if name in makers and name not in needed:
            needed.update(makers[name].output)
            waiting += makers[name].input
    if not needed:
        return needed
    renamed = {name: names.fresh(name) for name in makers if name in needed}
    # In the order in which they follow from each other.
    nodes = list({id(makers[name]): makers[name] for name in renamed}.values())
    held = [onnx.NodeProto.FromString(n.SerializeToString()) for n in [*nodes, *body.node]]
    for node in held:
        _rename(node, renamed)
    del body.node[:]
    body.node.extend(_with_own_matrices(held, set(renamed.values()), names))
    for value in body.output:
        value.name = renamed.get(value.name, value.name)
    return needed


def _with_own_matrices(
    nodes: Sequence[onnx.NodeProto], copied: set[str], names: Names
) -> list[onnx.NodeProto]:
    """The nodes of a body, whose products read double negatives of these weights, which are computed when loaded too.

    OpenVINO otherwise takes a square matrix for the transposed one where other nodes multiply with that.
    """
    laid_out, negatives, result = set(copied), {}, []
    for node in nodes:
        if is_standard(node, "Transpose") and node.input[0] in laid_out:
            laid_out.update(node.output)
        for position, name in enumerate(node.input if is_standard(node, "MatMul", "Gemm") else ()):
            if name in laid_out and name not in negatives:
                first, negatives[name] = names.fresh(name), names.fresh(name)
                result.append(onnx.helper.make_node("Neg", [name], [first]))
                result.append(onnx.helper.make_node("Neg", [first], [negatives[name]]))
            node.input[position] = negatives.get(name, name)
        result.append(node)
    return result


def _rename(node: onnx.NodeProto, renamed: Mapping[str, str]) -> None:
    """Gives values other names in a node and the graphs inside it."""
    node.input[:] = [renamed.get(name, name) for name in node.input]
    node.output[:] = [renamed.get(name, name) for name in node.output]
    for body in bodies_of(node):
        for value in body.output:
            value.name = renamed.get(value.name, value.name)
        for inner in body.node:
            _rename(inner, renamed)


def _drop_unread(graph: onnx.GraphProto, copied: set[str]) -> None:
    """Drops from a graph the nodes that were copied and that nothing outside the bodies reads any more."""
    reads = Counter(name for node in graph.node for name in read_by(node))
    reads.update(value.name for value in graph.output)
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        if copied.issuperset(node.output) and not any(reads[name] for name in node.output):
            reads.subtract(node.input)
            del graph.node[index]
