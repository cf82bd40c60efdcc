"""Casts between a Transpose and a product, kept apart from both: ONNX Runtime may end the process while it loads them.

ONNX Runtime 1.32 makes a Transpose, the Cast that alone reads it and the MatMul behind that one node, and crashes where
the Transpose takes the first axis to one of the last two places. Models that put time first have that where a product
is of another precision than what it multiplies.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.fusions import takes_first_axis_back
from onnxattr.graph.subgraphs import is_standard
from onnxattr.loading.passes.replay import change_each


def cast_apart(graph: ir.Graph, opset: int) -> bool:
    """Gives what such Casts read an axis more, and takes it away again behind them, subgraphs included; whether any.

    ONNX Runtime copies nothing to add or to remove an axis. Values keep their names, for callers may ask for any.
    """
    return change_each(graph, opset, "casts", _is_between, _cast_apart)


def _cast_apart(op: OpBuilder, node: ir.Node) -> bool:
    axis = op.constant(np.array([0]))
    result = op.Cast(op.Unsqueeze(node.inputs[0], axis), to=node.attributes.get_int("to"))
    node.op_type = "Squeeze"
    node.attributes.clear()
    node.resize_inputs(2)
    node.replace_input_with(0, result)
    node.replace_input_with(1, axis)
    return True


def _is_between(node: ir.Node) -> bool:
    return is_standard(node, "Cast") and _is_multiplied(node.outputs[0]) and _is_turned(node)


def _is_multiplied(value: ir.Value) -> bool:
    """Whether a product reads a value; an Identity between is none to a runtime."""
    return any(
        is_standard(use.node, "MatMul")
        or (is_standard(use.node, "Identity") and _is_multiplied(use.node.outputs[0]))
        for use in value.uses()
    )


def _is_turned(cast: ir.Node) -> bool:
    """Whether a Cast reads a Transpose that takes the first axis to one of the last two places."""
    value = cast.inputs[0]
    node = None if value is None else value.producer()
    while node is not None and is_standard(node, "Identity") and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    if node is None or not is_standard(node, "Transpose"):
        return False
    return takes_first_axis_back(node.attributes.get_ints("perm", ()))
