"""Rules of the products of integers that dynamic quantisation writes.

The integers stand for real numbers in units of their scales, so a product is that of x - z as real numbers. Rounding
counts as the identity, see ``quantization``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from onnxattr.autodiff.engine import pullback
from onnxattr.autodiff.registry import STANDARD, Cotangent, NodeView, vjp
from onnxattr.autodiff.rules.quantization import as_reals
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.subgraphs import nodes_behind
from onnxattr.graph.values import dims_of


@vjp("MatMulInteger")
def matmul_integer(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = (a - a0) (b - b0);  abar = ybar (b - b0)^T, bbar = (a - a0)^T ybar."""
    a_zero, b_zero = node.inputs[2:]
    if a_zero is not None and node.rank(a_zero) == 1 and dims_of(a_zero) != [1]:
        a_zero = op.Unsqueeze(a_zero, [-1])  # one for each row
    return _in_reals(op, node, ct, (a_zero, b_zero), op.MatMul)


@vjp("ConvInteger")
def conv_integer(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = (x - x0) * (w - w0);  xbar and wbar are those of the convolution of x - x0 with w - w0."""
    x_zero, w_zero = node.inputs[2:]
    if w_zero is not None and node.rank(w_zero) == 1:
        w_zero = op.reshape(w_zero, [-1] + [1] * (node.rank(node.x) - 1))  # one for each channel

    def convolved(x: ir.Value, w: ir.Value) -> ir.Value:
        found: ir.Value = op.node("Conv", [x, w], dict(node.attributes.written))
        return found

    return _in_reals(op, node, ct, (x_zero, w_zero), convolved)


def _in_reals(
    op: OpBuilder,
    node: NodeView,
    ct: ir.Value,
    zeros: Sequence[ir.Value | None],
    product: Callable[[ir.Value, ir.Value], ir.Value],
) -> Sequence[Cotangent]:
    """The cotangents of a product of integers, by that of real numbers, of which those nodes stay that are read."""
    with op.primal():
        factors = [as_reals(op, x, zero, ct.dtype) for x, zero in zip(node.required(2), zeros, strict=True)]
        last = op.graph[-1]
        y = product(*factors)
    y.shape = node.y.shape
    nodes = list(nodes_behind(op.graph, last))[::-1]
    return (*pullback(op, {y: ct}, factors, STANDARD, graph=nodes), None, None)
