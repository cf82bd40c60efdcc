"""Shapes and small results of single nodes, as numbers: see row_walk."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from onnxattr.graph.operator_kinds import DRAWING
from onnxattr.graph.schemas import run_node
from onnxattr.graph.values import dims_of
from onnxattr.loading.rows.operators import ELEMENTWISE
from onnxattr.loading.rows.sets import Seen, Shape

#: Values of up to this many elements are followed as numbers.
LARGEST = 4096
#: Operators whose results have as many elements as their operands say by what they hold.
_DATA_DECIDES = ("NonZero", "Compress", "Unique")
#: Operators defined by others, whose inference says nothing: the first output has the shape of the first operand.
_LIKE_OPERAND = ("GroupNormalization", "MeanVarianceNormalization", "RMSNormalization")
#: The version of ai.onnx.ml that the inference of its operators is taken from.
_ML_VERSION = 3


def shapes_of(node: ir.Node, operands: Sequence[Seen | None], opset: int) -> list[Shape | None]:
    """The shapes of a node's outputs."""
    given = [operand.shape for operand in operands if operand is not None]
    if node.op_type in ELEMENTWISE and node.domain in ("", "ai.onnx"):
        if any(shape is None for shape in given):
            return [None] * len(node.outputs)
        return [np.broadcast_shapes(*given)] * len(node.outputs)  # type: ignore[arg-type]
    types, data = {}, {}
    for value, operand in zip(node.inputs, operands, strict=True):
        if value is None or operand is None:
            continue
        dtype = value.dtype if value.dtype is not None else ir.DataType.FLOAT
        types[str(value.name)] = onnx.helper.make_tensor_type_proto(dtype.value, operand.shape)
        if operand.known is not None and operand.known.dtype.kind in "iubf":
            data[str(value.name)] = onnx.numpy_helper.from_array(operand.known)
    version = opset if node.domain in ("", "ai.onnx") else _ML_VERSION
    schema = onnx.defs.get_schema(node.op_type, version, node.domain)
    imports = [onnx.helper.make_opsetid(node.domain, version)]
    proto = ir.serde.serialize_node(node)
    found = onnx.shape_inference.infer_node_outputs(schema, proto, types, data, opset_imports=imports)
    shapes = [_concrete(found.get(str(value.name))) for value in node.outputs]
    if node.op_type in _LIKE_OPERAND and shapes[0] is None:
        shapes[0] = given[0]
    if node.domain == "ai.onnx.ml":
        shapes = [
            _of_table(value, shape, given[0]) for value, shape in zip(node.outputs, shapes, strict=True)
        ]
    return shapes


def _of_table(value: ir.Value, shape: Shape | None, table: Shape | None) -> Shape | None:
    """The shape of a result of ai.onnx.ml, whose first axis is that of its operand."""
    dims = (dims_of(value) or [None])[1:]
    if shape is not None or not table or not dims_of(value) or not all(isinstance(dim, int) for dim in dims):
        return shape
    return (table[0], *(dim for dim in dims if isinstance(dim, int)))


def evaluated(
    node: ir.Node, operands: Sequence[Seen | None], shapes: Sequence[Shape | None], opset: int
) -> list[np.ndarray] | None:
    """The results of a node whose operands are known, if they are small."""
    given = [operand for operand in operands if operand is not None]
    if not given or any(operand.known is None for operand in given) or node.op_type in DRAWING:
        return None
    small = all(shape is not None and math.prod(shape) <= LARGEST for shape in shapes)
    if not small and node.op_type not in _DATA_DECIDES:
        return None
    feeds = {
        str(value.name): operand.known
        for value, operand in zip(node.inputs, operands, strict=True)
        if value is not None and operand is not None and operand.known is not None
    }
    try:
        arrays = [np.asarray(result) for result in run_node(node, opset, feeds)]
    except Exception:
        return None
    return arrays if all(array.size <= LARGEST for array in arrays) else None


def sizes_of(node: ir.Node, shape: Shape) -> np.ndarray:
    """What a Shape or Size gives."""
    if node.op_type == "Size":
        return np.array(math.prod(shape), np.int64)
    end = node.attributes.get_int("end", len(shape))
    return np.array(shape[node.attributes.get_int("start", 0) : end], np.int64)


def _concrete(proto: Any) -> Shape | None:
    """A shape of numbers; None if something in it is unknown."""
    if proto is None or not proto.HasField("tensor_type") or not proto.tensor_type.HasField("shape"):
        return None
    dims = proto.tensor_type.shape.dim
    if any(dim.WhichOneof("value") != "dim_value" for dim in dims):
        return None
    return tuple(dim.dim_value for dim in dims)
