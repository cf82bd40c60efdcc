"""Pixels as floats: what a file takes as bytes has a gradient as the floats that they are cast to."""

from __future__ import annotations

import onnx_ir as ir

from onnxattr.graph.operator_kinds import SIZES
from onnxattr.loading.preprocessing.spec import read_preprocessing

_FLOAT = ir.DataType.FLOAT


def take_floats(model: ir.Model) -> bool:
    """Lets an input of bytes that a model's preprocessing casts to float32 take float32 itself, in place.

    Returns:
        Whether there was one.

    Raises:
        ModelError: If the metadata entry of the preprocessing is damaged.
    """
    spec = read_preprocessing(model.metadata_props)
    pixels = next((v for v in model.graph.inputs if spec is not None and v.name == spec.name), None)
    if spec is None or not spec.in_graph or pixels is None or pixels.dtype != ir.DataType.UINT8:
        return False
    readers = [node for node in pixels.consumers() if node.op_type not in SIZES]
    if not all(node.op_type == "Cast" and node.attributes.get_int("to") == _FLOAT.value for node in readers):
        return False
    pixels.type = ir.TensorType(_FLOAT)
    for node in readers:
        ir.convenience.replace_all_uses_with(node.outputs[0], pixels)
    return True
