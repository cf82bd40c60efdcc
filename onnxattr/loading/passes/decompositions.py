"""Writes out operators outside ai.onnx that have a decomposition."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import onnx
import onnx_ir as ir

from onnxattr.autodiff.node import view_of
from onnxattr.autodiff.refused import WHY
from onnxattr.autodiff.registry import STANDARD, RuleTable, op_name
from onnxattr.decompositions.registry import KEPT
from onnxattr.decompositions.standard import DECOMPOSITIONS
from onnxattr.errors import RuleError, UnsupportedOpError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.schemas import infer
from onnxattr.graph.subgraphs import graphs_of, nodes_of
from onnxattr.graph.values import dims_of
from onnxattr.loading.passes.replay import Results, replay
from onnxattr.loading.shapes.infer import WRITTEN_OUT, infer_shapes


def write_out(model: ir.Model, rules: RuleTable, same: onnx.ModelProto | None = None) -> bool:
    """Replaces every node whose operator has a decomposition by that, in place.

    No other node and no name changes; new values are named after the node. A node that uses a part of its operator that
    the decomposition lacks stays, with a note.

    Args:
        model: A model whose large weights may be graph inputs.
        rules: The rule table; what it has a rule for stays, typed as its decomposition is.
        same: The model as protobuf, if it is at hand.

    Returns:
        Whether there was such a node.
    """
    left = sum(op_name(node) in DECOMPOSITIONS for node in nodes_of(model.graph))
    if not left:
        return False
    before = left + 1
    # Of a model whose nodes are written out in part, inference knows more.
    while 0 < left < before:
        with contextlib.suppress(onnx.shape_inference.InferenceError):
            infer_shapes(model, strict=False, same=same)
        op, same = OpBuilder(model.graph, model.opset_imports[""], prefix=""), None
        main, *bodies = graphs_of(model.graph)
        for graph in [*bodies, main]:
            replay(op.inside(graph), lambda op, node: _written(op, node, rules))
        before, left = left, sum(WHY in node.metadata_props for node in nodes_of(model.graph))
    return True


def _written(op: OpBuilder, node: ir.Node, rules: RuleTable) -> Results:
    """The decomposition of a node; of what keeps its rule the types alone.

    What a decomposition must know of its inputs, their rank and type, is inferred on the way: ONNX's own inference
    stops at operators that it does not know.
    """
    define = DECOMPOSITIONS.get(op_name(node))
    if define is None:
        if not node.domain and any(dims_of(value) is None for value in node.outputs):
            # What is wrong with a node of the model, the loader says better.
            with contextlib.suppress(RuleError):
                infer(node, op.opset)
        return None
    op.prefix = node.name or node.outputs[0].name or node.op_type
    node.metadata_props.pop(WHY, None)
    try:
        written = define(op, node)
        results = [written] if isinstance(written, ir.Value) else written
        if _stays(op, node, rules):
            _take_types(node, results)
            return None
        _check_used(op, node, results)
        return results
    except (RuleError, UnsupportedOpError) as error:
        # It may lie off every path that is ever differentiated.
        node.metadata_props[WHY] = str(error)
        return None


def _stays(op: OpBuilder, node: ir.Node, rules: RuleTable) -> bool:
    """Whether a node keeps its operator."""
    name = op_name(node)
    own = name in rules and (name not in KEPT or rules[name] is not STANDARD.get(name))
    # A caller's own rule is for every node.
    return own or (name in KEPT and KEPT[name](view_of(node, op.opset)))


def _take_types(node: ir.Node, results: Sequence[ir.Value | None]) -> None:
    """Gives the outputs of a node the types of its decomposition, whose nodes nothing needs then."""
    for old, new in zip(node.outputs, results, strict=False):
        if new is not None and new.dtype is not None:
            old.type, old.shape = new.type, new.shape
            old.meta[WRITTEN_OUT] = True


def _check_used(op: OpBuilder, node: ir.Node, results: Sequence[ir.Value | None]) -> None:
    """Checks that a decomposition gives the outputs that something needs.

    Raises:
        UnsupportedOpError: If it does not.
    """
    given = [*results, *[None] * len(node.outputs)]
    for index, old in enumerate(node.outputs):
        if given[index] is None and (old.uses() or old in op.graph.outputs):
            raise UnsupportedOpError(
                f"{op_name(node)} node {node.name!r}: output {index} ({old.name!r}) is used, and its decomposition "
                "gives none. Export the model without its graph optimisations."
            )
