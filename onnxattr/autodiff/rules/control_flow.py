"""The rule of If, and what it shares with those of Loop and Scan.

Values inside a subgraph cannot be seen from outside, so that a branch gives those that its pullback reads as further
outputs of the If.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.engine import noting, pullback
from onnxattr.autodiff.paths import is_float
from onnxattr.autodiff.registry import Closure, Cotangent, vjp
from onnxattr.errors import MissingRuleError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.subgraphs import prune, subgraphs_of
from onnxattr.graph.values import dims_of


@vjp("If")
def branch(op: OpBuilder, node: Closure, ct: Any) -> Sequence[Cotangent]:
    """y = f(z) or g(z);  zbar by an If on the same condition, whose branches hold the pullbacks of f and g."""
    wrt = active_among(node, node.inputs)
    branches: dict[str, ir.Graph] = {}
    missing: dict[str, list[str]] = {}
    for name in ("then_branch", "else_branch"):
        body, inner = node.get_graph(name), op.body("pullback")
        with noting(missing):
            targets = as_targets(inner, zip(body.outputs, node.cts, strict=True))
            gradients = pullback(inner, targets, wrt, node.rules, node.spans, body)
            inner.graph.outputs[:] = [as_output(inner, gradient) for gradient in gradients]
        prune(inner.graph)
        branches[name] = inner.graph
    if missing:
        raise MissingRuleError(missing)
    for name, graph in branches.items():
        _borrow(op, node.node, node.get_graph(name), graph)
    found = dict(zip(wrt, control_node(op, "If", [node.x], branches, wrt), strict=True))
    return [None if value is None else found.get(value) for value in node.inputs]


def _borrow(op: OpBuilder, node: ir.Node, body: ir.Graph, reader: ir.Graph) -> None:
    """Gives what a graph reads of an If's branch as further outputs of the If; the other branch gives nothing there."""
    uses: dict[ir.Value, list[tuple[ir.Node, int]]] = {}
    for inner in reader.all_nodes():
        for index, read in enumerate(inner.inputs):
            if read is not None and read.graph is body:
                uses.setdefault(read, []).append((inner, index))
    first = len(node.outputs)
    node.resize_outputs(first + len(uses))
    for lent, (value, places) in zip(node.outputs[first:], uses.items(), strict=True):
        for other in subgraphs_of(node):
            nothing = op.constant(np.zeros([0] * len(dims_of(value) or [])), value.dtype)
            other.outputs.append(as_output(op.inside(other), value if other is body else nothing))
        lent.name, lent.type = op.unique_name(f"{value.name}_lent"), value.type
        # Runtimes plan their memory by shapes, which the other branch does not keep to.
        lent.shape = None if value.shape is None else ir.Shape([None] * len(value.shape))
        for inner, index in places:
            inner.replace_input_with(index, lent)


def active_among(node: Closure, values: Iterable[ir.Value | None]) -> list[ir.Value]:
    """Those of some values that need a cotangent, each once."""
    return list(dict.fromkeys(v for v in values if v is not None and v in node.active and is_float(v)))


def as_targets(
    op: OpBuilder, cotangents: Iterable[tuple[ir.Value, ir.Value | None]]
) -> dict[ir.Value, ir.Value]:
    """Cotangents by value; those of a value that a subgraph gives several times add up."""
    targets: dict[ir.Value, ir.Value] = {}
    for value, ct in cotangents:
        if ct is not None:
            targets[value] = op.Add(targets[value], ct) if value in targets else ct
    return targets


def as_output(inner: OpBuilder, value: ir.Value) -> ir.Value:
    """A value as an output of a subgraph: of a node of its own, as runtimes want it."""
    node = ir.node("Identity", [value], name=inner.unique_name("Identity"))
    inner.graph.append(node)
    (copy,) = typed_like(node.outputs, [value])
    copy.name = inner.unique_name("output")
    return copy


def typed_like(values: Sequence[ir.Value], likes: Iterable[ir.Value]) -> list[ir.Value]:
    """Values with the types and shapes of others."""
    for value, like in zip(values, likes, strict=True):
        value.type, value.shape = like.type, like.shape
    return list(values)


def control_node(
    op: OpBuilder,
    op_type: str,
    inputs: Sequence[ir.Value | None],
    bodies: dict[str, ir.Graph],
    likes: Sequence[ir.Value],
) -> list[ir.Value]:
    """Appends a node with subgraphs; its outputs are typed like other values."""
    return typed_like(op.node(op_type, inputs, bodies, outputs=len(likes)), likes)
