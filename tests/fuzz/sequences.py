"""Models of sequences of any length: nothing in them holds the length that they were drawn with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fuzz import patterns
from fuzz.draft import Array, Draft, Value, keep
from fuzz.layers import recurrence
from fuzz.spelled_out import gate

#: Batch and length of further inputs.
SIZES = ((1, 6), (4, 3), (2, 9))


def further_points(rng: np.random.Generator, width: int) -> list[Array]:
    """Inputs of other batches and lengths."""
    return [rng.normal(size=(batch, time, width)).astype(np.float32) for batch, time in SIZES]


def _projected(d: Draft, x: Value) -> Value:
    return patterns.active(d, patterns.product(d, x, d.pick(2, 3, 4)))


def _normed(d: Draft, x: Value) -> Value:
    small = keep(x.shape, 2, 1)
    centred = d.add("Sub", x, d.with_axes("ReduceMean", x, [2], small, since=18, keepdims=1).name)
    square = d.with_axes("ReduceMean", d.add("Mul", centred, centred.name), [2], small, since=18, keepdims=1)
    root = d.add("Sqrt", d.add("Add", square, d.constant(np.float32(0.1))))
    return d.add("Div", centred, root.name)


def _length(d: Draft, x: Value) -> str:
    """The number of steps, as a vector of one element."""
    return d.node("Gather", [d.node("Shape", [x.name]), d.constant([1], np.int64)])


def _convolved(d: Draft, x: Value) -> Value:
    """A convolution over time that keeps the length, now and then causal or of every second step."""
    kernel, turned = d.pick(2, 3), (x.shape[0], x.shape[2], x.shape[1])
    y = d.add("Transpose", x, perm=[0, 2, 1], shape=turned)
    w = d.constant(d.normal(3, x.shape[2], kernel, scale=0.5))
    stride = d.pick(1, 1, 2)
    time = (x.shape[1] - 1) // stride + 1
    pads = [kernel - 1, 0] if kernel == 2 or d.chance(0.5) else [1, 1]
    y = d.add("Conv", y, w, shape=(x.shape[0], 3, time), kernel_shape=[kernel], pads=pads, strides=[stride])
    return d.add("Transpose", y, perm=[0, 2, 1], shape=(x.shape[0], time, 3))


def _shifted(d: Draft, x: Value) -> Value:
    """x with what was one step before, or backwards, by slices."""
    if d.opset < 10:
        return d.add("Tanh", x)
    if d.chance(0.4):
        ends = [d.constant(v, np.int64) for v in ([-1], [-(2**31)], [1], [-1])]
        return d.add("Add", x, d.add("Slice", x, *ends).name)
    one, big, zero, least = (d.constant([v], np.int64) for v in (1, 2**31, 0, -1))
    later = d.node("Slice", [x.name, one, big, one])
    earlier = d.node("Slice", [x.name, zero, least, one])
    change = d.node("Sub", [later, earlier])
    first = d.node("Slice", [x.name, zero, one, one])
    return Value(d.node("Concat", [first, change], axis=1), x.shape)


def _placed(d: Draft, x: Value) -> Value:
    """A table of positions, as much of it as there are steps."""
    if d.opset < 10:
        return d.add("Sin", x)
    table = d.constant(d.normal(1, 12, x.shape[2]))
    zero, one = (d.constant([v], np.int64) for v in (0, 1))
    part = d.node("Slice", [table, zero, _length(d, x), one])
    return d.add(d.pick("Add", "Mul"), x, part)


def _heads(d: Draft, x: Value) -> Value:
    """Attention whose causal mask is made for the length at hand."""
    width = 4
    target = d.constant([0, 0, 2, 2], np.int64)
    shape = (*x.shape[:2], 2, 2)

    def split(*perm: int) -> Value:
        y = d.add("Reshape", patterns.product(d, x, width), target, shape=shape)
        return d.add("Transpose", y, perm=list(perm), shape=tuple(shape[p] for p in perm))

    q, v, k = split(0, 2, 1, 3), split(0, 2, 1, 3), split(0, 2, 3, 1)
    scores = Value(d.node("MatMul", [q.name, k.name]), (x.shape[0], 2, x.shape[1], x.shape[1]))
    if d.opset >= 14 and d.chance(0.6):
        length = _length(d, x)
        square = d.node("Concat", [length, length], axis=0)
        full = d.node("Expand", [d.constant(np.float32(d.pick(-np.inf, -1e9))), square])
        above = d.node("Trilu", [full, d.constant(1, np.int64)], upper=1)
        scores = d.add("Add", scores, above)
    y = Value(d.node("MatMul", [d.add("Softmax", scores, axis=3).name, v.name]), tuple(q.shape))
    y = d.add("Transpose", y, perm=[0, 2, 1, 3], shape=shape)
    return d.add("Reshape", y, d.constant([0, 0, -1], np.int64), shape=(*x.shape[:2], width))


def _summed(d: Draft, x: Value) -> Value:
    return d.add("CumSum", x, d.constant(1, np.int64)) if d.opset >= 11 else d.add("Tanh", x)


def _repeated(d: Draft, x: Value) -> Value:
    """The mean of all steps beside each of them."""
    mean = d.with_axes("ReduceMean", x, [1], keep(x.shape, 1, 1), since=18, keepdims=1)
    wide = d.add("Expand", mean, d.node("Shape", [x.name]), shape=x.shape)
    return Value(d.node("Concat", [x.name, wide.name], axis=2), keep(x.shape, 2, 2 * x.shape[2]))


_STEPS: tuple[Callable[[Draft, Value], Value], ...] = (
    _projected, _projected, _normed, _convolved, _convolved, _shifted, _placed, _heads, _heads, _summed, _repeated,
    gate,
)  # fmt: skip


def chain(d: Draft, x: Value) -> Value:
    """Layers over a sequence, and its end: the mean, the largest or the last step, or all of them."""
    for _ in range(d.pick(2, 3, 4, 5)):
        y = recurrence(d, x) if d.chance(0.15) and not d.mixing else d.pick(*_STEPS)(d, x)
        x = y if y.shape[1] > 1 and y.shape[2] <= 12 else x
    kind = d.pick("mean", "largest", "last", "all")
    if kind == "all":
        return patterns.product(d, x, 3)
    if kind == "last":
        last = d.constant(-1 if d.opset >= 11 else 0, np.int64)
        x = d.add("Gather", x, last, axis=1, shape=(x.shape[0], x.shape[2]))
    else:
        op = "ReduceMean" if kind == "mean" else "ReduceMax"
        x = d.with_axes(op, x, [1], (x.shape[0], x.shape[2]), since=18, keepdims=0)
    return patterns.product(d, x, 3)
