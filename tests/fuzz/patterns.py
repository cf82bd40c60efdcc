"""What networks are made of: shared weights, wide pools, heads, gates, dense blocks, decoders, recurrences."""

from __future__ import annotations

import math

import numpy as np

from fuzz.draft import Draft, Value, keep
from fuzz.layers import as_image, recurrence


def tokens(d: Draft, x: Value) -> Value:
    """(N, T, C): a row as one channel, an image as a sequence of its places."""
    if x.rank == 2:
        return d.with_axes("Unsqueeze", x, [2], (*x.shape, 1), since=13)
    if x.rank == 3:
        return x
    flat = (*x.shape[:2], math.prod(x.shape[2:]))
    y = d.add("Reshape", x, d.constant([0, 0, -1], np.int64), shape=flat)
    return d.add("Transpose", y, perm=[0, 2, 1], shape=(flat[0], flat[2], flat[1]))


def product(d: Draft, x: Value, width: int) -> Value:
    """A product with weights along the last axis."""
    w = d.constant(d.normal(x.shape[-1], width, scale=0.6))
    return d.add("MatMul", x, w, shape=(*x.shape[:-1], width))


def pointwise(d: Draft, x: Value, channels: int) -> Value:
    """A convolution of one place."""
    w = d.constant(d.normal(channels, x.shape[1], *[1] * (x.rank - 2), scale=0.5))
    return d.add("Conv", x, w, shape=(x.shape[0], channels, *x.shape[2:]))


def active(d: Draft, x: Value) -> Value:
    """An activation, or none."""
    kind = d.pick("Relu", "Tanh", "Sigmoid", "LeakyRelu", "")
    return d.add(kind, x) if kind else x


def shared_weights(d: Draft, x: Value) -> Value:
    """One initializer read by two nodes: twice alike, or transposed the second time as tied weights are."""
    if x.rank == 4 and d.chance(0.5):
        return _shared_kernel(d, x)
    size, tied = x.shape[-1], d.chance(0.6)
    width = d.pick(2, 3, 5) if tied else size
    w = d.constant(d.normal(size, width, scale=0.6))
    if x.rank == 2 and d.chance(0.5):
        more = () if d.opset >= 11 else (d.constant(np.zeros(1, np.float32)),)
        y = active(d, d.add("Gemm", x, w, *more, shape=(x.shape[0], width)))
        return d.add("Gemm", y, w, *more, shape=x.shape, transB=int(tied), alpha=0.7)
    y = active(d, d.add("MatMul", x, w, shape=(*x.shape[:-1], width)))
    y = d.add("MatMul", y, d.node("Transpose", [w], perm=[1, 0]) if tied else w, shape=x.shape)
    return d.add("Add", y, x.name) if d.chance(0.4) else y


