"""The complementary error function in Keras models, in 64 bits where it is small."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onnx import TensorProto

from ...common.normal_tail import FACTORS, START
from .nodes import Replacement, Wide
from .selects import Handler

#: What keeps a number up to a constant factor.
_SCALES = ("Div", "Mul", "Neg", "RealDiv")


def _erfc(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Erfc(x) = 1 - erf(x) below 1/2 and in a GELU, x erfc(-x / sqrt(2)) / 2; above exp(-x^2) times its tail."""
    (x,), gelu = node.input, _in_gelu(ctx, node)
    if gelu:
        w = Replacement(ctx, node)
        w.end("Sub", w.const(1), w.op("Erf", x, shape=w.shape))
        return
    kind = ctx.get_dtype(x)
    w = Wide(ctx, node)
    near = w.op("Sub", w.const(1), w.widened(w.op("Erf", x, dtype=kind)))
    x = w.widened(x)
    size = w.op("Abs", x)
    far = w.op("Max", size, w.const(START))
    tail = w.op("Mul", w.op("Exp", w.op("Neg", w.op("Mul", far, far))), _scaled_tail(w, far))
    negative = w.op("Less", x, w.const(0), dtype=TensorProto.BOOL)
    tail = w.op("Where", negative, w.op("Sub", w.const(2), tail), tail)
    small = w.op("Less", size, w.const(START), dtype=TensorProto.BOOL)
    w.wide_end("Where", small, near, tail)


def _scaled_tail(w: Wide, x: str) -> str:
    """exp(x^2) erfc(x) from x = 1/2 on."""
    t = w.op("Div", w.const(2), w.op("Add", x, w.const(2)))
    total = w.const(FACTORS[0])
    for factor in FACTORS[1:]:
        total = w.op("Add", w.op("Mul", total, t), w.const(factor))
    return w.op("Mul", t, total)


def _in_gelu(ctx: Any, node: Any) -> bool:
    """Whether all that reads a node multiplies it with the number that it is computed from."""
    readers = ctx.find_output_consumers(node.output[0])
    x = _unscaled(ctx, node.input[0])
    return bool(readers) and all(
        reader.type == "Mul"
        and all(_unscaled(ctx, value) == x for value in reader.input if value != node.output[0])
        for reader in readers
    )


def _unscaled(ctx: Any, value: str) -> str:
    """What a value is a constant multiple of."""
    node = ctx.get_node_by_output(value)
    while node is not None and node.type in _SCALES:
        moving = [name for name, made in zip(node.input, node.inputs, strict=True) if not made.is_const()]
        if len(moving) != 1:
            break
        value = moving[0]
        node = ctx.get_node_by_output(value)
    return value


TAILS: Mapping[str, Handler] = {"Erfc": (_erfc, [])}
