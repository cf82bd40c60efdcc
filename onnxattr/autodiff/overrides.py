"""Rules that replace the standard backward pass of ReLU-like activations, and the tables that hold them.

``ReluLike`` is the type of the spans that stand for ReLU-like groups of nodes; their input is the pre-activation.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.autodiff.registry import Cotangent, Span
from onnxattr.autodiff.rules.activation import above
from onnxattr.autodiff.standard import STANDARD
from onnxattr.graph.builder import OpBuilder

#: Operator name under which a table holds its rule for ReLU-like spans.
RELU_LIKE = "ReluLike"


def deconvnet_relu(op: OpBuilder, node: Span, ct: ir.Value) -> Sequence[Cotangent]:
    """y = relu(x);  xbar = relu(ybar), whatever x was (Zeiler and Fergus, 2014, arXiv 1311.2901)."""
    return (op.Relu(ct),)


def guided_relu(op: OpBuilder, node: Span, ct: ir.Value) -> Sequence[Cotangent]:
    """y = relu(x);  xbar = relu(ybar) where x > 0, else 0 (Springenberg et al., 2015, arXiv 1412.6806)."""
    return (above(op, node.x, 0.0, op.Relu(ct)),)


DECONVNET = STANDARD | {RELU_LIKE: deconvnet_relu}
GUIDED = STANDARD | {RELU_LIKE: guided_relu}
