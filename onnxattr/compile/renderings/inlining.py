"""Moves a graph that was built by itself into another."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from onnxattr.compile.renderings.rewrite import Rewrite
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.subgraphs import subgraphs_of
from onnxattr.graph.values import dims_of, values_of


def inline(
    step: ir.Model, body: OpBuilder, main: Rewrite, feeds: Mapping[str, ir.Value], mark: str
) -> list[ir.Value]:
    """Moves the nodes of a model into a graph, such as those of a step into the body of a loop; returns its outputs.

    The model's weights are those of the graph around it, stored once. What is computed from them alone stays in the
    body: a runtime folds it when it loads the file, and picks fast kernels for folded weights of the same graph only.

    Args:
        step: The model; empty afterwards.
        body: Builder on the graph that receives the nodes.
        main: The rewrite whose graph has the weights.
        feeds: What the model's inputs are, by their names.
        mark: Put behind the names of dimensions, which are others than those of the graph around.
    """
    graph = step.graph
    weights = main.request.prepared.model.graph.initializers
    for value in values_of(graph):
        # There may be another number of rows than in the graph around it: the symbols must differ.
        dims = dims_of(value)
        if dims is not None:
            value.shape = ir.Shape([f"{dim}_{mark}" if isinstance(dim, str) else dim for dim in dims])
    for name, value in list(graph.initializers.items()):
        tensor = value.const_value
        outer = (
            main.graph.initializers[name]
            if name in weights or tensor is None
            else main.op.constant(tensor.numpy())
        )
        ir.convenience.replace_all_uses_with(value, outer)
    for value in list(graph.inputs):
        ir.convenience.replace_all_uses_with(value, feeds[str(value.name)])
    outputs = list(graph.outputs)
    graph.outputs.clear()
    for node in list(graph):
        graph.remove(node)
        _rename(node, body)
        body.graph.append(node)
    return outputs


def _rename(node: ir.Node, body: OpBuilder) -> None:
    """Gives a node and its values names that the graphs around it do not have."""
    node.name = body.unique_name(str(node.name))
    inner = [value for graph in subgraphs_of(node) for value in values_of(graph)]
    for value in [*node.outputs, *inner]:
        if value.name:
            value.name = body.unique_name(value.name)
