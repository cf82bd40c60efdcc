"""Pads of some axes, written as pads of all: what is appended to a model may make ONNX Runtime misread the others."""

from __future__ import annotations

import onnx_ir as ir

from onnxattr.autodiff.rules.padding import along_computed
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.subgraphs import graphs_of, is_standard, nodes_of
from onnxattr.graph.values import dims_of


def pad_every_axis(graph: ir.Graph, opset: int) -> bool:
    """Rewrites every Pad with an ``axes`` input, subgraphs included, as one without, in place; whether any."""
    if not any(_has_axes(node) for node in nodes_of(graph)):
        return False
    main = OpBuilder(graph, opset, prefix="pads")
    for part in list(graphs_of(graph)):
        nodes = [node for node in part if _has_axes(node)]
        op = main.inside(part)
        for node in nodes:
            _pad_every_axis(op, node)
        if nodes:
            part.sort()
    return True


def _pad_every_axis(op: OpBuilder, node: ir.Node) -> None:
    x, pads, _, axes = node.inputs
    if x is None or pads is None or axes is None:
        return
    dims = dims_of(x) or dims_of(node.outputs[0])
    rank = len(dims) if dims else op.Shape(op.Shape(x))
    node.replace_input_with(1, along_computed(op, axes, rank, pads))
    node.resize_inputs(3 if node.inputs[2] is not None else 2)


def _has_axes(node: ir.Node) -> bool:
    return is_standard(node, "Pad") and len(node.inputs) > 3 and node.inputs[3] is not None
