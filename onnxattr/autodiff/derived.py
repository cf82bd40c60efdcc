"""Rules that are derived: an operator is written once, forward, in operators that have rules.

A definition has the form::

    @derived("Hypot")
    def hypot(op, node):
        '''y = sqrt(a^2 + b^2).'''
        a, b = node.inputs
        return op.Sqrt(op.Add(op.Mul(a, a), op.Mul(b, b)))

It returns the node's output, or a tuple with one entry for each output. The rule writes the definition beside the node
and pulls back through it: of the definition only those nodes stay that the gradient reads. Where the standard rules of
these operators decide between subgradients, so does the derived one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx_ir as ir

from onnxattr.autodiff.engine import pullback
from onnxattr.autodiff.paths import is_float
from onnxattr.autodiff.refused import WHY
from onnxattr.autodiff.registry import STANDARD, Cotangent, vjp
from onnxattr.errors import UnsupportedOpError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.subgraphs import nodes_behind

Definition = Callable[[OpBuilder, Any], ir.Value | Sequence[ir.Value | None]]


def derived(*op_types: str, singular: str = "") -> Callable[[Definition], Definition]:
    """Registers a definition of one or more operators, whose standard rule is its pullback.

    Args:
        op_types: The operators.
        singular: Where the local derivative is infinite or undefined, for operands that are numbers.
    """

    def register(define: Definition) -> Definition:
        def rule(op: OpBuilder, node: Any, ct: Any) -> Sequence[Cotangent]:
            _check(node)
            return pulled_back(op, node, define)

        rule.__name__, rule.__doc__ = define.__name__, define.__doc__
        vjp(*op_types, singular=singular)(rule)
        return define

    return register


def _check(node: Any) -> None:
    """Raises an error for a node of which loading has noted that its definition leaves something out."""
    found = getattr(node, "node", None)
    note = "" if found is None else found.metadata_props.get(WHY, "")
    if note:
        raise UnsupportedOpError(note)


def pulled_back(op: OpBuilder, node: Any, define: Definition) -> list[Cotangent]:
    """The cotangents of a node's inputs, by a definition that is written at the end of the builder's graph."""
    last = op.graph[-1] if len(op.graph) else None
    with op.primal():
        written = define(op, node)
    results = [written] if isinstance(written, ir.Value) else written
    targets: dict[ir.Value, ir.Value] = {}
    for result, output, output_ct in zip(results, node.outputs, node.cts, strict=False):
        if result is not None and output_ct is not None:
            result.shape = output.shape
            targets[result] = output_ct
    nodes = list(nodes_behind(op.graph, last))[::-1]
    wrt = list(dict.fromkeys(value for value in node.inputs if is_float(value)))
    # A value that is read twice has one cotangent, the sum.
    found = dict(zip(wrt, pullback(op, targets, wrt, STANDARD, graph=nodes), strict=True))
    return [found.pop(value, None) for value in node.inputs]
