"""Products whose result is known."""

from __future__ import annotations

import onnx_ir as ir

from onnxattr.autodiff.rewrites.patterns import filled_with
from onnxattr.autodiff.rewrites.registry import Backward, rewrite
from onnxattr.graph.values import dims_of, same_dims


@rewrite(
    "Mul",
    why="A product with ones of its shape is its other factor.",
    gains="LSTM of 100 steps: 14 of 87 nodes, 2 % of the CPU time of a gradient",
)
def ones(backward: Backward, node: ir.Node) -> ir.Value | None:
    """a * ones -> a."""
    for factor, other in (node.inputs, node.inputs[::-1]):
        if factor is not None and other is not None and filled_with(factor, 1) and same_dims(factor, other):
            return other
    return None


@rewrite(
    "MatMul",
    why="A product over an axis of length 1 is no sum: runtimes multiply elements faster than small matrices.",
    gains="GridSample, linear, 4 x 16 x 48 x 48: 25 % of the CPU time of a gradient",
)
def outer(backward: Backward, node: ir.Node) -> ir.Value | None:
    """(..., n, 1) @ (..., 1, m) -> (..., n, 1) * (..., 1, m)."""
    left, right = node.inputs
    columns, rows = dims_of(left), dims_of(right)
    if left is None or right is None or not columns or not rows or min(len(columns), len(rows)) < 2:
        return None
    return backward.op.append("Mul", [left, right])[0] if columns[-1] == rows[-2] == 1 else None
