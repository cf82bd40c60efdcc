"""A case in float64, or in float32 where no more can be had: differences must not be lost in rounding."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, numpy_helper

from node_cases.cases import FLOATS

#: Attributes that name an element type.
_TYPE_ATTRIBUTES = frozenset({("Cast", "to"), ("SequenceEmpty", "dtype"), ("EyeLike", "dtype")})
#: Attributes that ask for a lower precision inside the operator.
_ROUNDING_ATTRIBUTES = frozenset({"softmax_precision", "qk_matmul_output_precision"})


def widen(proto: onnx.ModelProto, kept: Container[str] = (), to: int = TensorProto.DOUBLE) -> onnx.ModelProto:
    """A copy with every float tensor, type and cast taken to one precision.

    Args:
        proto: The model.
        kept: Names of inputs that keep their type.
        to: The float type, float64 or float32.

    Returns:
        The copy; its outputs have the types that inference gives them.
    """
    wide = onnx.ModelProto()
    wide.CopyFrom(proto)
    _widen_graph(wide.graph, kept, to)
    typed = onnx.ModelProto()
    typed.CopyFrom(wide)
    for value in typed.graph.output:
        value.ClearField("type")
    inferred = onnx.shape_inference.infer_shapes(typed)
    for value, found in zip(wide.graph.output, inferred.graph.output, strict=True):
        if found.type.tensor_type.elem_type:
            value.type.tensor_type.elem_type = found.type.tensor_type.elem_type
    return wide


def widen_array(array: np.ndarray, to: int = TensorProto.DOUBLE) -> np.ndarray:
    """A float array in one precision, any other as it is."""
    return array.astype(onnx.helper.tensor_dtype_to_np_dtype(to)) if is_float(array) else array


def is_float(array: np.ndarray) -> bool:
    """Whether an array is of a float type with arithmetic."""
    return array.dtype.kind == "f" or array.dtype.name == "bfloat16"


def _widen_graph(graph: onnx.GraphProto, kept: Container[str], to: int) -> None:
    del graph.value_info[:]
    for value in [*graph.input, *graph.output]:
        if value.name not in kept:
            _widen_type(value.type, to)
    for tensor in graph.initializer:
        _widen_tensor(tensor, to)
    for node in graph.node:
        for attribute in list(node.attribute):
            if attribute.name in _ROUNDING_ATTRIBUTES:
                node.attribute.remove(attribute)
            else:
                _widen_attribute(node, attribute, to)


def _widen_attribute(node: onnx.NodeProto, attribute: AttributeProto, to: int) -> None:
    if attribute.type == AttributeProto.GRAPH:
        _widen_graph(attribute.g, (), to)
    elif attribute.type == AttributeProto.TENSOR:
        _widen_tensor(attribute.t, to)
    elif attribute.type == AttributeProto.TYPE_PROTO:
        _widen_type(attribute.tp, to)
    elif (node.op_type, attribute.name) in _TYPE_ATTRIBUTES and attribute.i in FLOATS:
        attribute.i = to
    elif node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
        values: Any = attribute.f if attribute.name == "value_float" else list(attribute.floats)
        array = widen_array(np.asarray(values, np.float32), to)
        attribute.CopyFrom(onnx.helper.make_attribute("value", numpy_helper.from_array(array)))


def _widen_type(kind: onnx.TypeProto, to: int) -> None:
    if kind.HasField("sequence_type"):
        _widen_type(kind.sequence_type.elem_type, to)
    elif kind.HasField("optional_type"):
        _widen_type(kind.optional_type.elem_type, to)
    elif kind.tensor_type.elem_type in FLOATS:
        kind.tensor_type.elem_type = to


def _widen_tensor(tensor: onnx.TensorProto, to: int) -> None:
    if tensor.data_type in FLOATS:
        array = widen_array(numpy_helper.to_array(tensor), to)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
