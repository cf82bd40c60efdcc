"""Reverse-mode differentiation of an ONNX graph: one sweep that appends the gradient as standard nodes.

This file mentions no operator; what an operator's gradient is stands in the rule table.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import fields
from functools import partial
from typing import Any

import onnx_ir as ir

from onnxattr.autodiff.endings import Ending, ending
from onnxattr.autodiff.groups import Group, grouped
from onnxattr.autodiff.node import Closure, Span, op_name, view_of
from onnxattr.autodiff.paths import active_nodes, inputs_of, is_float, reachable, with_spans
from onnxattr.autodiff.reals import in_reals
from onnxattr.autodiff.refused import reasons
from onnxattr.autodiff.registry import (
    NOT_IMPLEMENTED,
    Cotangent,
    Rule,
    RuleTable,
    applied,
    built,
)
from onnxattr.autodiff.rewrites import Backward, Rewrite, chosen
from onnxattr.autodiff.rules.saturated import SATURATED
from onnxattr.errors import MissingRuleError, RuleError, UnsupportedOpError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.intervals import ANY, FLOATS
from onnxattr.graph.ranges import is_mask
from onnxattr.graph.subgraphs import captures_of, subgraphs_of
from onnxattr.graph.values import dims_of

#: The rewrites of the sweep that is under way, which sweeps of rules inside it take as well.
_UNDER_WAY: ContextVar[Sequence[Rewrite] | None] = ContextVar("rewrites", default=None)
#: The rules of what the branches and bodies of the node end in whose rule runs; none if they do not end the model.
_AT_THE_END: ContextVar[Mapping[str, Rule] | None] = ContextVar("at the end", default=None)


def missing_rules(nodes: Iterable[Any], rules: RuleTable) -> dict[str, list[str]]:
    """The names of the nodes without a rule, by operator."""
    missing: dict[str, list[str]] = {}
    for node in nodes:
        if op_name(node) not in rules:
            missing.setdefault(op_name(node), []).append(node.name or "unnamed")
    return missing


@contextlib.contextmanager
def noting(missing: dict[str, list[str]]) -> Iterator[None]:
    """Notes the operators of an error about missing rules, for one error at the end.

    Where some are missing already, other errors may come of them: what follows an unknown operator has no known type
    or shape. That of the missing rules is the one to be raised.
    """
    try:
        yield
    except MissingRuleError as error:
        for name, nodes in error.operators.items():
            missing.setdefault(name, []).extend(nodes)
    except (RuleError, UnsupportedOpError):
        if not missing:
            raise


def pullback(
    op: OpBuilder,
    cotangents: Mapping[ir.Value, ir.Value],
    wrt: Sequence[ir.Value],
    rules: RuleTable,
    spans: Mapping[ir.Node, Span] | None = None,
    graph: Iterable[ir.Node] | None = None,
    rewrites: Collection[str] | None = None,
) -> list[ir.Value]:
    """Appends the vector-Jacobian product of a graph to it.

    Args:
        op: Builder on the graph; the graph is extended in place.
        cotangents: Output values of the graph with their cotangents, of the same shape and dtype.
        wrt: The values to differentiate with respect to.
        rules: VJP rules by operator.
        spans: Nodes to be differentiated together with those before them, keyed by the last node of each.
        graph: The graph to differentiate, or its nodes in order, if it is not the whole one that is extended.
        rewrites: Names of the rewrites that may make the result cheaper; None for all of them, and inside another
            sweep for those of that sweep.

    Returns:
        One cotangent per entry of ``wrt``, of its shape and dtype; zeros where no path leads to the outputs.

    Raises:
        UnsupportedOpError: If operators on the way have no rule; all of them are named.
        ParameterError: If there is no rewrite of a name.
        RuleError: If a rule returns cotangents that do not fit its inputs.
    """
    nodes = op.graph if graph is None else graph
    if not op.in_gradient:
        _note_inputs(op, wrt)
    passes = _UNDER_WAY.get() if rewrites is None else None
    passes = chosen(rewrites) if passes is None else passes
    last = op.graph[-1] if len(op.graph) else None
    end = Ending()
    saturated = _AT_THE_END.get() if op.in_gradient else SATURATED
    if saturated is not None:
        nodes = list(nodes)  # without those that the end is written in
        end = ending(op, cotangents, nodes, reachable(nodes, wrt, rules), rules, saturated)
    token = _UNDER_WAY.set(passes)
    try:
        with op.gradient():
            found = _swept(op, cotangents, wrt, rules, spans or {}, nodes, end)
            return Backward(op, last, found).run(passes)
    finally:
        _UNDER_WAY.reset(token)


def _note_inputs(op: OpBuilder, wrt: Sequence[ir.Value]) -> None:
    """Notes that masks which are inputs, and not differentiated, may hold infinities."""
    sources, waiting = set(wrt), list(wrt)
    while waiting:
        node = waiting.pop().producer()
        found = set() if node is None else set(inputs_of(node)) - sources
        sources |= found
        waiting.extend(found)
    for value in op.graph.inputs:
        if value not in sources and value not in op.ranges and is_mask(value):
            op.note_range(value, ANY)


def _swept(
    op: OpBuilder,
    cotangents: Mapping[ir.Value, ir.Value],
    wrt: Sequence[ir.Value],
    rules: RuleTable,
    spans: Mapping[ir.Node, Span],
    graph: Iterable[ir.Node],
    end: Ending,
) -> list[ir.Value]:
    """The reverse sweep of ``pullback``."""
    nodes, needed = active_nodes(with_spans(graph, spans), cotangents, wrt, rules)
    missing = missing_rules(nodes, rules)
    nodes = grouped(nodes, needed, [*cotangents, *wrt, *end.written], rules)
    adjoints: dict[ir.Value, list[ir.Value]] = {}
    for value, ct in cotangents.items():
        if value in needed:
            adjoints.setdefault(value, []).append(ct)
    for node in reversed(nodes):
        # What has no element adds nothing, and rules need not know values of such sizes.
        cts = tuple(None if _is_empty(value) else _total(op, adjoints, value) for value in node.outputs)
        if all(ct is None for ct in cts):
            continue
        op.gradient_of = node.name
        seen = _seen(node, op.opset, needed, rules, spans)
        token = _AT_THE_END.set(end.last.get(node) if isinstance(seen, Closure) else None)
        try:
            entries = _entries(op, end.seen(seen), cts, _rule_of(node, rules, end), missing)
        finally:
            _AT_THE_END.reset(token)
        # With no other float operand nothing was broadcast, and unknown dimensions can be trusted to agree.
        alone = isinstance(seen, Closure) or sum(is_float(value) for value in seen.inputs) <= 1
        for index, (source, entry) in enumerate(zip(seen.inputs, entries, strict=True)):
            if source is not None and source in needed and entry is not None:
                with noting(missing):
                    adjoints.setdefault(source, []).append(_check(op, seen, index, source, entry, alone))
    op.gradient_of = None
    if missing:
        raise MissingRuleError(missing, reasons(missing, nodes))
    return [_total(op, adjoints, value) or op.zeros_like(value) for value in wrt]


def _rule_of(node: ir.Node | Span, rules: RuleTable, end: Ending) -> Rule | None:
    """The rule of a node; that for the end of a model where the table has no other than the standard one."""
    if isinstance(node, Group):
        return node.rule
    rule = rules.get(op_name(node))
    return end.last.get(node, {}).get(node.op_type, rule) if isinstance(node, ir.Node) else rule


def _seen(
    node: ir.Node | Span,
    opset: int,
    active: Collection[ir.Value],
    rules: RuleTable,
    spans: Mapping[ir.Node, Span],
) -> Span:
    """What a node's rule gets for the node."""
    if isinstance(node, Span):
        return node
    view = view_of(node, opset)
    if not subgraphs_of(node):
        return view
    parts = {item.name: getattr(view, item.name) for item in fields(view)}
    parts["inputs"] = (*node.inputs, *captures_of(node))
    return Closure(**parts, active=active, rules=rules, spans=spans)


