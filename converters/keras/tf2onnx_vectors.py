"""Operators of TensorFlow that tf2onnx does not know and that are a few of ONNX: cross products, places in a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from onnx import TensorProto

from .tf2onnx_selects import Handler

# The types that ONNX Runtime compares.
_COMPARED = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT32, TensorProto.INT64)


class _Nodes:
    """Writes nodes into a tf2onnx graph in the place of one that is removed."""

    def __init__(self, ctx: Any, node: Any) -> None:
        self._ctx, self.output = ctx, node.output[0]
        self.shape, self.dtype = ctx.get_shape(self.output), ctx.get_dtype(self.output)
        ctx.remove_node(node.name)

    def const(self, value: Any) -> str:
        from tf2onnx import utils

        return str(self._ctx.make_const(utils.make_name(self.output), np.asarray(value)).output[0])

    def op(self, op_type: str, *inputs: str, dtype: int | None = None, **attributes: Any) -> str:
        """A node of one output, of the type of the removed node's if no other is given."""
        made = self._ctx.make_node(op_type, list(inputs), attr=attributes, dtypes=[dtype or self.dtype])
        return str(made.output[0])

    def end(self, op_type: str, *inputs: str, **attributes: Any) -> None:
        """The node whose output is that of the removed one."""
        given = {"outputs": [self.output], "shapes": [self.shape], "dtypes": [self.dtype]}
        self._ctx.make_node(op_type, list(inputs), attr=attributes, **given)


def _cross(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Cross(a, b) along the last axis of three: a1 b2 - a2 b1 and so on around."""
    a, b = node.input
    w = _Nodes(ctx, node)
    second, third = (w.const(np.array(places, np.int64)) for places in ([1, 2, 0], [2, 0, 1]))

    def product(left: str, right: str) -> str:
        return w.op("Mul", *(w.op("Gather", x, at, axis=-1) for x, at in ((a, left), (b, right))))

    w.end("Sub", product(second, third), product(third, second))


def _broadcast_args(ctx: Any, node: Any, name: str, args: Any) -> None:
    """BroadcastArgs(s, t): the shape of what has both; 1s stand in front of the shorter one."""
    shapes = list(node.input)
    lengths = [(ctx.get_shape(shape) or [None])[0] for shape in shapes]
    if any(length is None or length < 0 for length in lengths):
        return  # reported as an unknown operator
    w = _Nodes(ctx, node)
    for place, length in enumerate(lengths):
        if length < max(lengths):
            ones = w.const(np.ones(max(lengths) - length, _numpy(w.dtype)))
            shapes[place] = w.op("Concat", ones, shapes[place], axis=0)
    one = w.const(np.ones(1, _numpy(w.dtype)))
    w.end("Where", w.op("Equal", shapes[0], one, dtype=TensorProto.BOOL), shapes[1], shapes[0])


def _search(count: Callable[[_Nodes, str, str], str]) -> Callable[..., None]:
    """LowerBound and UpperBound: how many numbers of a sorted row lie before each value's place in it."""

    def convert(ctx: Any, node: Any, name: str, args: Any) -> None:
        row, values = node.input
        kind = ctx.get_dtype(values)
        w = _Nodes(ctx, node)
        if kind not in _COMPARED:  # a double holds each of their numbers
            kind = TensorProto.DOUBLE
            row, values = (w.op("Cast", x, dtype=kind, to=kind) for x in (row, values))
        one, two = (w.const(np.array([axis], np.int64)) for axis in (1, 2))
        before = count(w, w.op("Unsqueeze", row, one, dtype=kind), w.op("Unsqueeze", values, two, dtype=kind))
        w.end("ReduceSum", w.op("Cast", before, to=w.dtype), two, keepdims=0)

    return convert


def _below(w: _Nodes, row: str, values: str) -> str:
    return w.op("Less", row, values, dtype=TensorProto.BOOL)


def _not_above(w: _Nodes, row: str, values: str) -> str:
    """Of NaN all numbers, as in TensorFlow."""
    return w.op("Not", w.op("Less", values, row, dtype=TensorProto.BOOL), dtype=TensorProto.BOOL)


def _numpy(dtype: int) -> Any:
    from tf2onnx import utils

    return utils.map_onnx_to_numpy_type(dtype)


VECTORS: Mapping[str, Handler] = {
    "Cross": (_cross, []),
    "BroadcastArgs": (_broadcast_args, []),
    "LowerBound": (_search(_below), []),
    "UpperBound": (_search(_not_above), []),
}
