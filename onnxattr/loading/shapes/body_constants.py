"""Gives the subgraphs of a model constants of their own, so that shape inference knows them there.

ONNX's inference knows the constants of a graph, axes and shapes above all, but not inside the subgraphs that read them:
without them the ranks behind an Unsqueeze or Reshape are lost.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto

from onnxattr.graph.subgraphs import Names, bodies_of, graphs_in, set_nodes

_INTEGERS = (TensorProto.INT64, TensorProto.INT32)
#: Elements of a constant that every subgraph may have a copy of; axes and shapes have far fewer.
_MOST = 1024
#: Vectors of floats of up to so many elements are copied.
_LONGEST = 8


def with_constants_in_bodies(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the model in which subgraphs hold the small constants that they read; itself without subgraphs."""
    graphs = [*graphs_in(proto.graph)]
    if len(graphs) == 1:
        return proto
    names = Names(output for graph in graphs for node in graph.node for output in node.output)
    names.counts.update(value.name for graph in graphs for value in [*graph.input, *graph.initializer])
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    _copy_into_bodies(result.graph, {}, names)
    return result


def _copy_into_bodies(graph: onnx.GraphProto, captured: Mapping[str, TensorProto], names: Names) -> None:
    known = ChainMap(_constants(graph), captured)  # type: ignore[arg-type]
    copies: dict[str, onnx.NodeProto] = {}
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name not in captured:
                continue
            if name not in copies:
                copies[name] = onnx.helper.make_node(
                    "Constant", [], [names.fresh(name)], value=captured[name]
                )
            node.input[index] = copies[name].output[0]
        for body in bodies_of(node):
            _copy_into_bodies(body, known, names)
    set_nodes(graph, [*copies.values(), *graph.node])


def _constants(graph: onnx.GraphProto) -> dict[str, TensorProto]:
    """The integer constants of a graph and its few float ones, such as scales of a Resize; subgraphs apart."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name in ("value", "value_int", "value_ints"):
            value = onnx.helper.get_attribute_value(node.attribute[0])
            tensor = (
                value if isinstance(value, TensorProto) else onnx.numpy_helper.from_array(np.array(value))
            )
            found[node.output[0]] = tensor
    return {
        name: tensor
        for name, tensor in found.items()
        if (tensor.data_type in _INTEGERS and math.prod(tensor.dims) <= _MOST)
        or (tensor.data_type == TensorProto.FLOAT and _is_short(tensor))
    }


def _is_short(tensor: TensorProto) -> bool:
    return len(tensor.dims) == 1 and tensor.dims[0] <= _LONGEST