def _entries(
    op: OpBuilder,
    node: Span,
    cts: tuple[ir.Value | None, ...],
    rule: Rule | None,
    missing: dict[str, list[str]],
) -> Sequence[Cotangent]:
    """What a node's rule gives. Where rules are missing the sweep goes on with zeros, to find all that are."""
    with noting(missing):
        if rule is not None:
            return applied(rule, op, in_reals(op, node, cts), cts)
    return [
        partial(op.zeros_like, value) if value is not None and is_float(value) else None
        for value in node.inputs
    ]


def _is_empty(value: ir.Value) -> bool:
    """Whether a value certainly has no element."""
    return 0 in (dims_of(value) or ())


def _total(op: OpBuilder, adjoints: dict[ir.Value, list[ir.Value]], value: ir.Value) -> ir.Value | None:
    """Sums the contributions to a value's cotangent and keeps the sum."""
    parts = adjoints.get(value)
    if not parts:
        return None
    if len(parts) > 1:
        parts[:] = [op.Sum(*parts) if len(parts) > 2 else op.Add(*parts)]
        parts[0].shape = value.shape
        if is_float(value):
            parts[0].type = value.type
    return parts[0]


def _check(
    op: OpBuilder, node: Span, index: int, primal: ir.Value, entry: Cotangent, alone: bool
) -> ir.Value:
    """Brings a rule's entry to the primal's shape and checks what can be checked."""
    where = f"{node.where}, input {index} ({primal.name!r})"
    if entry is NOT_IMPLEMENTED:
        raise UnsupportedOpError(f"{where}: the gradient with respect to this input is not implemented.")
    ct = built(entry, node)
    if ct.dtype is not None and primal.dtype in FLOATS and ct.dtype != primal.dtype:
        raise RuleError(f"{where}: the cotangent is {ct.dtype}, the primal {primal.dtype}.")
    if _clash(ct, primal, broadcast=True):
        raise RuleError(f"{where}: the cotangent has shape {dims_of(ct)}, the primal {dims_of(primal)}.")
    unsure = dims_of(ct) is None and dims_of(primal) is not None
    if not alone or unsure or _clash(ct, primal):
        ct = op.sum_to(ct, primal)
    if _clash(ct, primal):
        raise RuleError(f"{where}: the cotangent has shape {dims_of(ct)}, the primal {dims_of(primal)}.")
    if (
        ct is not primal
        and ct.producer() is not None
        and ct.shape != primal.shape
        and primal.shape is not None
    ):
        ct.shape = primal.shape
    return ct


def _clash(ct: ir.Value, primal: ir.Value, broadcast: bool = False) -> bool:
    """Whether known dimensions rule out that ct has, or with ``broadcast`` is summed to, the shape of its primal."""
    have, want = dims_of(ct), dims_of(primal)
    if have is None or want is None:
        return False
    if broadcast and len(have) >= len(want):
        pairs = zip(have[len(have) - len(want) :], want, strict=True)
        return any(isinstance(h, int) and isinstance(w, int) and h != w and w != 1 for h, w in pairs)
    return len(have) != len(want) or any(
        isinstance(h, int) and isinstance(w, int) and h != w for h, w in zip(have, want, strict=True)
    )
