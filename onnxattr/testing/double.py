"""A model of float32 taken to float64, for onnx's evaluator."""

from __future__ import annotations

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
    return double


def _graph_as_double(graph: onnx.GraphProto) -> None:
    single, wide = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE
    # Scales of a Resize are float32 whatever it resizes.
    scales = {
        name for node in graph.node if node.op_type in ("Resize", "Upsample") for name in node.input[1:3]
    }
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
    for node in graph.node:
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
        if node.op_type == "GroupNormalization":
            # Onnx's definition computes in this type; its evaluator has no other for the kin of the operator.
            kept = [attribute for attribute in node.attribute if attribute.name != "stash_type"]
            del node.attribute[:]
            node.attribute.extend([*kept, onnx.helper.make_attribute("stash_type", wide)])
