"""Constants that nodes inside loops and branches take as arguments, held by the graph of the node itself."""

from __future__ import annotations

import math

import onnx

from onnxattr.graph.fusions import ARGUMENTS
from onnxattr.graph.subgraphs import Names, bodies_of, graphs_in, is_standard, names_made_in, names_read_in

#: Elements of an argument that is copied: scales have one for each axis.
_SMALL = 8


def own_arguments(graph: onnx.GraphProto) -> None:
    """Gives nodes inside loops and branches constants of their own where they share one with a graph around theirs.

    WebGPU's provider of ONNX Runtime (0.4.0) otherwise reads the fill of such a Pad and the bounds of such a Clip from
    memory that holds something else, if a node outside has the constant on the device; and it refuses to run any other
    node that reads the fill of a Pad outside, which is on the host. The numbers do not change.
    """
    names = Names(names_made_in(graph))
    arguments = {
        node.input[position]
        for inner in graphs_in(graph)
        for node in inner.node
        if is_standard(node, *ARGUMENTS)
        for position in ARGUMENTS[node.op_type]
        if position < len(node.input)
    }
    copied = _own(graph, {}, names, arguments)
    read = names_read_in(graph)
    # Runtimes warn of constants that nothing reads any more.
    for inner in graphs_in(graph):
        kept = [tensor for tensor in inner.initializer if tensor.name in read or tensor.name not in copied]
        if len(kept) < len(inner.initializer):
            kept = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
            del inner.initializer[:]
            inner.initializer.extend(kept)


def _own(
    graph: onnx.GraphProto, around: dict[str, onnx.TensorProto], names: Names, arguments: set[str]
) -> set[str]:
    """Copies into a graph and its bodies; the names of what was copied.

    Args:
        graph: The graph.
        around: The constants of the graphs around it.
        names: The names that are taken.
        arguments: The names that some node takes as an argument.
    """
    own = {tensor.name: tensor for tensor in graph.initializer}
    copies: dict[str, str] = {}
    copied: set[str] = set()
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name in arguments and name in around and name not in own and _is_small_float(around[name]):
                if name not in copies:
                    copies[name] = names.fresh(name)
                    graph.initializer.add().CopyFrom(around[name])
                    graph.initializer[-1].name = copies[name]
                node.input[position] = copies[name]
        for body in bodies_of(node):
            copied |= _own(body, around | own, names, arguments)
    return copied | copies.keys()


def _is_small_float(tensor: onnx.TensorProto) -> bool:
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    return tensor.data_type in floats and math.prod(tensor.dims) <= _SMALL
