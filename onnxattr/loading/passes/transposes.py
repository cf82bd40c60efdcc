"""Transposes that take the last axis away and back, as Einsums that are written out have them, joined to one."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import onnx_ir as ir

from onnxattr.autodiff.registry import RuleTable
from onnxattr.autodiff.standard import STANDARD
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.subgraphs import graphs_of, is_standard, prune, take_place
from onnxattr.graph.values import LAYOUTS, dims_of
from onnxattr.loading.shapes.infer import DECLARED_SIZES

Dims = list[int | str | None]
#: Axes of a value before other layout operators, and the axes that hold the same elements behind them.
Block = tuple[Sequence[int], Sequence[int]]


def join_transposes(model: ir.Model, kept: Collection[ir.Value], rules: RuleTable = STANDARD) -> bool:
    """Joins Transposes around other layout operators, in subgraphs too, in place.

    Two Transposes become one where the first moves the last axis and the second brings it back: one that keeps the last
    axis copies whole rows, one that moves it copies single elements. No element changes.

    Args:
        model: The model.
        kept: Values that stay.
        rules: The rule table that the model is going to be differentiated with.

    Returns:
        Whether there were any.
    """
    if model.meta.get(DECLARED_SIZES) or any(rules.get(name) is not STANDARD.get(name) for name in LAYOUTS):
        return False
    found, main = False, OpBuilder(model.graph, model.opset_imports[""], prefix="transposes")
    for part in list(graphs_of(model.graph)):
        for node in [node for node in part if is_standard(node, "Transpose")]:
            first = _first(node, kept)
            order = None if first is None else _order(first, node)
            if first is not None and order is not None:
                found = _replace(main.inside(part), part, first, node, order) or found
    if found:
        prune(model.graph, kept)
    return found


def _first(last: ir.Node, kept: Collection[ir.Value]) -> ir.Node | None:
    """The Transpose before one, with other layout operators between, whose values nothing else reads."""
    if last.outputs[0] in kept or last.outputs[0].is_graph_output():
        return None
    value = last.inputs[0]
    while value is not None:
        node = value.producer()
        if (
            node is None
            or not is_standard(node, *LAYOUTS)
            or node.graph is not last.graph
            or len(value.uses()) != 1
            or value.is_graph_output()
            or value in kept
        ):
            return None
        if node.op_type == "Transpose":
            return node
        value = node.inputs[0]
    return None


def _order(first: ir.Node, last: ir.Node) -> list[int] | None:
    """The axes of what the first Transpose reads, in the order in which the second gives them; None to keep both."""
    given, between, behind = (dims_of(value) for value in (first.inputs[0], first.outputs[0], last.inputs[0]))
    if given is None or between is None or behind is None or 0 in (*given, *between, *behind):
        return None
    one, two = _perm(first, len(given)), _perm(last, len(behind))
    blocks = _in_order(_blocks(between, behind), two)
    if blocks is None:
        return None
    order = [one[axis] for axes, _ in blocks for axis in axes]
    moved = [axis for axis in one if given[axis] != 1]
    kept = [axis for axis in order if given[axis] != 1]
    return order if kept and kept[-1] == max(kept) != moved[-1] else None


def _perm(node: ir.Node, rank: int) -> list[int]:
    return list(node.attributes.get_ints("perm", range(rank)[::-1]))


def _blocks(before: Dims, behind: Dims) -> list[Block]:
    """Axes that hold the same elements before and behind a Reshape, as small as the sizes tell, from the first on."""
    blocks, left, right = list[Block](), len(before), len(behind)
    while left and right:
        i, j = left - 1, right - 1
        a, b = before[i], behind[j]
        if not (isinstance(a, str) and a == b):
            while isinstance(a, int) and isinstance(b, int) and a != b and (i if a < b else j):
                if a < b:
                    i, a = i - 1, _times(a, before[i - 1])
                else:
                    j, b = j - 1, _times(b, behind[j - 1])
            if not isinstance(a, int) or a != b:
                break
        blocks.append((range(i, left), range(j, right)))
        left, right = i, j
    if left or right:
        blocks.append((range(left), range(right)))
    return blocks[::-1]


def _times(a: int, b: int | str | None) -> int | None:
    return a * b if isinstance(b, int) else None


def _in_order(blocks: list[Block], perm: Sequence[int]) -> list[Block] | None:
    """The blocks as a permutation of the axes behind puts them; None where it tears one apart."""
    ordered, waiting = [block for block in blocks if not block[1]], list(perm)
    by_first = {axes[0]: (before, axes) for before, axes in blocks if axes}
    while waiting:
        block = by_first.get(waiting[0])
        if block is None or waiting[: len(block[1])] != list(block[1]):
            return None
        ordered.append(block)
        del waiting[: len(block[1])]
    return ordered


def _replace(op: OpBuilder, part: ir.Graph, first: ir.Node, last: ir.Node, order: list[int]) -> bool:
    """Writes one Transpose and a Reshape in the place of a chain, under the name of its result."""
    x, y, end = first.inputs[0], last.outputs[0], part[-1]
    sizes = [size if isinstance(size, int) else -1 for size in dims_of(y) or []]
    if x is None or sizes.count(-1) > 1:
        return False
    result = op.Reshape(op.Transpose(x, perm=order), sizes)
    take_place(last, result, end)
    return True
