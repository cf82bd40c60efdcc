"""Normalisations that TensorFlow spreads into a product and a sum, as one node again."""

import math
from collections.abc import Collection

import numpy as np
import onnx
from onnx import helper, numpy_helper

from onnxattr.graph.subgraphs import read_by

#: Of fewer channels ONNX Runtime's blocked layout makes nothing, and preprocessing may be meant.
_FEWEST_CHANNELS = 8
#: Powers of two: the variance and this are 1 in any arithmetic.
_EPSILON = 2.0**-17


def join_normalizations(model: onnx.ModelProto, kept: Collection[str]) -> None:
    """Write k x + d with constants for each channel, which no convolution could take in, as a BatchNormalization.

    ONNX Runtime computes it, and a Relu behind it, in one pass in the blocked layout of convolutions. Product and sum
    are two passes outside of it, with a change of layout on either side.

    Args:
        model: Changed in place; its values have types.
        kept: Values that must stay.
    """
    graph = model.graph
    dims = {value.name: _dims(value) for value in (*graph.input, *graph.value_info)}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in read_by(node):
            readers.setdefault(name, []).append(node)
    stay = {*kept, *(value.name for value in graph.output)}
    for node in list(graph.node):
        following = readers.get(node.output[0], []) if node.op_type == "Mul" else []
        if len(following) != 1 or following[0].op_type != "Add" or node.output[0] in stay:
            continue
        x, scale = _factor(node, constants, dims)
        product, bias = _factor(following[0], constants, {**dims, node.output[0]: dims.get(x, [])})
        if scale is not None and bias is not None and product == node.output[0]:
            _join(graph, node, following[0], x, scale, bias)


def _dims(value: onnx.ValueInfoProto) -> list[int]:
    """The sizes of a float32 value, -1 for unknown ones; none for others."""
    tensor = value.type.tensor_type
    if tensor.elem_type != onnx.TensorProto.FLOAT or not tensor.HasField("shape"):
        return []
    return [dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim]


def _factor(
    node: onnx.NodeProto, constants: dict[str, onnx.TensorProto], dims: dict[str, list[int]]
) -> tuple[str, np.ndarray | None]:
    """The operand of a node that is no constant, and its constant as a vector of one number for each channel."""
    for name, other in (node.input, reversed(node.input)):
        tensor, sizes = constants.get(other), dims.get(name, [])
        if tensor is None or name in constants or len(sizes) < 3 or sizes[1] < _FEWEST_CHANNELS:
            continue
        per_channel = [sizes[1], *[1] * (len(sizes) - 2)]
        if tensor.data_type == onnx.TensorProto.FLOAT and [*tensor.dims] in (per_channel, [1, *per_channel]):
            return name, numpy_helper.to_array(tensor).reshape(-1)
    return "", None


def _join(
    graph: onnx.GraphProto,
    product: onnx.NodeProto,
    total: onnx.NodeProto,
    x: str,
    scale: np.ndarray,
    bias: np.ndarray,
) -> None:
    if not all(map(math.isfinite, (*scale, *bias))):
        return
    zeros, ones = np.zeros_like(scale), np.full_like(scale, 1 - _EPSILON)
    names = [f"{total.output[0]}/{part}" for part in ("scale", "bias", "mean", "variance")]
    for name, array in zip(names, (scale, bias, zeros, ones), strict=True):
        graph.initializer.append(numpy_helper.from_array(array, name))
    joined = helper.make_node(
        "BatchNormalization", [x, *names], [*total.output], name=total.name, epsilon=_EPSILON
    )
    total.CopyFrom(joined)
    graph.node.remove(product)
    for index in reversed(range(len(graph.value_info))):
        if graph.value_info[index].name == product.output[0]:
            del graph.value_info[index]
