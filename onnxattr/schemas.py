"""What ONNX's schemas say of a node: its operands, the types of its outputs, its result on small constants."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from onnxattr.errors import RuleError
from onnxattr.subgraphs import subgraphs_of
from onnxattr.values import dims_of

#: Integer constants up to this many elements take part in folding: shapes, pads, axes, window positions.
_FOLD_LIMIT = 4096
_INTEGERS = (ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL)


def schema_of(op_type: str, opset: int, arity: int, attributes: dict[str, Any]) -> onnx.defs.OpSchema:
    """The schema of an ai.onnx operator.

    Raises:
        RuleError: If the operator, an attribute or the number of operands does not exist at the opset.
    """
    try:
        schema = onnx.defs.get_schema(op_type, opset, "")
    except onnx.defs.SchemaError as error:
        raise RuleError(f"{op_type} does not exist in ai.onnx opset {opset}.") from error
    unknown = sorted(set(attributes) - set(schema.attributes))
    if unknown:
        raise RuleError(
            f"{op_type} has no attribute {unknown} in opset {opset}; it has {sorted(schema.attributes)}."
        )
    if not schema.min_input <= arity <= schema.max_input:
        raise RuleError(
            f"{op_type} takes {schema.min_input} to {schema.max_input} inputs, {arity} were given."
        )
    return schema


def folded(node: ir.Node, opset: int) -> np.ndarray | None:
    """The output of a node whose inputs are small integer constants; None for other nodes."""
    if not node.inputs or subgraphs_of(node):
        return None
    arrays = {}
    for value in node.inputs:
        if value is None:
            continue
        tensor = value.const_value
        if tensor is None or tensor.size > _FOLD_LIMIT or tensor.dtype not in _INTEGERS:
            return None
        arrays[str(value.name)] = tensor.numpy()
    proto = ir.serde.serialize_node(node)
    result: Any
    (result,) = ReferenceEvaluator(proto, opsets={"": opset}).run(None, arrays)
    if result.size > _FOLD_LIMIT or ir.DataType.from_numpy(result.dtype) not in _INTEGERS:
        return None
    return result


def infer(node: ir.Node, opset: int) -> None:
    """Types the outputs of a node of ai.onnx by ONNX's inference, as far as its inputs are typed.

    Raises:
        RuleError: If the node cannot take such inputs.
    """
    schema = onnx.defs.get_schema(node.op_type, opset, "")
    types, data = {}, {}
    for value in node.inputs:
        if value is None:
            continue
        if value.dtype is None:
            return
        types[str(value.name)] = onnx.helper.make_tensor_type_proto(value.dtype.value, dims_of(value))
        tensor = value.const_value
        if tensor is not None and tensor.size <= _FOLD_LIMIT and tensor.dtype in _INTEGERS:
            data[str(value.name)] = ir.serde.serialize_tensor(tensor)
    if subgraphs_of(node):
        return
    try:
        inferred = onnx.shape_inference.infer_node_outputs(
            schema,
            ir.serde.serialize_node(node),
            types,
            data,
            opset_imports=[onnx.helper.make_opsetid("", opset)],
        )
    except onnx.shape_inference.InferenceError as error:
        shapes = {value.name: dims_of(value) for value in node.inputs if value is not None}
        raise RuleError(f"{node.op_type} cannot take inputs of shapes {shapes}: {error}") from error
    for value in node.outputs:
        if value.name in inferred:
            proto = inferred[value.name]
            value.dtype = ir.DataType(proto.tensor_type.elem_type)
            value.shape = ir.serde.deserialize_type_proto_for_shape(proto)
