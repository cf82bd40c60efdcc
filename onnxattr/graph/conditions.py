"""What a condition says of the value that it chooses: where(x > 0, x, 1) holds no zeros."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from onnxattr.graph.intervals import INF, Range, range_of_array

_MIRRORED = {
    "Greater": "Less",
    "Less": "Greater",
    "GreaterOrEqual": "LessOrEqual",
    "LessOrEqual": "GreaterOrEqual",
    "Equal": "Equal",
}
_OPPOSITES = {
    "Greater": "LessOrEqual",
    "Less": "GreaterOrEqual",
    "GreaterOrEqual": "Less",
    "LessOrEqual": "Greater",
}


def chosen(condition: ir.Value | None, value: ir.Value | None, known: Range, holds: bool) -> Range:
    """The range of a value where a condition holds, or where it does not.

    Args:
        condition: A value of truth values.
        value: The value that is chosen there.
        known: Its range everywhere.
        holds: Whether the condition holds.
    """
    node = None if condition is None else condition.producer()
    if node is None:
        return known
    kind = node.op_type
    if kind == "Not":
        return chosen(node.inputs[0], value, known, not holds)
    if (kind == "And" and holds) or (kind == "Or" and not holds):
        for part in node.inputs:
            known = chosen(part, value, known, holds)
        return known
    if kind == "IsNaN" and node.inputs[0] is value:
        return known if holds else replace(known, nan=False)
    if kind == "IsInf" and node.inputs[0] is value and not holds:
        below, above = (
            bool(node.attributes.get_int(f"detect_{sign}", 1)) for sign in ("negative", "positive")
        )
        return replace(known, below=known.below and not below, above=known.above and not above)
    if kind in _MIRRORED:
        return _compared(node, kind, value, known, holds)
    return known


def _compared(node: ir.Node, kind: str, value: ir.Value | None, known: Range, holds: bool) -> Range:
    x, bound = node.inputs
    if bound is value:
        x, bound, kind = bound, x, _MIRRORED[kind]
    if x is not value or bound is None or bound.const_value is None or bound.const_value.size != 1:
        return known
    limit = range_of_array(bound.const_value.numpy())
    if not limit.finite:
        return known
    number = limit.low
    if kind == "Equal":
        if holds:
            return replace(known.within(number, number), nan=False)
        return replace(known, nonzero=known.nonzero or number == 0)
    if holds:
        known = replace(known, nan=False)  # No comparison holds for NaN.
    else:
        kind = _OPPOSITES[kind]
    strict = kind in ("Greater", "Less") and number == 0
    if kind.startswith("Greater"):
        return known.within(low=number, high=INF, nonzero=strict)
    return known.within(low=-INF, high=number, nonzero=strict)
