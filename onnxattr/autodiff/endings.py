"""What a graph ends in: the operators whose results the explained numbers are, or are computed from by simple means.

A saturated activation there has a rule of its own (``rules/saturated.py``), which depends on what is divided by: the
cotangents of log(s), 1 / s and sqrt(s) have the runtime's error of a small s, those of log(1 - s) that of 1 - s.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import Enum

import onnx_ir as ir

from onnxattr.autodiff.paths import is_float
from onnxattr.autodiff.rules.saturated import SATURATED, Divisor
from onnxattr.graph.values import LAYOUTS, numbers_of

#: What lays out, picks or sums up values.
_PICKS = LAYOUTS | frozenset(
    """Cast Clip Concat Expand Gather GatherElements GatherND Max Min Neg ReduceMax ReduceMean ReduceMin ReduceSum Slice
    Split Where""".split()
)

#: Nodes -> what of their results the cotangents are divided by.
Endings = Mapping[ir.Node, Collection[Divisor]]


class _Kind(Enum):
    """What an operator does with its operands: what its derivative has of them."""

    LINEAR = 0
    PRODUCT = 1  # powers of 0 or more
    DIVISION = 2  # powers below 0


def ending(
    values: Iterable[ir.Value],
    nodes: Iterable[ir.Node],
    reached: Collection[ir.Value],
    divisors: Collection[Divisor] = (Divisor.NONE,),
) -> Endings:
    """The nodes that give some values, but for how these are picked, summed up, scaled, multiplied and divided by.

    Args:
        values: The values.
        nodes: The graph in order.
        reached: All values that depend on what is differentiated; others scale and shift.
        divisors: What of the values their cotangents are divided by.

    Returns:
        For each node what of its result the cotangent is divided by, if by anything.
    """
    combined = _combined(nodes, reached)
    found: dict[ir.Node, set[Divisor]] = {}
    seen, waiting = set(), [(value, divisor) for value in values for divisor in divisors]
    while waiting:
        value, divisor = waiting.pop()
        node = value.producer()
        if node is None or (value, divisor) in seen:
            continue
        seen.add((value, divisor))
        if _leads_on(node, reached, combined):
            waiting.extend(_operands(node, divisor, reached))
        else:
            found.setdefault(node, set()).add(divisor)
    return found


def _operands(
    node: ir.Node, divisor: Divisor, reached: Collection[ir.Value]
) -> Iterator[tuple[ir.Value, Divisor]]:
    """The moving operands of a node, and what of each is divided by where ``divisor`` is of the node's result."""
    for index, value in enumerate(node.inputs):
        if value is None or value not in reached or not is_float(value):
            continue
        if _kind(node) == _Kind.DIVISION and (node.op_type != "Div" or index == 1):
            yield value, Divisor.ITSELF
        elif _turns(node, index, reached):
            yield value, divisor.turned()
        else:
            yield value, divisor


def _turns(node: ir.Node, index: int, reached: Collection[ir.Value]) -> bool:
    """Whether a node is c - s or s - c, which are 0 where s is 1, or -s + c."""
    if node.op_type not in ("Add", "Sub"):  # and not one of thousands of operands
        return False
    alone = len(_moving(node, reached)) == 1
    if node.op_type == "Sub":
        return alone or index == 1
    value = node.inputs[index] if alone else None
    before = None if value is None else value.producer()
    return before is not None and before.op_type == "Neg"


def _moving(node: ir.Node, reached: Collection[ir.Value]) -> list[ir.Value]:
    """The operands of a node that depend on what is differentiated."""
    return [value for value in node.inputs if value is not None and is_float(value) and value in reached]


def _kind(node: ir.Node) -> _Kind | None:
    """None of what does something else."""
    if node.domain not in ("", "ai.onnx"):
        return None
    if node.op_type == "Pow":
        exponent = node.inputs[1]
        powers = [] if exponent is None or exponent.const_value is None else numbers_of(exponent)
        if not powers:
            return None
        return _Kind.PRODUCT if all(power is not None and power >= 1 for power in powers) else _Kind.DIVISION
    if node.op_type in ("Add", "Sub") or node.op_type in _PICKS:
        return _Kind.LINEAR
    if node.op_type in ("Div", "Log", "Reciprocal", "Sqrt"):
        return _Kind.DIVISION
    return _Kind.PRODUCT if node.op_type == "Mul" else None


def _leads_on(node: ir.Node, reached: Collection[ir.Value], combined: Mapping[ir.Value, bool]) -> bool:
    """Whether what gives the operands of a node counts as what gives its result.

    Where several operands are added or multiplied, as s * s, they are all of saturated activations: else what is added
    outweighs what these lose.
    """
    kind, moving = _kind(node), _moving(node, reached)
    if kind is None:
        return False
    if kind == _Kind.PRODUCT and (len(moving) > 1 or node.op_type == "Pow"):
        return all(combined.get(value, False) for value in moving)
    return (
        node.op_type not in ("Add", "Sub") or len(moving) == 1 or all(value in combined for value in moving)
    )


def _combined(nodes: Iterable[ir.Node], reached: Collection[ir.Value]) -> dict[ir.Value, bool]:
    """The values that are computed from saturated activations alone -> whether they are polynomials of them.

    Of polynomials the errors of the runtime's s and of the standard rule add up, of quotients they may cancel out, and
    ONNX Runtime's logarithms of probabilities close to 1 have few digits themselves.
    """
    found: dict[ir.Value, bool] = {}
    for node in nodes:
        moving, kind = _moving(node, reached), _kind(node)
        if node.domain in ("", "ai.onnx") and node.op_type in SATURATED:
            found.update(dict.fromkeys(node.outputs, node.op_type != "LogSoftmax"))
        elif moving and kind is not None and all(value in found for value in moving):
            polynomial = kind != _Kind.DIVISION and all(found[value] for value in moving)
            if polynomial or kind != _Kind.PRODUCT or len(moving) == 1:
                found.update(dict.fromkeys(node.outputs, polynomial))
    return found
