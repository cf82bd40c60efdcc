"""Reducers: how the channel axis of a map becomes one number; named after TensorFlow's ``reduce_*``, "l2" apart."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder

#: (builder, map, axis) -> the map with size 1 along the axis.
Reducer = Callable[[OpBuilder, ir.Value, int], ir.Value]


def _node(op_type: str) -> Reducer:
    return lambda op, value, axis: op.node(op_type, [value, [axis]], {"keepdims": 1})


def _variance(op: OpBuilder, value: ir.Value, axis: int) -> ir.Value:
    distance = op.Sub(value, op.ReduceMean(value, [axis], keepdims=1))
    return op.ReduceMean(op.Mul(distance, distance), [axis], keepdims=1)


#: By name. TensorFlow has a reduce_all and a reduce_any as well, which take truth values alone.
REDUCERS: dict[str | None, Reducer] = {
    "min": _node("ReduceMin"),
    "mean": _node("ReduceMean"),
    "max": _node("ReduceMax"),
    "sum": _node("ReduceSum"),
    "prod": _node("ReduceProd"),
    "l2": _node("ReduceL2"),
    "euclidean_norm": _node("ReduceL2"),
    "logsumexp": _node("ReduceLogSumExp"),
    "std": lambda op, value, axis: op.Sqrt(_variance(op, value, axis)),
    "variance": _variance,
}
