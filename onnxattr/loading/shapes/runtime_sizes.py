"""Writes nodes so that the sizes which ONNX Runtime computes are those that ONNX's shape inference finds.

ONNX Runtime infers shapes as ONNX does before it runs, and could refuse or miscompute what is added to other nodes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import onnx

from onnxattr.graph.subgraphs import graphs_in
from onnxattr.loading.shapes.ceiled_pools import without_ceiled_window
from onnxattr.loading.shapes.declared import scopes
from onnxattr.loading.shapes.resizes import by_sizes

#: Takes a node, the dimensions of its first operand and of its output, what constants hold, and a function that adds a
#: constant to the graph and gives its name; gives the nodes in its place, or None if it may stay.
Rewrite = Callable[..., list[onnx.NodeProto] | None]
_REWRITES: dict[str, Rewrite] = {
    "Resize": by_sizes,
    "MaxPool": without_ceiled_window,
    "AveragePool": without_ceiled_window,
    "LpPool": without_ceiled_window,
}


def restate_sizes(proto: onnx.ModelProto, inferred: onnx.ModelProto) -> bool:
    """Rewrites the nodes of a model whose inferred sizes are not those that the runtime computes, in place.

    Args:
        proto: The model, of opset 18 or newer.
        inferred: The same model with inferred shapes.

    Returns:
        Whether a node was rewritten.
    """
    changed = False
    constants: dict[str, np.ndarray] | None = None
    for graph, (_, scope) in zip(graphs_in(proto.graph), scopes(inferred.graph), strict=True):
        nodes: list[onnx.NodeProto] = []
        add = functools.partial(_add, graph)
        for node in graph.node:
            rewrite = _REWRITES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
            x, y = (
                (_dims(scope.get(name)) for name in (node.input[0], node.output[0]))
                if rewrite
                else (None, None)
            )
            new = None
            if rewrite is not None and x is not None and y is not None:
                constants = _constants(proto.graph) if constants is None else constants
                new = rewrite(node, x, y, constants, add)
            nodes += [node] if new is None else new
            changed = changed or new is not None
        if changed:
            del graph.node[:]
            graph.node.extend(nodes)
    return changed


def _dims(type_proto: onnx.TypeProto | None) -> list[int | None] | None:
    if type_proto is None or not type_proto.tensor_type.HasField("shape"):
        return None
    return [dim.dim_value if dim.HasField("dim_value") else None for dim in type_proto.tensor_type.shape.dim]


def _add(graph: onnx.GraphProto, stem: str, array: np.ndarray) -> str:
    """Gives a graph a constant; the name is made unique in it."""
    taken = {tensor.name for tensor in graph.initializer} | {n for node in graph.node for n in node.output}
    name = stem
    while name in taken:
        name += "_"
    graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return name


def _constants(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    """The small float constants of a graph and of those inside it; a name that means several is left out."""
    found: dict[str, np.ndarray] = {}
    twice = set()
    for part in graphs_in(graph):
        for tensor in (*part.initializer, *filter(None, map(_constant, part.node))):
            if tensor.data_type == onnx.TensorProto.FLOAT:
                twice |= {tensor.name} & found.keys()
                found[tensor.name] = onnx.numpy_helper.to_array(tensor).ravel()
    return {name: array for name, array in found.items() if name not in twice}


def _constant(node: onnx.NodeProto) -> onnx.TensorProto | None:
    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx"):
        return None
    value = onnx.helper.get_attribute_value(node.attribute[0])
    if node.attribute[0].name == "value":
        tensor = onnx.TensorProto()
        tensor.CopyFrom(value)
        tensor.name = node.output[0]
        return tensor
    if node.attribute[0].name == "value_floats":
        return onnx.numpy_helper.from_array(np.array(value, np.float32), node.output[0])
    return None
