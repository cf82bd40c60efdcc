"""Pads of some axes, written as pads of all: what is appended to a model may make ONNX Runtime misread the others."""

from __future__ import annotations

import onnx_ir as ir

from onnxattr.autodiff.rules.padding import along_computed
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.subgraphs import is_standard, nodes_of
from onnxattr.graph.values import dims_of


def pad_every_axis(graph: ir.Graph, opset: int) -> bool:
    """Rewrites every Pad with an ``axes`` input, subgraphs included, as one without, in place; whether any."""
    nodes = [node for node in nodes_of(graph) if _has_axes(node)]
    if not nodes:
        return False
    main = OpBuilder(graph, opset, prefix="pads")
    builders = {graph: main}
    for node in nodes:
        part = node.graph
        assert isinstance(part, ir.Graph)
        if part not in builders:
            builders[part] = OpBuilder(part, opset, prefix="pads", parent=main)
        op = builders[part]
        x, pads, _, axes = node.inputs
        if x is None or pads is None or axes is None:
            continue
        dims = dims_of(x) or dims_of(node.outputs[0])
        rank = len(dims) if dims else op.Shape(op.Shape(x))
        node.replace_input_with(1, along_computed(op, axes, rank, pads))
        node.resize_inputs(3 if node.inputs[2] is not None else 2)
    for part in builders:
        part.sort()
    return True


def _has_axes(node: ir.Node) -> bool:
    return is_standard(node, "Pad") and len(node.inputs) > 3 and node.inputs[3] is not None
