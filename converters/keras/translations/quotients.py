"""Quotients, remainders and shifts of numbers that may be negative, rounded as TensorFlow rounds them.

ONNX divides integers towards zero. Of floats, a - b floor(a / b) is off by b where a / b is rounded up to a whole
number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import TensorProto

from .nodes import Replacement
from .selects import Handler

_FLOATS = (TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE)
_UNSIGNED = (TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64)
#: Operators of TensorFlow and of ONNX: results that are never negative, ...
_SIZES = frozenset("ArgMax ArgMin NonZero Shape Size".split())
#: ... what takes numbers of its first input, ...
_MOVED = frozenset(
    "Cast ExpandDims Expand Flatten Gather GatherV2 Identity Reshape Slice Squeeze StridedSlice Tile "
    "Transpose Unsqueeze".split()
)
#: ... and what computes no negative number of others.
_GROWING = frozenset("Add AddV2 Concat Div FloorDiv Max Maximum Min Minimum Mod Mul Pack Range".split())
_DEEPEST = 16


def _floor_div(ctx: Any, node: Any, name: str, args: Any) -> None:
    """FloorDiv(a, b) = floor(a / b); of integers a / b towards zero, less (r - t) / b of both remainders, 1 or 0."""
    a, b = node.input
    kind, sizes = ctx.get_dtype(a), all(_is_never_negative(ctx, x) for x in (a, b))
    w = Replacement(ctx, node)
    if kind in _FLOATS:
        w.end("Floor", w.op("Div", a, b, shape=w.shape))
    elif kind in _UNSIGNED or sizes:
        w.end("Div", a, b)
    else:
        more = w.op("Sub", w.op("Mod", a, b), w.op("Mod", a, b, fmod=1))
        w.end("Sub", w.op("Div", a, b, shape=w.shape), w.op("Div", more, b))


def _floor_mod(ctx: Any, node: Any, name: str, args: Any) -> None:
    """FloorMod(a, b), of b's sign; of floats the exact remainder of a's sign, plus b where the signs differ."""
    a, b = node.input
    w = Replacement(ctx, node)
    if w.dtype not in _FLOATS:
        w.end("Mod", a, b)
        return
    rest = w.op("Mod", a, b, shape=w.shape, fmod=1)
    below = (w.op("Less", x, w.const(0), dtype=TensorProto.BOOL) for x in (rest, b))
    other = w.op("Xor", *below, dtype=TensorProto.BOOL)
    none = w.op("Equal", rest, w.const(0), dtype=TensorProto.BOOL)
    other = w.op("And", other, w.op("Not", none, dtype=TensorProto.BOOL), dtype=TensorProto.BOOL)
    w.end("Where", other, w.op("Add", rest, b), rest)


def _truncate_mod(ctx: Any, node: Any, name: str, args: Any) -> None:
    """TruncateMod(a, b), in older graphs Mod, of a's sign."""
    a, b = node.input
    Replacement(ctx, node).end("Mod", a, b, fmod=1)


def _truncate_div(ctx: Any, node: Any, name: str, args: Any) -> None:
    """TruncateDiv(a, b) = a / b towards zero."""
    a, b = node.input
    w = Replacement(ctx, node)
    if w.dtype not in _FLOATS:
        w.end("Div", a, b)
        return
    whole = w.op("Div", a, b, shape=w.shape)
    below = w.op("Less", whole, w.const(0), dtype=TensorProto.BOOL)
    w.end("Where", below, w.op("Ceil", whole), w.op("Floor", whole))


def _right_shift(ctx: Any, node: Any, name: str, args: Any) -> None:
    """RightShift(a, k) = floor(a / 2^k); of a negative number -1 - ((-1 - a) >> k)."""
    a, k = node.input
    w = Replacement(ctx, node)
    long, top = TensorProto.INT64, TensorProto.UINT64
    if w.dtype in _UNSIGNED:
        w.end("Cast", _shifted(w, a, k, "RIGHT"), to=w.dtype)
        return
    a, minus = w.op("Cast", a, dtype=long, to=long), w.const(-1, long)
    below = w.op("Less", a, w.const(0, long), dtype=TensorProto.BOOL)
    a = w.op("Where", below, w.op("Sub", minus, a, dtype=long), a, dtype=long)
    most = w.op("Min", w.op("Cast", k, dtype=top, to=top), w.const(63, top), dtype=top)
    a = w.op("Cast", _shifted(w, a, most, "RIGHT"), dtype=long, to=long)
    a = w.op("Where", below, w.op("Sub", minus, a, dtype=long), a, dtype=long)
    w.end("Cast", a, to=w.dtype)


def _left_shift(ctx: Any, node: Any, name: str, args: Any) -> None:
    """LeftShift(a, k) = a 2^k, of which the lower bits are left."""
    a, k = node.input
    w = Replacement(ctx, node)
    w.end("Cast", _shifted(w, a, k, "LEFT"), to=w.dtype)


def _shifted(w: Replacement, a: str, k: str, direction: str) -> str:
    """In 64 bits without a sign, which ONNX shifts alone."""
    wide = TensorProto.UINT64
    each = (w.op("Cast", x, dtype=wide, to=wide) for x in (a, k))
    return w.op("BitShift", *each, dtype=wide, direction=direction)


def _is_never_negative(ctx: Any, name: str, depth: int = 0) -> bool:
    """Whether a value is computed from sizes and numbers that are not negative."""
    node = ctx.get_node_by_output(name)
    if node is None or depth > _DEEPEST:
        return False
    if node.is_const():
        return bool(np.all(node.get_tensor_value(as_list=False) >= 0))
    read = node.input[:1] if node.type in _MOVED else node.input if node.type in _GROWING else []
    return node.type in _SIZES or (bool(read) and all(_is_never_negative(ctx, x, depth + 1) for x in read))


QUOTIENTS: Mapping[str, Handler] = {
    "FloorDiv": (_floor_div, []),
    "FloorMod": (_floor_mod, []),
    "LeftShift": (_left_shift, []),
    "RightShift": (_right_shift, []),
    "Mod": (_truncate_mod, []),
    "TruncateDiv": (_truncate_div, []),
    "TruncateMod": (_truncate_mod, []),
}
