"""Operands that few files have: one value several times, without elements, not finite, of computed places; no axes."""

from __future__ import annotations

import numpy as np

from fuzz.draft import Draft, Value, keep


def _axis(d: Draft, x: Value) -> int:
    """Any axis but the first."""
    return int(d.rng.integers(1, x.rank))


def _signed(d: Draft, axis: int, rank: int) -> int:
    return axis - rank if d.chance(0.5) else axis


def twice(d: Draft, x: Value) -> Value:
    """One value as several operands of a node."""
    kind = d.pick("Add", "Mul", "Max", "Min", "Sum", "Mean", "Where", "Concat", "Sub", "PRelu", "Pow", "Div")
    if kind in ("Max", "Min", "Sum", "Mean"):
        return d.add(kind, x, *[x.name] * d.pick(1, 2))
    if kind == "Where":
        chosen = d.node("Greater", [x.name, d.constant(np.float32(0.1))])
        return Value(d.node("Where", [chosen, x.name, x.name]), x.shape)
    if kind == "Concat":
        axis = _axis(d, x)
        shape, given = keep(x.shape, axis, 3 * x.shape[axis]), _signed(d, axis, x.rank)
        return d.add("Concat", x, x.name, x.name, axis=given if d.opset >= 11 else axis, shape=shape)
    if kind == "Sub":
        return d.add("Add", x, d.add("Sub", x, x.name).name)
    if kind == "Pow":
        base = d.add("Softplus", x)
        return d.add("Pow", base, base.name)
    if kind == "Div":
        base = d.add("Softplus", x)
        return d.add("Mul", x, d.add("Div", base, base.name).name)
    return d.add(kind, x, x.name)


def both_broadcast(d: Draft, x: Value) -> Value:
    """A value against itself along another axis: both operands are broadcast."""
    wide = (*x.shape[:-1], 1, x.shape[-1])
    if x.rank > 3 or np.prod(wide) * x.shape[-1] > 300:
        return twice(d, x)
    a = d.with_axes("Unsqueeze", x, [x.rank - 1], wide, since=13)
    b = d.with_axes("Unsqueeze", x, [-1 if d.opset >= 11 else x.rank], (*x.shape, 1), since=13)
    op = d.pick("Add", "Mul", "Sub", "Max", "Min", "Where", "PRelu", "Mean", "Mod", "Pow")
    shape = (*x.shape, x.shape[-1])
    if op == "Where":
        chosen = d.node("Less", [a.name, b.name])
        return Value(d.node("Where", [chosen, a.name, d.add("Sin", b).name]), shape)
    if op == "PRelu":
        size = d.node("Shape", [d.node("Add", [a.name, b.name])])
        return d.add("PRelu", Value(d.node("Expand", [a.name, size]), shape), b.name)
    if op == "Mod" and d.opset >= 10:
        low = d.add("Add", d.add("Softplus", b), d.constant(np.float32(0.5)))
        return Value(d.node("Mod", [a.name, low.name], fmod=1), shape)
    if op == "Pow":
        low = d.add("Add", d.add("Softplus", b), d.constant(np.float32(0.5)))
        return Value(d.node("Pow", [low.name, a.name]), shape)
    return Value(d.node("Add" if op == "Mod" else op, [a.name, b.name]), shape)


def no_reduction(d: Draft, x: Value) -> Value:
    """A reduction over no axis, over axes of size 1, or over all but the batch without keeping them."""
    op = "Reduce" + d.pick(
        "Sum", "Mean", "Max", "Min", "L1", "L2", "LogSumExp", "Prod", "SumSquare", "LogSum"
    )
    y = d.add("Softplus", x) if op == "ReduceLogSum" else x
    if d.opset >= (13 if op == "ReduceSum" else 18) and d.chance(0.6):
        axes = d.pick("", d.constant(np.zeros(0, np.int64)))
        given = [axes] if axes else []
        return d.add(op, y, *given, noop_with_empty_axes=1, keepdims=d.pick(0, 1))
    axis = d.pick(1, y.rank)
    wide = (*y.shape[:axis], 1, *y.shape[axis:])
    y = d.with_axes("Unsqueeze", y, [axis], wide, since=13)
    axes = [_signed(d, axis, y.rank) if d.opset >= 11 else axis]
    return d.with_axes(op, y, axes, x.shape, since=13 if op == "ReduceSum" else 18, keepdims=0)


