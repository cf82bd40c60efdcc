"""Operators that move, cut, join and reduce values, with the shape arithmetic that exporters write."""

from __future__ import annotations

import math

import numpy as np

from fuzz.draft import Draft, Value, keep

_REDUCTIONS = ("Sum", "Mean", "Max", "Min", "L1", "L2", "LogSumExp", "Prod", "SumSquare")


def _axis(d: Draft, x: Value) -> int:
    """Any axis but the first."""
    return int(d.rng.integers(1, x.rank))


def _signed(d: Draft, axis: int, rank: int) -> int:
    return axis - rank if d.chance(0.4) else axis


def transposed(d: Draft, x: Value) -> Value:
    """The inner axes in another order."""
    perm = [0, *(1 + d.rng.permutation(x.rank - 1)).tolist()]
    return d.add("Transpose", x, perm=perm, shape=tuple(x.shape[p] for p in perm))


def there_and_back(d: Draft, x: Value) -> Value:
    """The batch moved to another axis, an elementwise operator there, and back."""
    perm = d.rng.permutation(x.rank).tolist()
    y = d.add("Transpose", x, perm=perm, shape=tuple(x.shape[p] for p in perm))
    y = d.add(d.pick("Tanh", "Relu", "Sigmoid", "Neg"), y)
    return d.add("Transpose", y, perm=np.argsort(perm).tolist(), shape=x.shape)


