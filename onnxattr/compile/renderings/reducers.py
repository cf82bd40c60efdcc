"""Reducers: how the channel axis of a map becomes one number; named after TensorFlow's ``reduce_*``, "l2" apart."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.halves import in_float

#: (builder, map, axis) -> the map with size 1 along the axis.
Reducer = Callable[[OpBuilder, ir.Value, int], ir.Value]


def _node(op_type: str) -> Reducer:
    return lambda op, value, axis: op.node(op_type, [value, [axis]], {"keepdims": 1})


def _in_float(op_type: str) -> Reducer:
    """A reduction that multiplies: in float32 for maps of 16 bits, whose products may be 0 or infinite."""
    return lambda op, value, axis: _node(op_type)(op, in_float(op, value), axis)


def _in_units(reduce: Reducer) -> Reducer:
    """The root of a reduction of squares, in units of the largest number: squares of 1e-23 and 1e20 leave float32."""

    def reduced(op: OpBuilder, value: ir.Value, axis: int) -> ir.Value:
        value = in_float(op, value)
        largest = op.ReduceMax(op.Abs(value), [axis], keepdims=1)
        known = op.And(op.Greater(largest, 0.0), op.Less(largest, float("inf")))
        unit = op.Where(known, largest, 1.0)
        return op.Mul(reduce(op, op.Div(value, unit), axis), unit)

    return reduced


def _variance(op: OpBuilder, value: ir.Value, axis: int) -> ir.Value:
    value = in_float(op, value)
    distance = op.Sub(value, op.ReduceMean(value, [axis], keepdims=1))
    return op.ReduceMean(op.Mul(distance, distance), [axis], keepdims=1)


#: By name. TensorFlow has a reduce_all and a reduce_any as well, which take truth values alone.
REDUCERS: dict[str | None, Reducer] = {
    "min": _node("ReduceMin"),
    "mean": _node("ReduceMean"),
    "max": _node("ReduceMax"),
    "sum": _node("ReduceSum"),
    "prod": _in_float("ReduceProd"),
    "l2": _in_units(_node("ReduceL2")),
    "euclidean_norm": _in_units(_node("ReduceL2")),
    "logsumexp": _in_float("ReduceLogSumExp"),
    "std": _in_units(lambda op, value, axis: op.Sqrt(_variance(op, value, axis))),
    "variance": _variance,
}