def empty(d: Draft, x: Value) -> Value:
    """A part without elements: joined, reduced, multiplied or padded."""
    axis = _axis(d, x)
    size, nothing = x.shape[axis], keep(x.shape, axis, 0)
    kind = d.pick("slice", "split", "gather") if d.opset >= 13 else "gather"
    if kind == "slice":
        part = d.add("Slice", x, *(d.constant([v], np.int64) for v in (size, 99, axis)), shape=nothing).name
    elif kind == "split":
        sizes = d.constant(d.pick([size, 0, 0], [0, size, 0]), np.int64)
        name = d.node("Split", [x.name, sizes], outputs=3, axis=_signed(d, axis, x.rank))
        part = f"{name}_2"
    else:
        part = d.node("Gather", [x.name, d.constant(np.zeros(0, np.int64))], axis=axis)
    use = d.pick("Concat", "ReduceSum", "ReduceProd", "MatMul", "Pad", "L2")
    if use == "MatMul" and axis == x.rank - 1:
        zero = d.node("MatMul", [part, d.constant(np.zeros((0, size), np.float32))])
        return d.add("Add", d.add("Tanh", x), zero)
    if use == "Pad" and d.opset >= 11:
        pads = [0] * (2 * x.rank)
        pads[axis] = size
        return d.add("Sub", x, d.node("Pad", [part, d.constant(pads, np.int64), d.constant(np.float32(0.5))]))
    if use in ("ReduceSum", "ReduceProd", "L2"):
        op = "ReduceL2" if use == "L2" else use
        since, one = 13 if op == "ReduceSum" else 18, keep(x.shape, axis, 1)
        y = d.with_axes(op, Value(part, nothing), [axis], one, since, keepdims=1)
        return d.add("Add", x, y.name)
    return Value(d.node("Concat", [part, x.name, part], axis=axis), x.shape)


def infinite_constants(d: Draft, x: Value) -> Value:
    """Constants that are not finite and that no output shows."""
    shape = x.shape[1:]
    mask = d.rng.random(shape) < 0.6
    bad = np.where(mask, d.normal(*shape), d.pick(np.nan, np.inf, -np.inf)).astype(np.float32)
    kind = d.pick("Min", "Max", "masked", "Clip", "Div", "Exp")
    if kind in ("Min", "Max"):
        y = d.add("Min", x, d.constant(np.where(mask, np.inf, 0.3).astype(np.float32)))
        return d.add("Max", y, d.constant(np.where(mask, -np.inf, -0.3).astype(np.float32)))
    if kind == "masked":
        y = d.add(d.pick("Mul", "Add", "Sub", "Div"), x, d.constant(bad))
        return Value(d.node("Where", [d.constant(mask), y.name, d.add("Cos", x).name]), x.shape)
    if kind == "Clip" and d.opset >= 11:
        low, high = d.pick((-np.inf, 0.4), (None, np.inf), (None, None), (None, 0.2))
        return d.add("Clip", x, *("" if end is None else d.constant(np.float32(end)) for end in (low, high)))
    if kind == "Div":
        return d.add("Add", x, d.add("Div", x, d.constant(np.where(mask, np.inf, 2).astype(np.float32))).name)
    return d.add(
        "Exp", d.add("Add", d.add("Tanh", x), d.constant(np.where(mask, 0, -np.inf).astype(np.float32)))
    )


def sampled(d: Draft, x: Value) -> Value:
    """GridSample at places that are computed from what is sampled."""
    if d.opset < 16 or x.rank != 4:
        return twice(d, x)
    grid = d.add("Tanh", d.add("MatMul", x, d.constant(d.normal(x.shape[3], 2)), shape=(*x.shape[:3], 2)))
    part = Value(d.node("Mul", [grid.name, d.constant(np.float32(1.3))]), grid.shape)
    turned = d.add("Transpose", part, perm=[0, 2, 1, 3], shape=(x.shape[0], x.shape[2], x.shape[1], 2))
    mode = d.pick("bilinear", "nearest", "bicubic") if d.opset < 20 else d.pick("linear", "nearest", "cubic")
    more = {"padding_mode": d.pick("zeros", "border", "reflection"), "align_corners": d.pick(0, 1)}
    return Value(
        d.node("GridSample", [x.name, turned.name], mode=mode, **more), (*x.shape[:2], *turned.shape[1:3])
    )
