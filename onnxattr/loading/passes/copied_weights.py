"""Reads weights where they are: exporters keep one of several equal ones and write an Identity for each of the others.

Behind an Identity neither the shape that a Reshape takes nor the bounds of a Clip would be known.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import onnx

from onnxattr.graph.subgraphs import bodies_of


def read_weights_directly(
    graph: onnx.GraphProto, weights: Collection[str], originals: Mapping[str, str] | None = None
) -> None:
    """Lets what reads an Identity of a constant read the constant, subgraphs included; in place.

    Args:
        graph: The graph.
        weights: Names of values that are constant, beside the graph's initializers and Constant nodes.
        originals: The constants that copies of enclosing graphs stand for.
    """
    constants = {*weights, *(tensor.name for tensor in graph.initializer)}
    renamed, kept = dict(originals or {}), []
    results = {value.name for value in graph.output}
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        if node.domain in ("", "ai.onnx") and node.op_type == "Constant":
            constants.add(node.output[0])
        copied = node.domain in ("", "ai.onnx") and node.op_type == "Identity" and node.input[0] in constants
        if copied and node.output[0] not in results:
            renamed[node.output[0]] = node.input[0]
            continue
        for body in bodies_of(node):
            read_weights_directly(body, constants, renamed)
        kept.append(node)
    if len(kept) < len(graph.node):
        del graph.node[:]
        graph.node.extend(kept)
    for value in graph.output:
        value.name = renamed.get(value.name, value.name)
