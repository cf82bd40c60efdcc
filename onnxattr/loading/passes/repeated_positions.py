"""Sums at positions that repeat, made element by element: ONNX Runtime's threads lose some of them slice by slice."""

from __future__ import annotations

import onnx_ir as ir

from onnxattr.autodiff.registry import RuleTable
from onnxattr.autodiff.rules.distinct import distinct_rows
from onnxattr.autodiff.standard import STANDARD
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.subgraphs import graphs_of, is_standard, nodes_of, take_place


def fold_elements(model: ir.Model, rules: RuleTable) -> bool:
    """Rewrites every ScatterND with a reduction, subgraphs included, as a ScatterElements, in place; whether any.

    ONNX Runtime (1.32) runs the slices of a ScatterND on several threads, and two that fold into one place at the same
    time lose one of them. A ScatterElements folds one after the other, in the same order as one thread does. Positions
    that are known to differ stay as they are, and so does what the caller has a rule for.
    """
    if rules.get("ScatterND") is not STANDARD["ScatterND"] or not any(map(_may_lose, nodes_of(model.graph))):
        return False
    main = OpBuilder(model.graph, model.opset_imports[""], prefix="folded")
    for part in list(graphs_of(model.graph)):
        op = main.inside(part)
        for node in [node for node in part if _may_lose(node)]:
            _write_out(op, part, node)
    return True


def _may_lose(node: ir.Node) -> bool:
    if not is_standard(node, "ScatterND") or node.attributes.get_string("reduction", "none") == "none":
        return False
    x, indices = node.inputs[:2]
    return x is not None and indices is not None and not distinct_rows(indices, x)


def _write_out(op: OpBuilder, part: ir.Graph, node: ir.Node) -> None:
    """y = x with updates folded in at the flat places of their elements, under the names of the node and its output."""
    (x, indices, updates), last = node.inputs, part[-1]
    assert x is not None
    positions = op.reshape_like(op.Range(0, op.Size(x), 1), x)
    flat = [op.Reshape(part, [-1]) for part in (x, op.GatherND(positions, indices), updates)]
    folded = op.ScatterElements(*flat, axis=0, reduction=node.attributes.get_string("reduction"))
    result = op.reshape_like(folded, x)
    take_place(node, result, last, folded.producer())
