"""Layers with weights: products, convolutions, pools, normalisations, attention, recurrences."""

from __future__ import annotations

import numpy as np

from fuzz.draft import Draft, Value, keep
from fuzz.structure import flattened


def dense(d: Draft, x: Value) -> Value:
    """Gemm in its variants, or MatMul of any rank."""
    width = d.pick(2, 3, 4)
    if x.rank == 2 and d.chance(0.6):
        turned = d.chance(0.5)
        w = d.normal(x.shape[1], width, scale=0.7)
        bias = (
            [d.constant(d.normal(*d.pick((width,), (1, width), (1,))))]
            if d.opset < 11 or d.chance(0.7)
            else []
        )
        return d.add(
            "Gemm",
            x,
            d.constant(w.T if turned else w),
            *bias,
            shape=(x.shape[0], width),
            transB=int(turned),
            alpha=d.pick(1.0, 0.5),
        )
    shape = (*x.shape[:-1], width)
    w = d.normal(*([1] * (x.rank - 2) if d.chance(0.2) else []), x.shape[-1], width, scale=0.7)
    return d.add("MatMul", x, d.constant(w), shape=shape)


def as_image(d: Draft, x: Value) -> Value:
    """Rank 3 or 4, channels first."""
    if x.rank >= 3:
        return x
    return d.with_axes("Unsqueeze", x, [1], (x.shape[0], 1, x.shape[1]), since=13)


