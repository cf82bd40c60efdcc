"""A model as float64 can run it: functions written out, half precision widened, quantisation straight through."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, inliner, numpy_helper

from fuzz.draft import Array
from onnxattr.graph.subgraphs import graphs_in
from onnxattr.testing import as_double

_HALF, _SINGLE = TensorProto.FLOAT16, TensorProto.FLOAT
#: What rounding makes of a number, by its type.
ULP = {np.dtype(np.float16): 2.0**-10, np.dtype(np.float32): 2.0**-23, np.dtype(np.float64): 2.0**-52}


def written_out(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without functions of its own, and without weights among its inputs."""
    if model.functions:
        model = inliner.inline_local_functions(model)
    held = {tensor.name for tensor in model.graph.initializer}
    if held.isdisjoint(value.name for value in model.graph.input):
        return model
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    inputs = [value for value in model.graph.input if value.name not in held]
    del copy.graph.input[:]
    copy.graph.input.extend(inputs)
    return copy


def exchanged(model: onnx.ModelProto, first: str, second: str) -> onnx.ModelProto:
    """The model with the names of two inputs exchanged."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    names = {first: second, second: first}
    for graph in graphs_in(copy.graph):
        for value in [*graph.input, *graph.output, *graph.value_info]:
            value.name = names.get(value.name, value.name)
        for node in graph.node:
            node.input[:] = [names.get(name, name) for name in node.input]
    return copy


def is_quantised(model: onnx.ModelProto) -> bool:
    """Whether a value that depends on the input is quantised."""
    return any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def has_half(model: onnx.ModelProto) -> bool:
    """Whether values are cast to half precision."""
    return any(a.name == "to" and a.i == _HALF for node in model.graph.node for a in node.attribute)


def in_float64(
    model: onnx.ModelProto, values: dict[str, Array] | None = None, *, moving: bool = False
) -> onnx.ModelProto:
    """A model in float64, its half precision too.

    Args:
        model: The model.
        values: The inner values at a point, if the model is quantised: what DequantizeLinear gives is held there.
        moving: Whether what it gives moves from there as its operand does, where that lies inside the range.
    """
    wide = onnx.ModelProto.FromString(model.SerializeToString())
    if values:
        _hold(wide, values, moving)
    for graph in graphs_in(wide.graph):
        _widen(graph)
    return as_double(wide)


def _widen(graph: onnx.GraphProto) -> None:
    for value in [*graph.input, *graph.output, *graph.value_info]:
        if value.type.tensor_type.elem_type == _HALF:
            value.type.tensor_type.elem_type = _SINGLE
    tensors = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                tensors.append(attribute.t)
            elif attribute.name in ("to", "dtype") and attribute.i == _HALF:
                attribute.i = _SINGLE
    for tensor in tensors:
        if tensor.data_type == _HALF:
            array = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _hold(model: onnx.ModelProto, values: dict[str, Array], moving: bool) -> None:
    """Puts what DequantizeLinear gave in its place, and what moves with its operand."""
    graph, nodes = model.graph, []
    quantised = {node.output[0]: node for node in graph.node if node.op_type == "QuantizeLinear"}
    for node in graph.node:
        if node.op_type != "DequantizeLinear":
            nodes += [] if node.op_type == "QuantizeLinear" else [node]
            continue
        name, source = node.output[0], quantised.get(node.input[0])
        if not moving or source is None:
            graph.initializer.append(numpy_helper.from_array(values[name], name))
            continue
        operand = source.input[0]
        here = values[operand]
        parts = {"here": values[name], "before": here, "inside": _inside(graph, source, here)}
        for part, array in parts.items():
            graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), f"{name}/{part}"))
        nodes += [
            helper.make_node("Sub", [operand, f"{name}/before"], [f"{name}/change"]),
            helper.make_node("Mul", [f"{name}/change", f"{name}/inside"], [f"{name}/passed"]),
            helper.make_node("Add", [f"{name}/here", f"{name}/passed"], [name]),
        ]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _inside(graph: onnx.GraphProto, node: onnx.NodeProto, x: Array) -> Array:
    """Where an operand of QuantizeLinear lies inside the range of its integers."""
    scale, zero = (_constant(graph, name) for name in node.input[1:3])
    ends = np.iinfo(zero.dtype)
    low, high = (scale * np.float32(end - float(zero)) for end in (ends.min, ends.max))
    return (x >= low) & (x <= high)


def _constant(graph: onnx.GraphProto, name: str) -> Array:
    for tensor in graph.initializer:
        if tensor.name == name:
            return numpy_helper.to_array(tensor)
    for node in graph.node:
        if name in node.output:
            if node.op_type == "Identity":
                return _constant(graph, node.input[0])
            return numpy_helper.to_array(node.attribute[0].t)
    raise KeyError(name)
