"""What exporters write as several nodes, in the forms that are recognised and some that are nearly those."""

from __future__ import annotations

import math

import numpy as np

from fuzz.draft import Draft, Value, keep
from fuzz.layers import as_image, norm


def layer_norm(d: Draft, x: Value) -> Value:
    """(x - mean) / sqrt(mean((x - mean)^2) + eps), or without the mean; over one axis or several, with a scale.

    No other power: ONNX Runtime 1.32 takes any exponent of this form for 2.
    """
    axes = [int(d.rng.integers(1, x.rank))] if d.chance(0.6) else list(range(1, x.rank))
    small = x.shape
    for axis in axes:
        small = keep(small, axis, 1)
    signed = [axis - x.rank if d.chance(0.4) and d.opset >= 11 else axis for axis in axes]

    def mean(of: Value) -> Value:
        return d.with_axes("ReduceMean", of, signed, small, since=18, keepdims=1)

    centred = x
    if d.chance(0.7):
        centred = d.add("Sub", x, mean(x).name)
    square = (
        d.add("Mul", centred, centred.name)
        if d.chance(0.5)
        else d.add("Pow", centred, d.constant(np.float32(2)))
    )
    epsilon = d.constant(np.float32(d.pick(1e-5, 0.01, 1.0)))
    operands = [mean(square).name, epsilon][:: d.pick(1, -1)]
    inside = Value(d.node("Add", operands), small)
    if d.chance(0.2):
        inside = d.add("Abs", inside)
    root = (
        d.add("Sqrt", inside)
        if d.chance(0.7)
        else d.add("Pow", inside, d.constant(np.float32(d.pick(0.5, 0.5, 1.5))))
    )
    form = d.pick("quotient", "reciprocal", "one over", "root read")
    if form in ("quotient", "root read"):
        y = d.add("Div", centred, root.name)
    elif form == "reciprocal":
        y = d.add("Mul", centred, d.add("Reciprocal", root).name)
    else:
        one = d.constant(np.float32(1))
        y = d.add("Mul", centred, d.node("Div", [one, root.name]))
    if d.chance(0.6):
        wide = d.pick((x.shape[-1],), (1,) * (x.rank - 1) + (x.shape[-1],), (1,), x.shape[1:])
        y = d.add("Mul", y, d.constant(d.normal(*wide)))
        if d.chance(0.6):
            y = d.add("Add", y, d.constant(d.normal(*wide)))
    return d.add("Add", y, root.name) if form == "root read" else y


def gate(d: Draft, x: Value) -> Value:
    """GELU, its approximation, Swish, and others of their look: other constants, the gate read twice."""
    kind = d.pick("erf", "tanh", "swish", "beta")
    half = d.constant(np.float32(d.pick(0.5, 0.5, 0.5, 0.4)))
    if kind in ("swish", "beta"):
        inner = x if kind == "swish" else d.add("Mul", x, d.constant(np.float32(d.pick(1.702, -0.5))))
        weight = d.add("Sigmoid", inner)
        y = d.add("Mul", x, weight.name) if d.chance(0.5) else d.add("Mul", weight, x.name)
        return d.add("Sub", y, weight.name) if d.chance(0.2) else y
    if kind == "erf":
        root = d.pick(math.sqrt(2), math.sqrt(2), 1.4)
        inner = (
            d.add("Div", x, d.constant(np.float32(root)))
            if d.chance(0.5)
            else d.add("Mul", x, d.constant(np.float32(1 / root)))
        )
        wave = d.add("Erf", inner)
    else:
        cube = (
            d.add("Pow", x, d.constant(np.float32(3)))
            if d.chance(0.5)
            else d.add("Mul", d.add("Mul", x, x.name), x.name)
        )
        added = d.add("Add", x, d.add("Mul", cube, d.constant(np.float32(d.pick(0.044715, 0.05)))).name)
        wave = d.add("Tanh", d.add("Mul", added, d.constant(np.float32(math.sqrt(2 / math.pi)))))
    weight = d.add("Add", wave, d.constant(np.float32(1)))
    order = d.pick("half first", "x first", "half last")
    if order == "half first":
        y = d.add("Mul", x, d.add("Mul", weight, half).name)
    elif order == "x first":
        y = d.add("Mul", d.add("Mul", x, weight.name), half)
    else:
        y = d.add("Mul", d.add("Mul", x, half), weight.name)
    return d.add("Add", y, wave.name) if d.chance(0.2) else y


def scaled_activations(d: Draft, x: Value) -> Value:
    """Normalisation, activation and normalisation again, as DenseNet has them; or constants in their place."""
    x = as_image(d, x)

    def scaled(value: Value) -> Value:
        if d.chance(0.5):
            return norm(d, value)
        wide = (value.shape[1], *[1] * (value.rank - 2))
        y = d.add("Mul", value, d.constant(d.normal(*wide)))
        return d.add("Add", y, d.constant(d.normal(*wide))) if d.chance(0.5) else y

    active = d.pick("Relu", "LeakyRelu", "Sigmoid")
    return scaled(d.add(active, scaled(x)))


def many_channels(d: Draft, x: Value) -> Value:
    """Convolutions of 8 or 16 channels, or a number that no block holds, around an overlapping max-pool."""
    if x.rank != 4 or d.opset < 11:
        return scaled_activations(d, x)
    channels = d.pick(8, 16, 12)

    def convolution(value: Value, out: int) -> Value:
        w = d.constant(d.normal(out, value.shape[1], 1, 1, scale=0.5))
        return d.add("Conv", value, w, shape=(value.shape[0], out, *value.shape[2:]), kernel_shape=[1, 1])

    y = convolution(x, channels)
    if d.chance(0.5):
        y = d.add("Relu", y)
    kernel = [d.pick(2, 3) for _ in range(2)]
    kernel = [min(k, n) for k, n in zip(kernel, y.shape[2:], strict=True)]
    strides, pads = [d.pick(1, 2) for _ in kernel], [d.pick(0, k // 2) for k in kernel] * 2
    sizes = [(n + 2 * p - k) // s + 1 for n, p, k, s in zip(y.shape[2:], pads, kernel, strides, strict=False)]
    more = {"strides": strides, "pads": pads, "kernel_shape": kernel}
    y = d.add("MaxPool", y, shape=(*y.shape[:2], *sizes), **more)
    return convolution(y, 2)


def computed_target(d: Draft, x: Value) -> Value:
    """A Reshape whose target is put together from sizes of its input, products of them and numbers."""
    shape = d.node("Shape", [x.name])
    sizes = [d.node("Gather", [shape, d.constant([axis], np.int64)]) for axis in range(x.rank)]
    batch = sizes[0]
    if x.rank == 2:
        target = [batch, d.constant([1], np.int64), sizes[1]]
        return d.add("Reshape", x, d.node("Concat", target, axis=0), shape=(x.shape[0], 1, x.shape[1]))
    product = d.node("Mul", sizes[1:3])
    y = d.add(
        "Reshape",
        x,
        d.node("Concat", [batch, product, *sizes[3:]], axis=0),
        shape=(x.shape[0], x.shape[1] * x.shape[2], *x.shape[3:]),
    )
    y = d.add(d.pick("Tanh", "Relu"), y)
    back = [batch, d.node("Div", [product, sizes[2]]), sizes[2], *sizes[3:]]
    return d.add("Reshape", y, d.node("Concat", back, axis=0), shape=x.shape)
