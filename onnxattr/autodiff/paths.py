"""Which values depend on which: the ways through a graph along which a gradient can go."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import onnx_ir as ir

from onnxattr.autodiff.node import Span, op_name
from onnxattr.autodiff.refused import stands_for_reals
from onnxattr.autodiff.registry import NON_DIFFERENTIABLE, STANDARD, RuleTable
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.operator_kinds import COUNTING
from onnxattr.graph.subgraphs import captures_of
from onnxattr.graph.values import dims_of


def is_float(value: ir.Value | None) -> bool:
    """Whether a value can carry a cotangent."""
    return value is not None and (value.dtype is None or value.dtype in FLOATS)


def inputs_of(node: Any) -> list[ir.Value]:
    """The values a node reads, those that its subgraphs capture included."""
    return [value for value in node.inputs if value is not None] + captures_of(node)


def _carries_gradient(node: Any, rules: RuleTable) -> bool:
    return op_name(node) in rules or op_name(node) not in NON_DIFFERENTIABLE


def _in_units(node: Any, value: ir.Value, dtypes: Collection[ir.DataType | None]) -> bool:
    """Whether integers stand for real numbers as others of the node do: those of one type, or cast to another."""
    cast = op_name(node) == "Cast" and value.dtype is not None and value.dtype.is_integer()
    return value.dtype in dtypes or (cast and bool(dtypes))


def reachable(nodes: Iterable[Any], wrt: Iterable[ir.Value], rules: RuleTable = STANDARD) -> set[ir.Value]:
    """The float or quantised values that depend on ``wrt``, along operators that carry gradient by a rule table."""
    reached = set(wrt)
    for node in nodes:
        sources = [value for value in inputs_of(node) if value in reached]
        if sources and _carries_gradient(node, rules):
            reals = stands_for_reals(op_name(node))
            quantized = {value.dtype for value in sources if not is_float(value)}
            reached.update(v for v in node.outputs if reals or is_float(v) or _in_units(node, v, quantized))
    return reached


def reaching(
    nodes: Sequence[Any], output: ir.Value, without: Collection[str] = (), rules: RuleTable = STANDARD
) -> set[ir.Value]:
    """The values that ``output`` depends on, along operators that carry gradient by a rule table.

    Ways through the values named ``without`` do not count.
    """
    found = {output}
    for node in reversed(nodes):
        if not _carries_gradient(node, rules):
            continue
        targets = [value for value in node.outputs if value in found and value.name not in without]
        if not targets:
            continue
        always = stands_for_reals(op_name(node)) or any(map(is_float, targets))
        dtypes = {value.dtype for value in targets}
        found.update(v for v in inputs_of(node) if always or (not is_float(v) and _in_units(node, v, dtypes)))
    return found


def needed_nodes(outputs: Iterable[ir.Value]) -> list[ir.Node]:
    """The nodes that some values of one graph are computed by, in graph order."""
    waiting = list(outputs)
    graph = next((value.graph for value in waiting if value.graph is not None), None)
    needed: set[ir.Node] = set()
    while waiting:
        node = waiting.pop().producer()
        if node is not None and node not in needed:
            needed.add(node)
            waiting += inputs_of(node)
    return [node for node in graph or () if node in needed]


def counting_node(output: ir.Value) -> ir.Node | None:
    """The last node that decides by numbers how large a value of unknown sizes is; None where there is none."""
    if all(isinstance(dim, int) for dim in (dims_of(output) or [None])[1:]):
        return None
    return next((node for node in reversed(needed_nodes([output])) if node.op_type in COUNTING), None)


def active_nodes(
    nodes: Sequence[Any],
    outputs: Iterable[ir.Value],
    wrt: Sequence[ir.Value],
    rules: RuleTable = STANDARD,
) -> tuple[list[Any], set[ir.Value]]:
    """The nodes on a path from ``wrt`` to ``outputs`` in graph order, and the values on those paths."""
    reached = reachable(nodes, wrt, rules)
    needed, chosen = set(outputs) & reached, []
    for node in reversed(nodes):
        sources = [v for v in inputs_of(node) if v in reached]
        if sources and any(value in needed for value in node.outputs):
            chosen.append(node)
            needed.update(sources)
    return chosen[::-1], needed


def with_spans(nodes: Iterable[ir.Node], spans: Mapping[ir.Node, Span]) -> list[Any]:
    """Graph order with every node that ends a span replaced by the span."""
    return [spans.get(node, node) for node in nodes]
