"""Writes out operators outside ai.onnx that have a definition."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass

from onnxattr.autodiff.refused import WHY
from onnxattr.autodiff.registry import RuleTable, op_name
from onnxattr.decompositions.standard import DEFINITIONS
from onnxattr.errors import RuleError, UnsupportedOpError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.schemas import infer
from onnxattr.graph.subgraphs import nodes_in
from onnxattr.graph.values import dims_of
from onnxattr.loading.shapes.infer import infer_shapes

_CONTRIB = "com.microsoft"


def adopt(proto: onnx.ModelProto, opset: int) -> None:
    """Mends what ONNX Runtime's optimisers leave: operators that ai.onnx lacks in that opset, imports that miss."""
    nodes = list(nodes_in(proto.graph))
    for node in nodes:
        known = node.domain not in ("", "ai.onnx") or onnx.defs.has(node.op_type, opset, "")
        if not known and f"{_CONTRIB}::{node.op_type}" in DEFINITIONS:
            node.domain = _CONTRIB
    _give_scores(proto.graph)
    imported = any(entry.domain == _CONTRIB for entry in proto.opset_import)
    if not imported and any(node.domain == _CONTRIB for node in nodes):
        proto.opset_import.append(onnx.helper.make_opsetid(_CONTRIB, 1))


def _give_scores(graph: onnx.GraphProto) -> None:
    """Types outputs of ZipMap as the tensors of scores that they are made of: there is no other use of dictionaries."""
    zipped = {name for node in graph.node if op_name(node) == "ai.onnx.ml::ZipMap" for name in node.output}
    for value in graph.output:
        if value.name in zipped:
            value.CopyFrom(
                onnx.helper.make_tensor_value_info(value.name, onnx.TensorProto.FLOAT, [None, None])
            )


def write_out(proto: onnx.ModelProto, opset: int, rules: RuleTable) -> onnx.ModelProto:
    """Replaces every node whose operator has a definition by that definition.

    Args:
        proto: A model whose weights are graph inputs or initializers.
        opset: Its ai.onnx opset, which the new nodes are of.
        rules: The rule table; what it has a rule for stays, typed as its definition is.

    Returns:
        The model itself if it holds no such operator, else a copy. No other node and no name changes; new values are
        named after the node. A node that uses a part of its operator that the definition lacks stays, with a note.
    """
    if not any(op_name(node) in DEFINITIONS for node in nodes_in(proto.graph)):
        return proto
    with contextlib.suppress(onnx.shape_inference.InferenceError):
        proto = infer_shapes(proto, strict=False)
    model = ir.serde.deserialize_model(proto)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    op = OpBuilder(model.graph, opset, prefix="")
    for graph in [*model.graph.subgraphs(), model.graph]:
        _replay(op if graph is model.graph else OpBuilder(graph, opset, parent=op), rules)
    return ir.serde.serialize_model(model)


def _replay(op: OpBuilder, rules: RuleTable) -> None:
    """Takes the nodes off the builder's graph and puts them back in order, definitions in the place of their nodes.

    What a definition must know of its inputs, their rank and type, is inferred on the way: ONNX's own inference stops
    at operators that it does not know.
    """
    graph = op.graph
    nodes = list(graph)
    graph.remove(nodes)
    for node in nodes:
        define = DEFINITIONS.get(op_name(node))
        if define is None:
            graph.append(node)
            if node.domain in ("", "ai.onnx") and any(dims_of(value) is None for value in node.outputs):
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
    """Gives the outputs of a node the types of its definition, whose nodes nothing needs then."""
    for old, new in zip(node.outputs, results, strict=False):
        if new is not None and new.dtype is not None:
            old.type, old.shape = new.type, new.shape


def _take_over(op: OpBuilder, node: ir.Node, results: Sequence[ir.Value | None]) -> None:
    """Gives the values of a definition the names and the uses of the node's outputs."""
    given = [*results, *[None] * len(node.outputs)]
    for index, old in enumerate(node.outputs):
        if given[index] is None and (old.uses() or old in op.graph.outputs):
            raise UnsupportedOpError(
                f"{op_name(node)} node {node.name!r}: output {index} ({old.name!r}) is used, and its definition "
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