def _shared_kernel(d: Draft, x: Value) -> Value:
    channels, size = x.shape[1], d.pick(1, 3)
    w = d.constant(d.normal(channels, channels, size, size, scale=0.4))
    same = {"pads": [size // 2] * 4, "kernel_shape": [size, size]}
    y = active(d, d.add("Conv", x, w, **same))
    return d.add(d.pick("Conv", "ConvTranspose"), y, w, **same)


def wide_pool(d: Draft, x: Value) -> Value:
    """Pools of many channels, which the runtime computes in blocks of 8 or 16, or of a number that fills none."""
    x = as_image(d, x)
    y = active(d, pointwise(d, x, d.pick(8, 16, 17, 24)))
    space = y.shape[2:]
    if d.chance(0.4):
        # Not GlobalLpPool, which neither the runtime nor onnx's evaluator has in float64.
        kind = d.pick("GlobalAveragePool", "GlobalMaxPool")
        y = d.add(kind, y, shape=(*y.shape[:2], *[1] * len(space)))
        return pointwise(d, y, 2)
    kernel = [min(d.pick(1, 2, 3), n) for n in space]
    strides, pads = [d.pick(1, 2) for _ in space], [d.pick(0, k // 2) for k in kernel] * 2
    kind = d.pick("AveragePool", "AveragePool", "LpPool", "MaxPool")
    more = {"count_include_pad": d.pick(0, 1)} if kind == "AveragePool" else {}
    if kind == "LpPool":
        more = {"p": d.pick(1, 2, 3)}
    sizes = [(n + 2 * p - k) // s + 1 for n, p, k, s in zip(space, pads, kernel, strides, strict=False)]
    shape = (*y.shape[:2], *sizes)
    y = d.add(kind, y, shape=shape, kernel_shape=kernel, strides=strides, pads=pads, **more)
    return pointwise(d, y, d.pick(2, 3))


def heads(d: Draft, x: Value) -> Value:
    """Attention of two heads, made by Reshape and Transpose; causal, with a masked key, or open."""
    x = tokens(d, x)
    batch, time, width = x.shape[0], x.shape[1], d.pick(2, 4)
    wide, many = (batch, time, 2, width // 2), (batch, 2, time, width // 2)

    def split(value: Value, *perm: int) -> Value:
        y = d.add("Reshape", value, d.constant([0, d.pick(0, -1), 2, width // 2], np.int64), shape=wide)
        return d.add("Transpose", y, perm=list(perm), shape=tuple(wide[p] for p in perm))

    q, v = (split(product(d, x, width), 0, 2, 1, 3) for _ in range(2))
    k = split(product(d, x, width), 0, 2, 3, 1)
    scale = d.constant(np.float32(1 / math.sqrt(width // 2)))
    before = d.chance(0.5)
    q = d.add("Mul", q, scale) if before else q
    scores = Value(d.node("MatMul", [q.name, k.name]), (batch, 2, time, time))
    scores = scores if before else d.add("Mul", scores, scale)
    y = Value(d.node("MatMul", [d.add("Softmax", _masked(d, scores), axis=3).name, v.name]), many)
    y = d.add("Transpose", y, perm=[0, 2, 1, 3], shape=wide)
    y = d.add("Reshape", y, d.constant([0, 0, width], np.int64), shape=(batch, time, width))
    return d.add("Add", product(d, y, x.shape[2]), x.name) if d.chance(0.6) else y


def _masked(d: Draft, scores: Value) -> Value:
    time, kind = scores.shape[-1], d.pick("open", "causal", "last key", "where")
    if kind == "open":
        return scores
    allowed = np.tril(np.ones((time, time), bool))
    if kind == "last key":
        allowed = np.arange(time)[None] < max(1, time - 1)
    if kind == "where":
        low = d.constant(np.float32(d.pick(-np.inf, -1e9)))
        return Value(d.node("Where", [d.constant(allowed), scores.name, low]), scores.shape)
    mask = np.where(allowed, 0, d.pick(-np.inf, -1e9)).astype(np.float32)
    return d.add("Add", scores, d.constant(mask[None, None] if d.chance(0.5) else mask))


def parts(d: Draft, x: Value) -> Value:
    """All parts of a value used: by Split or Slices, each changed in its own way, joined in another order or summed."""
    axis = int(d.rng.integers(1, x.rank))
    size = x.shape[axis]
    if size < 2:
        return shared_weights(d, x)
    equal = size % 2 == 0 and d.chance(0.6)
    sizes = [size // 2] * 2 if equal else [1, *([1] if size > 2 else []), size - (2 if size > 2 else 1)]
    pieces = _pieces(d, x, axis, sizes)
    changed = [
        d.add(op, piece) if op else piece for op, piece in zip(("Tanh", "", "Sin"), pieces, strict=False)
    ]
    if equal:
        first, second = changed
        if d.chance(0.5):
            return d.add("Mul", pieces[0], d.add("Sigmoid", second).name)  # a gated linear unit
        return d.add(d.pick("Add", "Sub", "Max"), first, second.name)
    order = [changed[int(k)] for k in d.rng.permutation(len(changed))]
    return Value(d.node("Concat", [v.name for v in order], axis=axis), x.shape)


def _pieces(d: Draft, x: Value, axis: int, sizes: list[int]) -> list[Value]:
    shapes = [keep(x.shape, axis, n) for n in sizes]
    if d.chance(0.5):
        if d.opset < 13:
            name = d.node("Split", [x.name], outputs=len(sizes), axis=axis, split=sizes)
        else:
            name = d.node("Split", [x.name, d.constant(sizes, np.int64)], outputs=len(sizes), axis=axis)
        return [Value(f"{name}_{k}" if k else name, shape) for k, shape in enumerate(shapes)]
    found, start = [], 0
    for n, shape in zip(sizes, shapes, strict=True):
        ends = start + n
        if d.opset < 10:
            found.append(d.add("Slice", x, shape=shape, axes=[axis], starts=[start], ends=[ends]))
        else:
            given = [d.constant([v], np.int64) for v in (start, ends, axis)]
            found.append(d.add("Slice", x, *given, shape=shape))
        start = ends
    return found


def dense_block(d: Draft, x: Value) -> Value:
    """Two layers that each read all before them, as in DenseNet; with a residual or without."""
    image = x.rank > 2
    for _ in range(2):
        y = active(d, pointwise(d, x, 2) if image else product(d, x, 2))
        if d.chance(0.3):
            y = d.add("Add", y, d.add("Tanh", y).name)
        axis = 1 if image else x.rank - 1
        shape = keep(x.shape, axis, x.shape[axis] + 2)
        x = Value(d.node("Concat", [x.name, y.name][:: d.pick(1, -1)], axis=axis), shape)
    return pointwise(d, x, 2) if image else product(d, x, 3)


def squeeze_excite(d: Draft, x: Value) -> Value:
    """Channels, each multiplied by a gate that reads the mean of all."""
    x = as_image(d, x)
    channels, ones = x.shape[1], [1] * (x.rank - 2)
    small = (*x.shape[:2], *ones)
    if d.chance(0.5):
        mean = d.add("GlobalAveragePool", x, shape=small)
    else:
        mean = d.with_axes("ReduceMean", x, list(range(2, x.rank)), small, since=18, keepdims=1)
    last = d.pick("Sigmoid", "HardSigmoid", "Tanh")
    if d.chance(0.5):
        gate = d.add(last, pointwise(d, d.add("Relu", pointwise(d, mean, 3)), channels))
    else:
        flat = d.add("Flatten", mean, shape=small[:2])
        gate = d.add(last, product(d, d.add("Relu", product(d, flat, 3)), channels))
        gate = d.add("Reshape", gate, d.constant([-1, channels, *ones], np.int64), shape=small)
    y = Value(d.node("Mul", [x.name, gate.name][:: d.pick(1, -1)]), x.shape)
    return d.add("Add", y, x.name) if d.chance(0.4) else y


def decoder(d: Draft, x: Value) -> Value:
    """Down by a pool or a stride, up by a Resize to the sizes of what it is joined with."""
    if x.rank != 4 or d.opset < 11 or min(x.shape[2:]) < 2:
        return squeeze_excite(d, x)
    half = (*x.shape[:2], *(n // 2 for n in x.shape[2:]))
    down = d.add(d.pick("MaxPool", "AveragePool"), x, shape=half, kernel_shape=[2, 2], strides=[2, 2])
    down = active(d, pointwise(d, down, 2))
    sizes = [d.node("Shape", [value.name]) for value in (down, x)]
    ends = [d.constant(v, np.int64) for v in ([0], [2], [4])]
    target = d.node("Concat", [d.node("Slice", [sizes[k], *ends[k : k + 2]]) for k in range(2)], axis=0)
    empty = ["", ""] if d.opset >= 13 else [d.constant(np.zeros(0, np.float32)) for _ in range(2)]
    mode = d.pick("nearest", "linear", "cubic")
    where = d.pick("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    up = d.node("Resize", [down.name, *empty, target], mode=mode, coordinate_transformation_mode=where)
    joined = Value(d.node("Concat", [x.name, up], axis=1), keep(x.shape, 1, x.shape[1] + 2))
    return active(d, pointwise(d, joined, 2))


def recurrent(d: Draft, x: Value) -> Value:
    """A recurrence between products, its first state computed from what it reads or zero."""
    x = tokens(d, x)
    if d.chance(0.4):
        return product(d, recurrence(d, active(d, product(d, x, 3))), 3)
    kind, gates = d.pick(("LSTM", 4), ("GRU", 3))
    batch, time, hidden = x.shape[0], x.shape[1], 3
    given = d.add("Transpose", x, perm=[1, 0, 2], shape=(time, batch, x.shape[2]))
    w, r = (d.constant(d.normal(1, gates * hidden, n, scale=0.6)) for n in (x.shape[2], hidden))
    b = d.constant(d.normal(1, 2 * gates * hidden, scale=0.3))
    mean = d.with_axes("ReduceMean", given, [0], (1, batch, x.shape[2]), since=18, keepdims=1)
    first = d.add("Tanh", product(d, mean, hidden))
    more = {"linear_before_reset": d.pick(0, 1)} if kind == "GRU" else {}
    y = d.node(kind, [given.name, w, r, b, "", first.name], outputs=2, hidden_size=hidden, **more)
    if d.chance(0.4):
        last = Value(f"{y}_1", (1, batch, hidden))
        return d.add("Transpose", last, perm=[1, 0, 2], shape=(batch, 1, hidden))
    outputs = Value(y, (time, 1, batch, hidden))
    return d.add(
        "Reshape",
        d.add("Transpose", outputs, perm=[2, 0, 1, 3], shape=(batch, time, 1, hidden)),
        d.constant([0, 0, -1], np.int64),
        shape=(batch, time, hidden),
    )