def reshaped(d: Draft, x: Value) -> Value:
    """All inner axes as one, by 0 and -1, or by sizes read from the value itself."""
    count = math.prod(x.shape[1:])
    target: tuple[int, ...] = (x.shape[0], count)
    inner = [k for k in (2, 3) if count % k == 0]
    if inner and d.chance(0.6):
        k = d.pick(*inner)
        target = (x.shape[0], k, count // k)
    if d.chance(0.5):
        return d.add("Reshape", x, d.constant([0, *target[1:-1], -1], np.int64), shape=target)
    first = d.node("Gather", [d.node("Shape", [x.name]), d.constant([0], np.int64)])
    rest = d.constant([*target[1:-1], -1], np.int64)
    return d.add("Reshape", x, d.node("Concat", [first, rest], axis=0), shape=target)


def merged(d: Draft, x: Value) -> Value:
    """The batch merged with the next axis for a product with weights, and split again."""
    if x.rank < 3:
        return reshaped(d, x)
    last = x.shape[-1]
    flat = Value(
        d.node("Reshape", [x.name, d.constant([-1, last], np.int64)]), (math.prod(x.shape[:-1]), last)
    )
    y = d.add("MatMul", flat, d.constant(d.normal(last, last, scale=0.6)))
    y = d.add(d.pick("Relu", "Tanh"), y)
    return d.add("Reshape", y, d.constant([-1, *x.shape[1:]], np.int64), shape=x.shape)


def flattened(d: Draft, x: Value) -> Value:
    """Flatten."""
    return d.add("Flatten", x, shape=(x.shape[0], math.prod(x.shape[1:])))


def with_one_more_axis(d: Draft, x: Value) -> Value:
    """Unsqueeze, perhaps an operator, and Squeeze."""
    axis = int(d.rng.integers(1, x.rank + 1))
    wide = (*x.shape[:axis], 1, *x.shape[axis:])
    y = d.with_axes("Unsqueeze", x, [axis], wide, since=13)
    if d.chance(0.4) and y.rank <= 4:
        return y
    return d.with_axes("Squeeze", d.add("Tanh", y), [axis], x.shape, since=13)


def joined(d: Draft, x: Value) -> Value:
    """Concat with an earlier value or itself."""
    axis = _axis(d, x)
    other = d.pick(
        *[v for v in d.values if v.rank == x.rank and keep(v.shape, axis, 0) == keep(x.shape, axis, 0)] or [x]
    )
    shape = keep(x.shape, axis, x.shape[axis] + other.shape[axis])
    return d.add("Concat", x, other.name, shape=shape, axis=_signed(d, axis, x.rank))


def sliced(d: Draft, x: Value) -> Value:
    """Slice along one or two inner axes, backwards too, with ends far outside."""
    axes = sorted({_axis(d, x) for _ in range(2)})
    starts, ends, steps, shape = [], [], [], x.shape
    for axis in axes:
        size = shape[axis]
        start, end, step = d.pick(
            (0, size, 1), (1, 99, 1), (-2, 2**31 - 1, 1), (0, 99, 2), (-1, -99, -1), (0, -1, 1)
        )
        if d.opset < 10 and step != 1:
            start, end, step = 0, size, 1
        if size == 1:
            start, end, step = 0, 99, 1
        starts, ends, steps = [*starts, start], [*ends, end], [*steps, step]
        shape = keep(shape, axis, len(range(size)[slice(start, end if end != -99 else None, step)]))
    if d.opset < 10:
        return d.add("Slice", x, shape=shape, axes=axes, starts=starts, ends=ends)
    given = [d.constant(v, np.int64) for v in (starts, ends, [_signed(d, a, x.rank) for a in axes], steps)]
    return d.add("Slice", x, *given, shape=shape)


def padded(d: Draft, x: Value) -> Value:
    """Pad of inner axes in three modes."""
    axis = _axis(d, x)
    mode = d.pick("constant", "edge", "reflect") if x.shape[axis] > 2 else "constant"
    pads = [0] * (2 * x.rank)
    pads[axis], pads[axis + x.rank] = d.pick((1, 0), (1, 2), (0, 1))
    shape = keep(x.shape, axis, x.shape[axis] + pads[axis] + pads[axis + x.rank])
    if d.opset < 11:
        return d.add("Pad", x, shape=shape, mode=mode, pads=pads, value=0.5)
    if d.opset >= 18 and d.chance(0.3):
        short = [d.constant([pads[axis], pads[axis + x.rank]], np.int64), "", d.constant([axis], np.int64)]
        return d.add("Pad", x, *short, shape=shape, mode=mode)
    value = [d.constant(np.float32(0.5))] if mode == "constant" else []
    return d.add("Pad", x, d.constant(pads, np.int64), *value, shape=shape, mode=mode)


def gathered(d: Draft, x: Value) -> Value:
    """Gather of positions, some twice, some from the end."""
    axis = _axis(d, x)
    size = x.shape[axis]
    low = -size if d.opset >= 11 else 0
    if d.chance(0.25) and x.rank > 2:
        return d.add(
            "Gather",
            x,
            d.constant(int(d.rng.integers(low, size)), np.int64),
            axis=axis,
            shape=x.shape[:axis] + x.shape[axis + 1 :],
        )
    positions = d.rng.integers(low, size, size=3)
    return d.add("Gather", x, d.constant(positions, np.int64), axis=axis, shape=keep(x.shape, axis, 3))


def parted(d: Draft, x: Value) -> Value:
    """Split in two, one part changed, and joined again; or one part alone."""
    axis = _axis(d, x)
    size = x.shape[axis]
    if size < 2:
        return joined(d, x)
    sizes = [1, size - 1]
    if d.opset < 13:
        name = d.node("Split", [x.name], outputs=2, axis=axis, split=sizes)
    else:
        name = d.node("Split", [x.name, d.constant(sizes, np.int64)], outputs=2, axis=axis)
    if d.chance(0.4):
        return Value(f"{name}_1", keep(x.shape, axis, size - 1))
    return Value(d.node("Concat", [f"{name}_1", d.node("Tanh", [name])], axis=axis), x.shape)


def repeated(d: Draft, x: Value) -> Value:
    """Tile or Expand along an inner axis."""
    axis = _axis(d, x)
    if x.shape[axis] == 1:
        sizes = [1] * x.rank
        sizes[axis] = 3
        return d.add("Expand", x, d.constant(sizes, np.int64), shape=keep(x.shape, axis, 3))
    times = [1] * x.rank
    times[axis] = 2
    return d.add("Tile", x, d.constant(times, np.int64), shape=keep(x.shape, axis, 2 * x.shape[axis]))


def reduced(d: Draft, x: Value) -> Value:
    """A reduction over one or all inner axes."""
    kind = d.pick(*_REDUCTIONS)
    axes = [_axis(d, x)] if d.chance(0.7) else list(range(1, x.rank))
    kept = len(axes) == x.rank - 1 or d.chance(0.5)
    shape = tuple(1 if a in axes else n for a, n in enumerate(x.shape) if kept or a not in axes)
    axes = [_signed(d, a, x.rank) if d.opset >= 11 else a for a in axes]
    return d.with_axes(f"Reduce{kind}", x, axes, shape, since=13 if kind == "Sum" else 18, keepdims=int(kept))


def normalised(d: Draft, x: Value) -> Value:
    """x over its norm or deviation plus a small number, which is 0 / small at x = 0."""
    axis = _axis(d, x)
    shape = keep(x.shape, axis, 1)
    y = x
    if d.chance(0.5):
        mean = d.with_axes("ReduceMean", x, [axis], shape, since=18, keepdims=1)
        y = Value(d.node("Sub", [x.name, mean.name]), x.shape)
    norm = d.with_axes("ReduceL2", y, [axis], shape, since=18, keepdims=1)
    if d.chance(0.5):
        norm = d.add("Sqrt", d.with_axes("ReduceSumSquare", y, [axis], shape, since=18, keepdims=1))
    small = d.add(d.pick("Add", "Max"), norm, d.constant(np.float32(0.01)))
    return Value(d.node("Div", [y.name, small.name]), x.shape)


def largest(d: Draft, x: Value) -> Value:
    """TopK along the last axis."""
    k = max(1, x.shape[-1] - 1)
    if d.opset < 10:
        name = d.node("TopK", [x.name], outputs=2, k=k)
    else:
        name = d.node("TopK", [x.name, d.constant([k], np.int64)], outputs=2)
    return Value(name, (*x.shape[:-1], k))


def summed_up(d: Draft, x: Value) -> Value:
    """CumSum along an inner axis, forwards or backwards."""
    if d.opset < 11:
        return reduced(d, x)
    return d.add("CumSum", x, d.constant(_axis(d, x), np.int64), exclusive=d.pick(0, 1), reverse=d.pick(0, 1))


def triangular(d: Draft, x: Value) -> Value:
    """Trilu of the last two axes."""
    return d.add("Trilu", x, upper=d.pick(0, 1)) if d.opset >= 14 and x.rank > 2 else transposed(d, x)


def softened(d: Draft, x: Value) -> Value:
    """Softmax and its kin along the last axis; below opset 13 over all axes from one on."""
    op = d.pick("Softmax", "Softmax", "LogSoftmax", "LpNormalization", "Hardmax")
    if op == "LpNormalization":
        return d.add(op, d.add("Exp", d.add("Tanh", x)), axis=_axis(d, x), p=d.pick(1, 2))
    axis = _axis(d, x)
    y = d.add(op, x, axis=_signed(d, axis, x.rank) if d.opset >= 13 else axis)
    # Steps have no gradient: alone they would end the model's dependence on its input.
    return d.add("Mul", x, y.name) if op == "Hardmax" else y
