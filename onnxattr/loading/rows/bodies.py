"""Which rows the results of If, Loop and Scan depend on: see row_walk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.graph.subgraphs import subgraphs_of
from onnxattr.loading.rows.sets import Seen, compact, constant, nothing, over, unseen

#: Steps that are followed one by one. Of more, which all are alike, as many as the states take to settle.
_STEPS = 16
_SETTLED = 8
Results = list[Seen]
_ROW = Seen((), np.ones((), np.uint8))


def _joined(first: Seen, second: Seen) -> Seen:
    """A value that is one or the other."""
    if first.shape is None or first.shape != second.shape:
        return unseen(None, first, second)
    known = first.known
    if known is not None and (second.known is None or not np.array_equal(known, second.known)):
        known = None
    rows = first.rows if first.rows is second.rows else first.rows | second.rows
    return Seen(first.shape, rows, known, first.same and second.same and known is not None)


def _with_condition(seen: Seen, condition: Seen) -> Seen:
    """A value of which a condition decides whether it is this one."""
    bits = over(condition.rows.reshape(-1), [0])[0] if condition.rows.any() else 0
    return Seen(seen.shape, seen.rows | bits, seen.known, seen.same) if bits else seen


def _if(walk: Any, node: ir.Node, operands: Sequence[Any]) -> Results:
    condition = operands[0]
    branches = [node.attributes[name].as_graph() for name in ("then_branch", "else_branch")]
    if condition.known is not None and not condition.rows.any():
        branches = [branches[0] if condition.known.reshape(-1)[0] else branches[1]]
    results = []
    for branch in branches:
        walk.walk(branch)
        results.append([walk.see(value) for value in branch.outputs])
    total = results[0]
    for result in results[1:]:
        total = [_joined(a, b) for a, b in zip(total, result, strict=True)]
    return [_with_condition(seen, condition) for seen in total]


def _step(walk: Any, node: ir.Node, body: ir.Graph, given: Sequence[Seen]) -> Results:
    for value, seen in zip(body.inputs, given, strict=True):
        walk.put(value, seen, node, node.inputs)
    walk.walk(body)
    return [walk.see(value) for value in body.outputs]


def _settled(step: Callable[[Results], Results], states: Results) -> tuple[Results, Results]:
    """The states after any number of alike steps, and what each step gives beside them."""
    for _ in range(_SETTLED):
        result = step(states)
        new = [_joined(old, seen) for old, seen in zip(states, result, strict=False)]
        new = [Seen(seen.shape, seen.rows) for seen in new]
        if all(
            a.shape == b.shape
            and a.known is None
            and a.rows.shape == b.rows.shape
            and (a.rows == b.rows).all()
            for a, b in zip(states, new, strict=True)
        ):
            return new, result[len(states) :]
        states = new
    return [unseen(None, state) for state in states], [unseen(None, part) for part in result[len(states) :]]


def _stacked(parts: Sequence[Seen], axis: int) -> Seen:
    """The results of all steps as one value."""
    shapes = {part.shape for part in parts}
    shape = parts[0].shape if parts else None
    if shape is None or len(shapes) > 1:
        return unseen(None, *parts)
    rank = len(shape) + 1
    axis %= rank
    full = np.broadcast_shapes(*[part.rows.shape for part in parts])
    rows = np.stack([np.broadcast_to(part.rows, full) for part in parts], axis)
    return Seen((*shape[:axis], len(parts), *shape[axis:]), compact(rows))


def _repeated(part: Seen, count: int | None, axis: int) -> Seen:
    """The results of alike steps as one value."""
    if part.shape is None or count is None:
        return unseen(None, part)
    axis %= len(part.shape) + 1
    return Seen((*part.shape[:axis], count, *part.shape[axis:]), np.expand_dims(part.rows, axis))


def _loop(walk: Any, node: ir.Node, operands: Sequence[Any]) -> Results:
    (body,), (trips, go, *states) = subgraphs_of(node), operands
    count = int(trips.known.reshape(-1)[0]) if trips is not None and trips.known is not None else None
    ends = [limit.rows for limit in (trips, go) if limit is not None and limit.known is None]
    decided = go is None or (go.known is not None and bool(go.known.reshape(-1)[0]))
    true = constant(np.array(True))
    if count is not None and decided and count <= _STEPS:
        stacks: list[list[Seen]] = []
        for number in range(count):
            goes_on, *rest = _step(walk, node, body, [constant(np.array(number)), true, *states])
            if goes_on.known is None or not goes_on.known.reshape(-1)[0]:
                break
            states, slices = rest[: len(states)], rest[len(states) :]
            stacks.append(slices)
        else:
            slots = len(body.outputs) - 1 - len(states)
            if count or not slots:
                return [*states, *(_stacked([stack[k] for stack in stacks], 0) for k in range(slots))]
        states = list(operands[2:])
    whole = [True]

    def step(given: Results) -> Results:
        goes_on, *rest = _step(walk, node, body, [Seen((), nothing(0)), Seen((), nothing(0)), *given])
        if goes_on.known is None or not goes_on.known.reshape(-1)[0]:
            ends.append(goes_on.rows)
            whole[0] = False
        return rest

    states = [Seen(state.shape, state.rows) for state in states]
    final, slices = _settled(step, states)
    results = [*final, *(_repeated(part, count if decided and whole[0] else None, 0) for part in slices)]
    # Rows that go on together may still stand still each for itself: that cannot be seen.
    together = any(rows.any() for rows in ends)
    return [unseen(seen.shape, seen, _ROW) if together else seen for seen in results]


def _scan(walk: Any, node: ir.Node, operands: Sequence[Any]) -> Results:
    (body,), scanned = subgraphs_of(node), node.attributes.get_int("num_scan_inputs")
    states, xs = list(operands[: len(operands) - scanned]), operands[len(operands) - scanned :]
    axes = list(node.attributes.get_ints("scan_input_axes", [0] * scanned))
    axes = [axis % len(x.shape) for axis, x in zip(axes, xs, strict=True)]
    back = list(node.attributes.get_ints("scan_input_directions", [0] * scanned))
    slots = len(body.outputs) - len(states)
    out_axes = list(node.attributes.get_ints("scan_output_axes", [0] * slots))
    out_back = list(node.attributes.get_ints("scan_output_directions", [0] * slots))
    count = xs[0].shape[axes[0]]

    def slices(number: int) -> Results:
        parts = []
        for x, axis, backwards in zip(xs, axes, back, strict=True):
            at = 0 if x.rows.shape[axis] == 1 else (count - 1 - number if backwards else number)
            parts.append(Seen((*x.shape[:axis], *x.shape[axis + 1 :]), x.rows.take(at, axis)))
        return parts

    alike = all(x.rows.shape[axis] == 1 for x, axis in zip(xs, axes, strict=True))
    if alike and count > _STEPS:
        final, parts = _settled(lambda given: _step(walk, node, body, [*given, *slices(0)]), states)
        return [*final, *(_repeated(part, count, axis) for part, axis in zip(parts, out_axes, strict=True))]
    stacks: list[Results] = []
    for number in range(count):
        result = _step(walk, node, body, [*states, *slices(number)])
        states = result[: len(states)]
        stacks.append(result[len(states) :])
    turned = [[stack[k] for stack in stacks][:: -1 if out_back[k] else 1] for k in range(slots)]
    return [*states, *(_stacked(parts, axis) for parts, axis in zip(turned, out_axes, strict=True))]


BODIES = {"If": _if, "Loop": _loop, "Scan": _scan}
