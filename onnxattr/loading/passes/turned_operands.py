"""Transposed operands of products, kept apart where ONNX Runtime may end the process while it loads them.

ONNX Runtime 1.32 makes a Transpose, the Cast that alone reads it and the MatMul behind that one node, and crashes where
the Transpose takes the first axis to one of the last two places. It writes such a Cast itself in front of a MatMul of
float16 on the CPU. Models that put time first have such nodes where a product is of float16, or of another type than
what it multiplies.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.fusions import takes_first_axis_back
from onnxattr.graph.subgraphs import is_standard
from onnxattr.loading.passes.replay import change_each


def keep_operands_apart(graph: ir.Graph, opset: int) -> bool:
    """Gives such operands an axis more and takes it away again, in place, subgraphs included; whether any.

    ONNX Runtime copies nothing to add or to remove an axis. All values stay, for callers may ask for any.
    """
    return change_each(graph, opset, "operands", _is_product, _keep_apart)


def _keep_apart(op: OpBuilder, node: ir.Node) -> bool:
    for index, value in enumerate(node.inputs):
        if _is_turned(value):
            axis = op.constant(np.array([0]))
            node.replace_input_with(index, op.Squeeze(op.Unsqueeze(value, axis), axis))
    return True


def _is_product(node: ir.Node) -> bool:
    return is_standard(node, "MatMul") and any(map(_is_turned, node.inputs))


def _is_turned(value: ir.Value | None) -> bool:
    """Whether an operand is a Transpose that takes the first axis back, of half precision or cast behind it.

    A runtime drops an Identity between them.
    """
    cast = value is not None and value.dtype == ir.DataType.FLOAT16
    node = None if value is None else value.producer()
    while node is not None and is_standard(node, "Cast", "Identity") and node.inputs[0] is not None:
        cast |= node.op_type == "Cast"
        node = node.inputs[0].producer()
    if node is None or not cast or not is_standard(node, "Transpose"):
        return False
    return takes_first_axis_back(node.attributes.get_ints("perm", ()))
