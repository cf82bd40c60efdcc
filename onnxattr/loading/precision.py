"""Models of half precision, taken to float32 before they are differentiated."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxattr.errors import ParameterError
from onnxattr.graph.intervals import HALVES
from onnxattr.graph.subgraphs import nodes_of
from onnxattr.graph.values import values_of

PRECISIONS = ("model", "float32")
#: The attributes that name the type of an operator's output.
_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype")


def set_precision(model: ir.Model, precision: str) -> None:
    """Takes the float16 and bfloat16 parts of a loaded model to float32, or leaves it as it is.

    Weights keep their values. Inputs and outputs of half precision become float32 as well.

    Args:
        model: The model; changed in place.
        precision: "model": forward pass and gradients in the model's own dtypes. "float32": both in float32, for
            gradients that half precision rounds to nothing or to infinity, and for runtimes without the kernels.

    Raises:
        ParameterError: If ``precision`` is neither.
    """
    if precision not in PRECISIONS:
        raise ParameterError(f"precision={precision!r}: expected one of {PRECISIONS}.")
    if precision == "model":
        return
    for value in values_of(model.graph):
        tensor = value.const_value
        if value.dtype in HALVES:
            value.type = ir.TensorType(ir.DataType.FLOAT)
        if tensor is not None and tensor.dtype in HALVES:
            value.const_value = _widened(tensor)
    for node in nodes_of(model.graph):
        for attribute in list(node.attributes.values()):
            if attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype in HALVES:
                node.attributes[attribute.name] = ir.AttrTensor(
                    attribute.name, _widened(attribute.as_tensor())
                )
            elif attribute.name in _TYPE_ATTRIBUTES and attribute.as_int() in HALVES:
                node.attributes[attribute.name] = ir.AttrInt64(attribute.name, ir.DataType.FLOAT.value)


def _widened(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.tensor(tensor.numpy().astype(np.float32), name=tensor.name)
