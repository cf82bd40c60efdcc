"""Texts that are read from scores of characters, step by step, as `ctc_decode` and `tf.nn.ctc_greedy_decoder` do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onnx import TensorProto

from .nodes import Replacement
from .selects import Handler

_INT, _BOOL = TensorProto.INT64, TensorProto.BOOL


def _greedy(ctx: Any, node: Any, name: str, args: Any) -> None:
    """CTCGreedyDecoder(x, lengths) of scores (steps, N, characters): the characters as a sparse matrix, and -log p.

    tf2onnx takes the last character for the blank one whatever `blank_index` is, has no text without characters, and
    makes NaN of what is infinite behind the end of a text.
    """
    (x, lengths), blank = node.input, node.get_attr_value("blank_index")
    merged = node.get_attr_value("merge_repeated")
    kind, w = ctx.get_dtype(x), Replacement(ctx, node)
    zero, one, first, last = (w.const(n, _INT) for n in (0, 1, [0], [-1]))
    sizes = w.op("Shape", x, dtype=_INT)
    steps, rows = (w.op("Gather", sizes, n, dtype=_INT) for n in (zero, one))
    best = w.op("ArgMax", x, dtype=_INT, axis=2, keepdims=0)
    places = w.op("Range", zero, steps, one, dtype=_INT)
    ends = w.op("Cast", lengths, dtype=_INT, to=_INT)
    is_read = w.op(
        "Less",
        w.op("Unsqueeze", places, last, dtype=_INT),
        w.op("Unsqueeze", ends, first, dtype=_INT),
        dtype=_BOOL,
    )
    kept = w.op("And", is_read, _differs(w, best, _blank(w, sizes, blank or 0)), dtype=_BOOL)
    if merged:
        around = w.const([1, 0, -1, 0], _INT)
        before = w.op("Pad", best, around, w.const(-1, _INT), dtype=_INT)
        kept = w.op("And", kept, _differs(w, best, before), dtype=_BOOL)
    kept, best = (w.op("Transpose", v, dtype=t, perm=[1, 0]) for v, t in ((kept, _BOOL), (best, _INT)))
    counted = w.op("Cast", kept, dtype=_INT, to=_INT)
    found = w.op("Transpose", w.op("NonZero", kept, dtype=_INT), dtype=_INT, perm=[1, 0])
    order = w.op("GatherND", w.op("CumSum", counted, one, dtype=_INT, exclusive=1), found, dtype=_INT)
    owner = w.op("Gather", found, first, dtype=_INT, axis=1)
    w.end("Concat", owner, w.op("Unsqueeze", order, last, dtype=_INT), axis=1)
    w.end("GatherND", best, found, output=1)
    count = w.op("ReduceSum", counted, w.const([1], _INT), dtype=_INT, keepdims=0)
    longest, _ = ctx.make_node(
        "TopK", [count, w.const([1], _INT)], attr={"axis": 0}, output_count=2, dtypes=[_INT, _INT]
    ).output
    w.end("Concat", w.op("Unsqueeze", rows, first, dtype=_INT), longest, axis=0, output=2)
    _score(w, x, is_read, kind)


def _blank(w: Replacement, sizes: str, blank: int) -> str:
    """The number of the blank character, which is counted from the end where it is negative."""
    if blank >= 0:
        return w.const(blank, _INT)
    return w.op("Add", w.op("Gather", sizes, w.const(2, _INT), dtype=_INT), w.const(blank, _INT), dtype=_INT)


def _differs(w: Replacement, one: str, other: str) -> str:
    return w.op("Not", w.op("Equal", one, other, dtype=_BOOL), dtype=_BOOL)


def _score(w: Replacement, x: str, is_read: str, kind: int) -> None:
    """The negated sum of the largest scores of the steps that are read, (N, 1)."""
    place = w.op("ArgMax", x, dtype=_INT, axis=2, keepdims=1)
    highest = w.op("GatherElements", x, place, dtype=kind, axis=2)
    highest = w.op("Squeeze", highest, w.const([2], _INT), dtype=kind)
    read = w.op("Where", is_read, highest, w.const(0, kind), dtype=kind)
    total = w.op("ReduceSum", read, w.const([0], _INT), dtype=kind, keepdims=0)
    w.end("Unsqueeze", w.op("Neg", total, dtype=kind), w.const([1], _INT), output=3)


TEXTS: Mapping[str, Handler] = {"CTCGreedyDecoder": (_greedy, [])}
