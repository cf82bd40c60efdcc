"""A model of float32 taken to float64, for onnx's evaluator."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
import onnx

from onnxattr.graph.subgraphs import bodies_of
from onnxattr.loading.passes.imports import spell_in_short


def as_double(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model with every float32 tensor, type and cast taken to float64."""
    double = onnx.ModelProto()
    double.CopyFrom(proto)
    spell_in_short(double)
    _graph_as_double(double.graph)
    for function in double.functions:
        _nodes_as_double(function.node, _scales(function.node))
    return double


def _scales(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    """Scales of a Resize, which are float32 whatever it resizes."""
    return {name for node in nodes if node.op_type in ("Resize", "Upsample") for name in node.input[1:3]}


def _graph_as_double(graph: onnx.GraphProto) -> None:
    single, wide = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE
    scales = _scales(graph.node)
    for value in [*graph.input, *graph.output, *graph.value_info]:
        if value.name in scales:
            continue
        for tensor_type in (value.type.tensor_type, value.type.sequence_type.elem_type.tensor_type):
            if tensor_type.elem_type == single:
                tensor_type.elem_type = wide
    for tensor in graph.initializer:
        if tensor.data_type == single and tensor.name not in scales:
            tensor.CopyFrom(
                onnx.numpy_helper.from_array(
                    onnx.numpy_helper.to_array(tensor).astype(np.float64), tensor.name
                )
            )
    _nodes_as_double(graph.node, scales)


def _nodes_as_double(nodes: Iterable[onnx.NodeProto], scales: Collection[str]) -> None:
    single, wide = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE
    for node in nodes:
        if node.op_type == "ConstantOfShape" and not node.attribute:
            node.attribute.append(
                onnx.helper.make_attribute("value", onnx.helper.make_tensor("", single, [1], [0]))
            )
        if node.op_type == "Constant" and node.output[0] in scales:
            continue
        for body in bodies_of(node):
            _graph_as_double(body)
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == single:
                wider = onnx.numpy_helper.to_array(attribute.t).astype(np.float64)
                attribute.t.CopyFrom(onnx.numpy_helper.from_array(wider, attribute.t.name))
            elif attribute.name in ("to", "dtype") and attribute.i == single:
                attribute.i = wide
            elif node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
                numbers = attribute.f if attribute.name == "value_float" else attribute.floats
                tensor = onnx.numpy_helper.from_array(np.asarray(numbers, np.float64))
                attribute.CopyFrom(onnx.helper.make_attribute("value", tensor))
        if node.op_type == "GroupNormalization":
            # Onnx's definition computes in this type; its evaluator has no other for the kin of the operator.
            kept = [attribute for attribute in node.attribute if attribute.name != "stash_type"]
            del node.attribute[:]
            node.attribute.extend([*kept, onnx.helper.make_attribute("stash_type", wide)])
