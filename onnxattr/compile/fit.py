"""Nodes that fail where what a caller gives beside the samples has other sizes than they turn out to have."""

from __future__ import annotations

import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder

#: The name of the nodes that fail where a baseline has other sizes than what it is a baseline of.
BASELINE_FIT = "onnxattr/baseline_fit"


def broadcast_to(op: OpBuilder, value: ir.Value, sizes: ir.Value, name: str) -> ir.Value:
    """A value broadcast to exactly some sizes; Expand alone gives more where the value has more.

    Args:
        op: Builder on the graph.
        value: What is broadcast.
        sizes: The sizes, (rank,) int64.
        name: What the nodes are called, which the runtime's error then shows.
    """
    expanded = op.Expand(value, sizes)
    # No runtime makes an axis of -2.
    fitted: ir.Value = op.Reshape(
        expanded, op.Where(op.Equal(op.Shape(expanded), sizes), sizes, -2), allowzero=1
    )
    for result in (expanded, fitted):
        if (node := result.producer()) is not None:
            node.name = op.unique_name(name, exact=True)
    return fitted