def convolution(d: Draft, x: Value) -> Value:
    """Conv or ConvTranspose with strides, pads, dilations and groups."""
    x = as_image(d, x)
    space = x.shape[2:]
    kernel = [d.pick(1, min(2, n), min(3, n)) for n in space]
    channels = x.shape[1]
    strides = [d.pick(1, 1, 2) for _ in space]
    if d.chance(0.25):
        w = d.constant(d.normal(channels, 2, *kernel, scale=0.5))
        shape = (x.shape[0], 2, *((n - 1) * s + k for n, s, k in zip(space, strides, kernel, strict=True)))
        return d.add("ConvTranspose", x, w, shape=shape, strides=strides, kernel_shape=kernel)
    depthwise = channels > 1 and d.chance(0.3)
    pads = [d.pick(0, k // 2) for k in kernel] * 2
    out = channels if depthwise else d.pick(1, 2, 3)
    w = d.constant(d.normal(out, 1 if depthwise else channels, *kernel, scale=0.5))
    bias = [d.constant(d.normal(out))] if d.chance(0.5) else []
    sizes = [(n + 2 * p - k) // s + 1 for n, p, k, s in zip(space, pads, kernel, strides, strict=False)]
    more = {"group": channels} if depthwise else {}
    if d.chance(0.5):
        more["kernel_shape"] = kernel
    return d.add("Conv", x, w, *bias, shape=(x.shape[0], out, *sizes), strides=strides, pads=pads, **more)


def pool(d: Draft, x: Value) -> Value:
    """MaxPool, AveragePool, LpPool and the global ones."""
    x = as_image(d, x)
    space = x.shape[2:]
    if d.chance(0.25):
        op = d.pick("GlobalAveragePool", "GlobalMaxPool")
        return d.add(op, x, shape=(*x.shape[:2], *(1 for _ in space)))
    kernel = [d.pick(1, min(2, n), min(3, n)) for n in space]
    strides = [d.pick(1, 2) for _ in space]
    pads = [d.pick(0, k // 2) for k in kernel] * 2
    op = d.pick("MaxPool", "MaxPool", "AveragePool")
    more = {"ceil_mode": 1} if d.opset >= 10 and d.chance(0.2) else {}
    if op == "AveragePool":
        more["count_include_pad"] = d.pick(0, 1)
    sizes = []
    for n, p, k, s in zip(space, pads, kernel, strides, strict=False):
        whole = n + 2 * p - k
        size = (-(-whole // s) if more.get("ceil_mode") else whole // s) + 1
        # A window that starts behind the data and its begin pad is left out.
        sizes.append(size - 1 if more.get("ceil_mode") and (size - 1) * s >= n + p else size)
    return d.add(op, x, shape=(*x.shape[:2], *sizes), kernel_shape=kernel, strides=strides, pads=pads, **more)


def norm(d: Draft, x: Value) -> Value:
    """Batch, instance, layer and group normalisation, LRN."""
    x = as_image(d, x)
    c = x.shape[1]
    kind = d.pick(
        "BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization", "LRN"
    )
    scale, shift = (d.constant(d.normal(c)) for _ in range(2))
    if kind == "LRN":
        return d.add("LRN", x, size=3, alpha=0.1, beta=0.6, bias=1.2) if x.rank == 4 else d.add("Tanh", x)
    if kind == "LayerNormalization" and d.opset >= 17:
        return d.add(kind, x, d.constant(d.normal(x.shape[-1])), axis=-1, epsilon=d.pick(1e-5, 0.1))
    if kind == "GroupNormalization" and d.opset >= 21:
        return d.add(kind, x, scale, shift, num_groups=1, epsilon=0.1)
    if kind == "InstanceNormalization":
        return d.add(kind, x, scale, shift, epsilon=0.1)
    moments = d.constant(d.normal(c)), d.constant(np.abs(d.normal(c)) + np.float32(0.5))
    return d.add("BatchNormalization", x, scale, shift, *moments, epsilon=1e-3)


def resized(d: Draft, x: Value) -> Value:
    """Upsample, or Resize by scales or sizes."""
    if x.rank != 4:
        return pool(d, x)
    up = [d.pick(1.0, 2.0, 1.5), d.pick(1.0, 2.0, 0.6)]
    mode = d.pick("nearest", "linear")
    if d.opset < 10:
        up = [max(1.0, s) for s in up]
    shape = (
        *x.shape[:2],
        *(int(np.floor(np.float32(n) * np.float32(s))) for n, s in zip(x.shape[2:], up, strict=True)),
    )
    scales = d.constant([1, 1, *up], np.float32)
    if d.opset < 11:
        return d.add("Upsample" if d.opset < 10 else "Resize", x, scales, shape=shape, mode=mode)
    more = {
        "coordinate_transformation_mode": d.pick(
            "half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"
        )
    }
    if mode == "nearest":
        more["nearest_mode"] = d.pick("floor", "round_prefer_floor")
    roi = "" if d.opset >= 13 else d.constant(np.zeros(0, np.float32))
    return d.add("Resize", x, roi, scales, shape=shape, mode=mode, **more)


def attention(d: Draft, x: Value) -> Value:
    """Scaled dot products of a sequence with itself, one key masked or not."""
    if x.rank != 3:
        return dense(d, x)
    width = 4
    q, k, v = (
        d.add("MatMul", x, d.constant(d.normal(x.shape[-1], width, scale=0.6)), shape=(*x.shape[:2], width))
        for _ in range(3)
    )
    turned = d.add("Transpose", k, perm=[0, 2, 1])
    scores = Value(d.node("MatMul", [q.name, turned.name]), (*x.shape[:2], x.shape[1]))
    if d.chance(0.5):
        mask = np.zeros((1, 1, x.shape[1]), np.float32)
        mask[..., -1] = d.pick(-np.inf, -1e9) if x.shape[1] > 1 else 0
        scores = d.add("Add", scores, d.constant(mask))
    weights = d.add("Softmax", scores, axis=2)
    return Value(d.node("MatMul", [weights.name, v.name]), (*x.shape[:2], width))


def recurrence(d: Draft, x: Value) -> Value:
    """RNN, LSTM or GRU over axis 1, the batch moved to axis 1 for it; or over axis 0 itself, which mixes samples."""
    if x.rank != 3:
        return dense(d, x)
    time_first = d.mixing and d.chance(0.5)
    d.apart &= not time_first
    hidden, (kind, gates) = 2, d.pick(("RNN", 1), ("LSTM", 4), ("GRU", 3))
    both = d.chance(0.3)
    directions = 2 if both else 1
    given = (
        x if time_first else d.add("Transpose", x, perm=[1, 0, 2], shape=(x.shape[1], x.shape[0], x.shape[2]))
    )
    w = d.constant(d.normal(directions, gates * hidden, x.shape[2], scale=0.6))
    r = d.constant(d.normal(directions, gates * hidden, hidden, scale=0.6))
    more = [d.constant(d.normal(directions, 2 * gates * hidden, scale=0.3))] if d.chance(0.5) else []
    direction = {"direction": "bidirectional"} if both else {"direction": d.pick("forward", "reverse")}
    y = d.node(kind, [given.name, w, r, *more], outputs=2, hidden_size=hidden, **direction)
    time, batch = given.shape[:2]
    if not time_first and d.chance(0.4):
        last = Value(f"{y}_1", (directions, batch, hidden))
        return d.add("Transpose", last, perm=[1, 0, 2], shape=(batch, directions, hidden))
    outputs = Value(y, (time, directions, batch, hidden))
    if time_first:
        moved = d.add("Transpose", outputs, perm=[0, 2, 1, 3], shape=(time, batch, directions, hidden))
    else:
        moved = d.add("Transpose", outputs, perm=[2, 0, 1, 3], shape=(batch, time, directions, hidden))
    return d.add(
        "Reshape", moved, d.constant([0, 0, -1], np.int64), shape=(*moved.shape[:2], directions * hidden)
    )


def mixer(d: Draft, x: Value) -> Value:
    """What mixes samples: reductions, sums and softmax over axis 0, similarity with others, statistics of a batch."""
    d.apart = False
    kind = d.pick("mean", "cumsum", "softmax", "similarity", "reverse")
    if kind == "cumsum" and d.opset >= 11:
        return d.add("CumSum", x, d.constant(0, np.int64))
    if kind == "softmax" and d.opset >= 13:
        return d.add("Softmax", x, axis=0)
    if kind == "similarity":
        flat = flattened(d, x) if x.rank != 2 else x
        turned = d.add("Transpose", flat, perm=[1, 0], shape=flat.shape[::-1])
        scores = Value(d.node("MatMul", [flat.name, turned.name]), (flat.shape[0],) * 2)
        return Value(d.node("MatMul", [scores.name, flat.name]), flat.shape)
    if kind == "reverse" and d.opset >= 10:
        ends = (d.constant(v, np.int64) for v in ([-1], [-(2**31)], [0], [-1]))
        other = d.add("Slice", x, *ends)
        return d.add("Mul", x, other.name)
    mean = d.with_axes("ReduceMean", x, [0], keep(x.shape, 0, 1), since=18, keepdims=1)
    return Value(d.node("Sub", [x.name, mean.name]), x.shape)
