"""The list of node groups, and the search for them.

A group is found by a function that is called for each node of the operators that it is registered for::

    @group("Erf", "Tanh")
    def gelu(node):
        '''y = x * P(x).'''
        return Group(...)

It returns the group that the node belongs to, or None.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from onnxattr.autodiff.node import Span, op_name
from onnxattr.autodiff.registry import STANDARD, Rule, RuleTable


@dataclass(frozen=True, kw_only=True)
class Group(Span):
    """Nodes that are differentiated as one, by a rule of their own.

    Attributes:
        nodes: The nodes; the last one gives the output.
        rule: The rule, as that of a node with the group's inputs and output.
        through: Nodes between the inputs and the group, which others may read too. They are differentiated by rules of
            their own, and get no cotangent from the group.
    """

    nodes: frozenset[ir.Node]
    rule: Rule
    through: frozenset[ir.Node] = frozenset()


Recogniser = Callable[[ir.Node], Group | None]
#: The functions that find groups, by operator.
GROUPS: dict[str, list[Recogniser]] = {}


def group(*op_types: str) -> Callable[[Recogniser], Recogniser]:
    """Registers a function that finds the group which a node of some operators belongs to."""

    def register(found: Recogniser) -> Recogniser:
        for op_type in op_types:
            GROUPS.setdefault(op_type, []).append(found)
        return found

    return register


def grouped(
    nodes: Sequence[Any], needed: Collection[ir.Value], fixed: Iterable[ir.Value], rules: RuleTable
) -> list[Any]:
    """The nodes of a sweep with groups in the place of the nodes that they consist of.

    Args:
        nodes: The nodes on the way from what is differentiated to the outputs, in graph order.
        needed: The values on that way.
        fixed: The values with cotangents of their own, and those that are asked for.
        rules: The rule table; nodes whose rules it overrides are differentiated one by one.
    """
    if not any(op_name(node) in GROUPS for node in nodes):
        return list(nodes)
    # Not those that are differentiated together with others already.
    free = {node for node in nodes if isinstance(node, ir.Node) and _is_standard(node, rules)}
    spanned = {value for node in nodes if isinstance(node, Span) for value in node.inputs}
    outside = {*fixed, *spanned}
    last, active = dict[ir.Node, Group](), set(nodes)
    taken = set[ir.Node]()
    for node in nodes:
        for recogniser in GROUPS.get(op_name(node), ()) if node in free else ():
            found = recogniser(node)
            if found is not None and _stands_alone(found, free, needed, outside, active):
                end = found.y.producer()
                assert end is not None
                last[end] = found
                taken |= found.nodes
                free -= found.nodes
                break
    return [last.get(node, node) for node in nodes if node in last or node not in taken]


def _is_standard(node: ir.Node, rules: RuleTable) -> bool:
    return rules.get(op_name(node)) is STANDARD.get(op_name(node))


def _stands_alone(
    found: Group,
    free: set[ir.Node],
    needed: Collection[ir.Value],
    outside: Collection[ir.Value | None],
    active: Collection[Any],
) -> bool:
    """Whether no cotangent reaches the nodes of a group but by its output, and none leaves but by its inputs."""
    own = {node for node in found.nodes if any(value in needed for value in node.outputs)}
    seen = {value for node in found.through for value in node.outputs if value in needed}
    if not own | {value.producer() for value in seen} <= free or found.y.producer() not in own:
        return False
    inner = {value for node in own for value in node.outputs} - {found.y}
    if any(value in outside for value in inner | seen) or not (inner | seen).isdisjoint(found.inputs):
        return False
    read = {value for node in own for value in node.inputs if value in needed}
    if read - inner - seen - set(found.inputs):
        return False
    # A body that captures a value is a reader too, whose nodes are not among those of the sweep.
    graph = next(iter(own)).graph
    readers = {use.node for value in inner for use in value.uses()}
    return all(node in own or (node.graph is graph and node not in active) for node in readers)
