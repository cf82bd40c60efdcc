"""Writes out operators outside ai.onnx that have a decomposition."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import onnx
import onnx_ir as ir

from onnxattr.autodiff.refused import WHY
from onnxattr.autodiff.registry import RuleTable, op_name
from onnxattr.decompositions.standard import DECOMPOSITIONS
from onnxattr.errors import RuleError, UnsupportedOpError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.schemas import infer
from onnxattr.graph.subgraphs import graphs_of, nodes_of
from onnxattr.graph.values import dims_of
from onnxattr.loading.shapes.infer import infer_shapes


def write_out(model: ir.Model, rules: RuleTable) -> bool:
    """Replaces every node whose operator has a decomposition by that, in place.

    No other node and no name changes; new values are named after the node. A node that uses a part of its operator that
    the decomposition lacks stays, with a note.

    Args:
        model: A model whose large weights may be graph inputs.
        rules: The rule table; what it has a rule for stays, typed as its decomposition is.

    Returns:
        Whether there was such a node.
    """
    if not any(op_name(node) in DECOMPOSITIONS for node in nodes_of(model.graph)):
        return False
    with contextlib.suppress(onnx.shape_inference.InferenceError):
        infer_shapes(model, strict=False)
    op = OpBuilder(model.graph, model.opset_imports[""], prefix="")
    main, *bodies = graphs_of(model.graph)
    for graph in [*bodies, main]:
        _replay(op.inside(graph), rules)
    return True


def _replay(op: OpBuilder, rules: RuleTable) -> None:
    """Takes the nodes off the builder's graph and puts them back in order, decompositions in the place of their nodes.

    What a decomposition must know of its inputs, their rank and type, is inferred on the way: ONNX's own inference
    stops at operators that it does not know.
    """
    graph = op.graph
    nodes = list(graph)
    graph.remove(nodes)
    for node in nodes:
        define = DECOMPOSITIONS.get(op_name(node))
        if define is None:
            graph.append(node)
            if not node.domain and any(dims_of(value) is None for value in node.outputs):
                # What is wrong with a node of the model, the loader says better.
                with contextlib.suppress(RuleError):
                    infer(node, op.opset)
            continue
        op.prefix = node.name or node.outputs[0].name or node.op_type
        try:
            written = define(op, node)
            results = [written] if isinstance(written, ir.Value) else written
            if op_name(node) in rules:
                _take_types(node, results)
                graph.append(node)
            else:
                _take_over(op, node, results)
        except (RuleError, UnsupportedOpError) as error:
            # It may lie off every path that is ever differentiated.
            node.metadata_props[WHY] = str(error)
            graph.append(node)


def _take_types(node: ir.Node, results: Sequence[ir.Value | None]) -> None:
    """Gives the outputs of a node the types of its decomposition, whose nodes nothing needs then."""
    for old, new in zip(node.outputs, results, strict=False):
        if new is not None and new.dtype is not None:
            old.type, old.shape = new.type, new.shape


def _take_over(op: OpBuilder, node: ir.Node, results: Sequence[ir.Value | None]) -> None:
    """Gives the values of a decomposition the names and the uses of the node's outputs."""
    given = [*results, *[None] * len(node.outputs)]
    for index, old in enumerate(node.outputs):
        if given[index] is None and (old.uses() or old in op.graph.outputs):
            raise UnsupportedOpError(
                f"{op_name(node)} node {node.name!r}: output {index} ({old.name!r}) is used, and its decomposition "
                "gives none. Export the model without its graph optimisations."
            )
    for old, new in zip(node.outputs, given, strict=False):
        if new is None:
            continue
        if new in node.inputs or new.producer() is None:
            # A node of its own, also where the builder would give a constant.
            copy = ir.node("Identity", [new], name=op.unique_name("Identity"))
            op.graph.append(copy)
            copy.outputs[0].type, copy.outputs[0].shape = new.type, new.shape
            new = copy.outputs[0]
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        new.name, old.name = old.name, None
        if new.dtype is None:
            new.type = old.type
    for index in range(len(node.inputs)):
        node.replace_input_with(index, None)
