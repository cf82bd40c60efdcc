"""Operators that ONNX Runtime knew in opsets below 10 before ONNX did, or without it, written in those of ONNX."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.registry import attributes_of
from onnxattr.graph.builder import OpBuilder
from onnxattr.loading.passes.replay import Results

#: Domain that hides operators from onnx's converter which ONNX Runtime knew before ONNX did.
HIDDEN = "onnxattr.hidden"
#: What hidden operators are called now.
SINCE = {"DynamicSlice": "Slice"}
#: What stands for an operator: its outputs, or None where the node stays, maybe with other attributes.
Write = Callable[[OpBuilder, ir.Node], Results]


def _hidden(op: OpBuilder, node: ir.Node) -> None:
    node.domain = HIDDEN


def _affine(op: OpBuilder, node: ir.Node) -> Results:
    """y = alpha * x + beta."""
    given = attributes_of(node)
    return [op.Add(op.Mul(node.inputs[0], given.get("alpha", 1.0)), given.get("beta", 0.0))]


def _image_scaler(op: OpBuilder, node: ir.Node) -> Results:
    """y = scale * x + bias, one for each channel."""
    given = attributes_of(node)
    bias = np.asarray(given.get("bias", [0.0]), np.float32)[:, None, None]
    return [op.Add(op.Mul(node.inputs[0], given.get("scale", 1.0)), bias)]


def _crop(op: OpBuilder, node: ir.Node) -> Results:
    """Images without a border: left, top, right, bottom; ``scale`` is the height and width of what is kept."""
    given = attributes_of(node)
    left, top, right, bottom = given.get("border", [0] * 4)
    ends = [-bottom or 2**31 - 1, -right or 2**31 - 1]
    if given.get("scale"):
        ends = [top + given["scale"][0], left + given["scale"][1]]
    return [op.node("Slice", [node.inputs[0]], {"axes": [2, 3], "starts": [top, left], "ends": ends})]


def _standardised(op: OpBuilder, node: ir.Node) -> Results:
    """y = (x - mean) / deviation, of each channel in all samples or of all elements; ONNX has it since opset 9."""
    given = attributes_of(node)
    if op.opset >= 9:
        return None
    axes = {"axes": [0, 1, 2, 3] if given.get("across_channels", 0) else [0, 2, 3]}
    x = node.inputs[0]
    centred = op.Sub(x, op.node("ReduceMean", [x], axes))
    if not given.get("normalize_variance", 1):
        return [centred]
    variance = op.node("ReduceMean", [op.Mul(centred, centred)], axes)
    return [op.Div(centred, op.Sqrt(op.Add(variance, 1e-9)))]


def _scaled(op_type: str) -> Write:
    """y = alpha * f(beta * x)."""

    def write(op: OpBuilder, node: ir.Node) -> Results:
        given = attributes_of(node)
        inner = op.node(op_type, [op.Mul(node.inputs[0], given.get("beta", 1.0))])
        return [op.Mul(inner, given.get("alpha", 1.0))]

    return write


EXPERIMENTAL: dict[str, Write] = {
    "ThresholdedRelu": _hidden,
    "Affine": _affine,
    "Crop": _crop,
    "DynamicSlice": _hidden,
    "ImageScaler": _image_scaler,
    "MeanVarianceNormalization": _standardised,
    "ParametricSoftplus": _scaled("Softplus"),
    "ScaledTanh": _scaled("Tanh"),
    "Scale": lambda op, node: [op.Mul(node.inputs[0], attributes_of(node).get("scale", 1.0))],
}
