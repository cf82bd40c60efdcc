"""Missing values (NaN) of an input: whether the graph puts something in their place before it computes with them.

An Imputer is written out as Where(IsNaN(x), mean, x). On the way there, values may be moved, or be computed each from
its own: NaN stays NaN there, in its place, and only a Where can leave it out.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from onnxattr.autodiff.paths import inputs_of, is_float, needed_nodes

#: Hand NaN on, element by element; Where hands on what it selects.
_CARRY = frozenset(
    "Identity Gather GatherElements GatherND Slice Split Concat Reshape Flatten Squeeze Unsqueeze Transpose Expand "
    "Tile Where Cast Add Sub Mul Div Neg Abs Sqrt Exp Log".split()
)
_HARMLESS = frozenset("IsNaN Shape Size".split())


@dataclass
class Path:
    """Where the missing values of an input may get to.

    Attributes:
        exposed: Values that may hold missing ones, each with a node that would compute with them; None for the score.
        replaced: Whether a Where lies on the way.
    """

    exposed: dict[ir.Value, ir.Node | None] = field(default_factory=dict)
    replaced: bool = False


def path_of_missing(source: ir.Value, output: ir.Value) -> Path:
    """Follows the missing values of an input along the nodes that ``output`` needs."""
    path, holding = Path(), {source}
    for node in needed_nodes([output]):
        held = [value for value in inputs_of(node) if value in holding]
        if not held or _harmless(node):
            continue
        if _carries(node):
            path.replaced |= node.op_type == "Where"
            holding.update(node.outputs)
        else:
            path.exposed |= {value: node for value in held if value not in path.exposed}
    if output in holding:
        path.exposed.setdefault(output, None)
    return path


def may_be_missing(sources: Sequence[ir.Value], output: ir.Value) -> list[bool]:
    """Whether some values of each input may be missing: a Where lies between it and all that computes with it.

    All inputs are followed at once: the set of those whose missing values a value may hold is one integer.
    """
    places = {source: 1 << k for k, source in enumerate(sources)}
    holding = dict(places)
    replaced = exposed = 0
    for node in needed_nodes([output]):
        held = [value for value in inputs_of(node) if value in holding]
        if not held or _harmless(node):
            continue
        if _carries(node):
            carried = functools.reduce(operator.or_, (holding[value] for value in held))
            replaced |= carried if node.op_type == "Where" else 0
            for value in node.outputs:
                holding[value] = carried | places.get(value, 0)
        else:
            for value in held:
                exposed |= places.get(value, 0)
    return [
        bool(replaced >> k & 1) and not exposed >> k & 1 and source is not output
        for k, source in enumerate(sources)
    ]


def _harmless(node: ir.Node) -> bool:
    compares_itself = node.op_type == "Equal" and node.inputs[0] is node.inputs[1]
    return node.op_type in _HARMLESS or compares_itself


def _carries(node: ir.Node) -> bool:
    return node.op_type in _CARRY and all(is_float(value) for value in node.outputs)
