"""Nodes that draw random numbers: what a model predicts with them is another number in each run."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from onnxattr.autodiff.paths import inputs_of
from onnxattr.graph.operator_kinds import DRAWING, SIZES
from onnxattr.graph.subgraphs import nodes_of, subgraphs_of


def draws(graph: ir.Graph, outputs: Iterable[ir.Value]) -> list[str]:
    """The nodes that draw random numbers on which outputs depend, by operator and name, in their order."""
    if not any(node.op_type in DRAWING for node in nodes_of(graph)):
        return []
    needed, found = set(outputs), []
    for node in reversed(graph):
        if needed.isdisjoint(node.outputs):
            continue
        inside = [one for body in subgraphs_of(node) for one in nodes_of(body)]
        found += [f"{one.op_type} {one.name!r}" for one in (node, *inside) if one.op_type in DRAWING]
        if node.op_type not in SIZES:
            needed.update(inputs_of(node))
    return found[::-1]
