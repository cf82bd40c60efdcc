"""Rules of the operators on integers that dynamic quantisation writes.

The integers stand for real numbers in units of their scales, so a product is that of x - z as real numbers. Rounding
counts as the identity, see ``quantization``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx_ir as ir

from onnxattr.autodiff.derived import Definition, derived, pulled_back
from onnxattr.autodiff.registry import Cotangent, NodeView, vjp
from onnxattr.autodiff.rules.quantization import as_reals
from onnxattr.errors import UnsupportedOpError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of


@vjp("MatMulInteger")
def matmul_integer(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = (a - a0) (b - b0);  abar = ybar (b - b0)^T, bbar = (a - a0)^T ybar."""
    a_zero, b_zero = node.inputs[2:]
    if a_zero is not None and node.rank(a_zero) == 1 and dims_of(a_zero) != [1]:
        a_zero = op.Unsqueeze(a_zero, [-1])  # one for each row
    return _in_reals(op, node, ct, (a_zero, b_zero), lambda op, node: op.MatMul(*node.inputs))


@vjp("ConvInteger")
def conv_integer(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = (x - x0) * (w - w0);  xbar and wbar are those of the convolution of x - x0 with w - w0."""
    x_zero, w_zero = node.inputs[2:]
    if w_zero is not None and node.rank(w_zero) == 1:
        w_zero = op.reshape(w_zero, [-1] + [1] * (node.rank(node.x) - 1))  # one for each channel

    def convolved(op: OpBuilder, node: NodeView) -> ir.Value:
        found: ir.Value = op.node("Conv", node.inputs, dict(node.attributes.written))
        return found

    return _in_reals(op, node, ct, (x_zero, w_zero), convolved)


@derived("com.microsoft::DynamicQuantizeLSTM")
def lstm_of_reals(op: OpBuilder, node: NodeView) -> Sequence[ir.Value]:
    """The LSTM of the real weights, which are transposed and have scales for each direction, or for each unit too.

    Its sequences and states, which the kernel rounds to 8 bits at each step, stay real numbers.
    """
    x, w, r, *rest = [*node.inputs, *[None] * 12][:12]
    weights = [
        _weights_of_lstm(op, q, scale, zero)
        for q, scale, zero in ((w, rest[5], rest[6]), (r, rest[7], rest[8]))
    ]
    found: Sequence[ir.Value] = op.append(
        "LSTM", [x, *weights, *rest[:5]], dict(node.attributes.written), outputs=3
    )
    return found


def _weights_of_lstm(
    op: OpBuilder, q: ir.Value | None, scale: ir.Value | None, zero: ir.Value | None
) -> ir.Value:
    if q is None or scale is None:
        raise UnsupportedOpError("DynamicQuantizeLSTM without weights, or without a scale of them.")
    tall = [0, 1, -1] if len(dims_of(scale) or []) == 2 else [-1, 1, 1]
    scale, zero = op.Reshape(scale, tall), None if zero is None else op.Reshape(zero, tall)
    weights: ir.Value = op.Transpose(as_reals(op, q, zero, scale.dtype, scale), perm=[0, 2, 1])
    return weights


def _in_reals(
    op: OpBuilder,
    node: NodeView,
    ct: ir.Value,
    zeros: Sequence[ir.Value | None],
    define: Definition,
) -> Sequence[Cotangent]:
    """The cotangents of a product of integers, by the definition of it as one of real numbers."""
    with op.primal():
        reals = [as_reals(op, x, zero, ct.dtype) for x, zero in zip(node.required(2), zeros, strict=True)]
    return (*pulled_back(op, replace(node, inputs=tuple(reals)), define), None, None)
