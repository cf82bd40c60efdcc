"""Integers that stand for real numbers, as quantisation leaves them, in operators that move or multiply them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx
import onnx_ir as ir

from onnxattr.autodiff.node import NodeView, Span, op_name
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.intervals import FLOATS

#: Operators whose rules write values of the operands' type beside the cotangent. Others compute with it alone.
_TYPED = frozenset(
    """Abs Compress Div Gather GatherElements GatherND MatMul Mul Pad ReduceMax ReduceMin Resize ScatterElements
    ScatterND Split TopK""".split()
)


def in_reals(op: OpBuilder, node: Span, cts: Sequence[ir.Value | None]) -> Span:
    """The node as its rule sees it, with integers that have cotangents as real numbers of the cotangents' type."""
    pairs = [(value, ct) for value, ct in zip(node.outputs, cts, strict=True) if ct is not None]
    typed = isinstance(node, NodeView) and op_name(node) in _TYPED
    if not typed or not pairs or pairs[0][0].dtype in (None, *FLOATS):
        return node
    assert isinstance(node, NodeView)
    dtype = pairs[0][1].dtype
    schema = onnx.defs.get_schema(node.op_type, node.opset, "")
    formals = [schema.inputs[min(place, len(schema.inputs) - 1)] for place in range(len(node.inputs))]
    with op.primal():
        inputs = [
            op.cast(value, dtype)
            if value is not None and formal.type_str == schema.outputs[0].type_str
            else value
            for value, formal in zip(node.inputs, formals, strict=True)
        ]
        outputs = [
            op.cast(value, dtype) if value.dtype == pairs[0][0].dtype else value for value in node.outputs
        ]
    return replace(node, inputs=tuple(inputs), outputs=tuple(outputs))
