"""Pads of some axes, written as pads of all: what is appended to a model may make ONNX Runtime misread the others."""

from __future__ import annotations

import onnx_ir as ir

from onnxattr.autodiff.rules.padding import along_computed
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.subgraphs import is_standard
from onnxattr.graph.values import dims_of
from onnxattr.loading.passes.replay import change_each


def pad_every_axis(graph: ir.Graph, opset: int) -> bool:
    """Rewrites every Pad with an ``axes`` input, subgraphs included, as one without, in place; whether any."""
    return change_each(graph, opset, "pads", _has_axes, _pad_every_axis)


def _pad_every_axis(op: OpBuilder, node: ir.Node) -> bool:
    x, pads, _, axes = node.inputs
    if x is None or pads is None or axes is None:
        return False
    dims = dims_of(x) or dims_of(node.outputs[0])
    rank = len(dims) if dims else op.Shape(op.Shape(x))
    node.replace_input_with(1, along_computed(op, axes, rank, pads))
    node.resize_inputs(3 if node.inputs[2] is not None else 2)
    return True


def _has_axes(node: ir.Node) -> bool:
    return is_standard(node, "Pad") and len(node.inputs) > 3 and node.inputs[3] is not None
