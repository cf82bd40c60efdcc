"""Operators of ai.onnx from opset 14 to 26, each where the opset has it."""

from __future__ import annotations

import numpy as np

from fuzz import typed
from fuzz.draft import Draft, Value, keep


def activation(d: Draft, x: Value) -> Value:
    """HardSwish, Celu, Mish, Gelu."""
    options = [("HardSwish", 14, {}), ("Mish", 18, {}), ("Gelu", 20, {"approximate": d.pick("none", "tanh")})]
    options += [("Celu", 12, {"alpha": d.pick(1.0, 0.6)})]
    known = [(name, more) for name, since, more in options if d.opset >= since]
    if not known:
        return typed.cast(d, x)
    name, more = d.pick(*known)
    return d.add(name, x, **more)


def normalised(d: Draft, x: Value) -> Value:
    """LayerNormalization, RMSNormalization or GroupNormalization, from any axis, in float32."""
    if d.opset < 17:
        return typed.reduced(d, x)
    axis = int(d.rng.integers(1, x.rank))
    scale = d.constant(d.normal(*x.shape[axis:]))
    given = axis - x.rank if d.chance(0.5) else axis
    if d.opset >= 23 and d.chance(0.5):
        return d.add("RMSNormalization", x, scale, axis=given, epsilon=d.pick(1e-5, 0.1))
    if d.opset >= 21 and x.rank >= 3 and x.shape[1] % 2 == 0 and d.chance(0.4):
        pair = [d.constant(d.normal(x.shape[1])) for _ in range(2)]
        return d.add("GroupNormalization", x, *pair, num_groups=2)
    bias = [d.constant(d.normal(*x.shape[axis:]))] if d.chance(0.6) else []
    return d.add("LayerNormalization", x, scale, *bias, axis=given, epsilon=d.pick(1e-5, 0.1))


def attention(d: Draft, x: Value) -> Value:
    """Attention of a sequence with itself: heads in groups, masks, causal or not, a cap of the scores."""
    if d.opset < 23 or x.rank != 3:
        return activation(d, x)
    heads, groups, width = 4, d.pick(4, 2, 1), 2
    q, k, v = (
        d.node("MatMul", [x.name, d.constant(d.normal(x.shape[-1], count * width, scale=0.6))])
        for count in (heads, groups, groups)
    )
    given, length = [q, k, v], x.shape[1]
    kind = d.pick("none", "floats", "booleans")
    if kind == "floats":
        given.append(d.constant(d.normal(*d.pick((length, length), (1, 1, length, length)))))
    if kind == "booleans":
        mask = d.rng.random((length, length)) < 0.6
        mask[:, 0] = True
        given.append(d.constant(mask))
    more: dict[str, object] = {"q_num_heads": heads, "kv_num_heads": groups, "is_causal": d.pick(0, 1)}
    more |= {"softcap": 0.8} if d.chance(0.4) else {}
    more |= {"scale": 0.3} if d.chance(0.4) else {}
    return Value(d.node("Attention", given, **more), (*x.shape[:2], heads * width))


def rotated(d: Draft, x: Value) -> Value:
    """RotaryEmbedding of heads side by side."""
    if d.opset < 23 or x.rank != 3 or x.shape[-1] != 4:
        return attention(d, x)
    heads, partial = d.pick((1, 0), (2, 0), (1, 2))
    half = (partial or x.shape[-1] // heads) // 2
    angles = d.normal(x.shape[0], x.shape[1], half)[:1].repeat(x.shape[0], 0)
    tables, places = [np.cos(angles), np.sin(angles)], []
    if d.chance(0.5) or d.opset:
        # Positions of a table, so that a batch of any size has them.
        tables, size = [t[0] for t in tables], d.node("Shape", [x.name])
        pair = d.node("Gather", [size, d.constant([0, 1], np.int64)], axis=0)
        places = [d.node("Expand", [d.constant(np.arange(x.shape[1])[None]), pair])]
    given = [d.constant(t.astype(np.float32)) for t in tables]
    more = {"num_heads": heads, "rotary_embedding_dim": partial, "interleaved": d.pick(0, 1)}
    return d.add("RotaryEmbedding", x, *given, *places, **more)


def along(d: Draft, x: Value) -> Value:
    """Cumulative sums and products, scatters with a reduction, the largest few, crops, einsums."""
    axis = int(d.rng.integers(1, x.rank))
    given = axis - x.rank if d.chance(0.5) else axis
    kind = d.pick("cumulative", "scatter", "largest", "crop", "einsum", "triangle")
    flags = {"exclusive": d.pick(0, 1), "reverse": d.pick(0, 1)}
    if kind == "cumulative" and d.opset >= 11:
        op = "CumProd" if d.opset >= 26 and d.chance(0.6) else "CumSum"
        return d.add(op, x, d.constant(np.int64(given)), **flags)
    if kind == "scatter" and d.opset >= 16:
        reduction = d.pick("add", "mul", *(("max", "min") if d.opset >= 18 else ()))
        wide = d.constant(d.rng.integers(0, x.shape[axis], (1, *x.shape[1:])))
        places = d.node("Expand", [wide, d.node("Shape", [x.name])])
        return d.add("ScatterElements", x, places, d.add("Sin", x).name, axis=given, reduction=reduction)
    if kind == "largest" and d.opset >= 11:
        count = d.pick(1, x.shape[axis])
        more = {"axis": given, "largest": d.pick(0, 1), "sorted": 1}
        name = d.node("TopK", [x.name, d.constant([count], np.int64)], outputs=2, **more)
        return Value(name, keep(x.shape, axis, count))
    if kind == "crop" and d.opset >= 18:
        size = d.pick(x.shape[axis] + 1, max(1, x.shape[axis] - 1))
        return d.add(
            "CenterCropPad", x, d.constant([size], np.int64), axes=[given], shape=keep(x.shape, axis, size)
        )
    if kind == "triangle" and d.opset >= 14 and x.rank >= 3:
        return d.add("Trilu", x, d.constant(np.int64(d.pick(-1, 0, 1))), upper=d.pick(0, 1))
    if d.opset < 12:
        return typed.reduced(d, x)
    inner = "bcde"[: x.rank - 1]
    w = d.constant(d.normal(x.shape[-1], 3))
    equation = d.pick("a{0},{1}z->a{2}z", "...{1},{1}z->...z").format(inner, inner[-1], inner[:-1])
    return Value(d.node("Einsum", [x.name, w], equation=equation), (*x.shape[:-1], 3))
