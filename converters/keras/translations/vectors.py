"""Operators of TensorFlow that are a few of ONNX: cross products, diagonals, places in a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from onnx import TensorProto

from .nodes import Replacement
from .selects import Handler

# In a sparse matrix that is written out: 256 MiB of float32.
_MOST_NUMBERS = 2**26
# The types that ONNX Runtime compares.
_COMPARED = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT32, TensorProto.INT64)


def _cross(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Cross(a, b) along the last axis of three: a1 b2 - a2 b1 and so on around."""
    a, b = node.input
    w = Replacement(ctx, node)
    second, third = (w.const(places, TensorProto.INT64) for places in ([1, 2, 0], [2, 0, 1]))

    def product(left: str, right: str) -> str:
        return w.op("Mul", *(w.op("Gather", x, at, axis=-1) for x, at in ((a, left), (b, right))))

    w.end("Sub", product(second, third), product(third, second))


def _broadcast_args(ctx: Any, node: Any, name: str, args: Any) -> None:
    """BroadcastArgs(s, t): the shape of what has both; 1s stand in front of the shorter one."""
    shapes = list(node.input)
    lengths = [(ctx.get_shape(shape) or [None])[0] for shape in shapes]
    if any(length is None or length < 0 for length in lengths):
        return  # reported as an unknown operator
    w = Replacement(ctx, node)
    for place, length in enumerate(lengths):
        if length < max(lengths):
            ones = w.const([1] * (max(lengths) - length))
            shapes[place] = w.op("Concat", ones, shapes[place], axis=0)
    one = w.const([1])
    w.end("Where", w.op("Equal", shapes[0], one, dtype=TensorProto.BOOL), shapes[1], shapes[0])


def _diagonal(ctx: Any, node: Any, name: str, args: Any) -> None:
    """MatrixDiagV3(d, k): zeros, or another number, with d on the k-th diagonal."""
    from tf2onnx.onnx_opset.tensor import MatrixDiag

    (d, *_, padding), offset = node.input, _offset(node.inputs[1])
    size, (rows, columns) = (ctx.get_shape(d) or [-1])[-1], ctx.get_shape(node.output[0])[-2:]
    if offset is None or min(size, rows, columns) < 0:
        MatrixDiag.version_12(ctx, node)
        return
    w = Replacement(ctx, node)
    w.end("Where", *_on_diagonal(w, d, size, (rows, columns), offset), padding)


def _set_diagonal(ctx: Any, node: Any, name: str, args: Any) -> None:
    """MatrixSetDiagV3(a, d, k): a with d on its k-th diagonal."""
    from tf2onnx.onnx_opset.tensor import MatrixSetDiagV3

    (a, d, _), offset = node.input, _offset(node.inputs[2])
    size, (rows, columns) = (ctx.get_shape(d) or [-1])[-1], ctx.get_shape(node.output[0])[-2:]
    if offset is None or min(size, rows, columns) < 0:
        MatrixSetDiagV3.version_12(ctx, node)
        return
    w = Replacement(ctx, node)
    w.end("Where", *_on_diagonal(w, d, size, (rows, columns), offset), a)


def _offset(k: Any) -> int | None:
    """The number of the only diagonal; None if there are several or a run decides."""
    numbers = np.unique(k.get_tensor_value(as_list=False)) if k.is_const() else np.empty(0)
    return int(numbers[0]) if numbers.size == 1 else None


def _on_diagonal(w: Replacement, d: str, size: int, shape: tuple[int, int], offset: int) -> tuple[str, str]:
    """Where the diagonal of a matrix is, and d there."""
    row, column = np.indices(shape)
    places = np.clip(np.minimum(row, column), 0, size - 1)
    return w.const(column - row == offset, TensorProto.BOOL), w.op(
        "Gather", d, w.const(places, TensorProto.INT64), axis=-1
    )


def _search(counted: Callable[[Replacement, str, str], str]) -> Callable[..., None]:
    """LowerBound and UpperBound: how many numbers of a sorted row lie before each value's place in it."""

    def convert(ctx: Any, node: Any, name: str, args: Any) -> None:
        row, values = node.input
        kind = ctx.get_dtype(values)
        w = Replacement(ctx, node)
        if kind not in _COMPARED:  # a double holds each of their numbers
            kind = TensorProto.DOUBLE
            row, values = (w.op("Cast", x, dtype=kind, to=kind) for x in (row, values))
        one, two = (w.const([axis], TensorProto.INT64) for axis in (1, 2))
        rows, each = w.op("Unsqueeze", row, one, dtype=kind), w.op("Unsqueeze", values, two, dtype=kind)
        _count(w, counted(w, rows, each), two)

    return convert


def _bucketize(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Bucketize(x) = how many boundaries are not above x, as in Discretization."""
    (x,) = node.input
    kind = TensorProto.DOUBLE if ctx.get_dtype(x) == TensorProto.DOUBLE else TensorProto.FLOAT
    boundaries = np.array(node.get_attr_value("boundaries"), np.float32)
    w = Replacement(ctx, node)
    last = w.const([-1], TensorProto.INT64)
    each = w.op("Unsqueeze", w.op("Cast", x, dtype=kind, to=kind), last, dtype=kind)
    _count(w, _not_above(w, w.const(boundaries, kind), each), last)


def _below(w: Replacement, row: str, values: str) -> str:
    return w.op("Less", row, values, dtype=TensorProto.BOOL)


def _not_above(w: Replacement, row: str, values: str) -> str:
    """Of NaN all numbers, as in TensorFlow."""
    return w.op("Not", w.op("Less", values, row, dtype=TensorProto.BOOL), dtype=TensorProto.BOOL)


def _count(w: Replacement, flags: str, axis: str) -> None:
    w.end("ReduceSum", w.op("Cast", flags, to=w.dtype), axis, keepdims=0)


def _sparse_product(ctx: Any, node: Any, name: str, args: Any) -> None:
    """SparseTensorDenseMatMul(places, numbers, shape, b): A b, or of either the transposed, with a constant A."""
    parts = node.inputs[:3]
    adjoint_a, adjoint_b = (bool(node.get_attr_value(key, 0)) for key in ("adjoint_a", "adjoint_b"))
    if not all(part.is_const() for part in parts):
        return  # reported as an unknown operator
    places, numbers, shape = (part.get_tensor_value(as_list=False) for part in parts)
    if np.prod(shape) > _MOST_NUMBERS:
        return
    matrix = np.zeros(shape, numbers.dtype)
    np.add.at(matrix, tuple(places.T), numbers)
    b, w = node.input[3], Replacement(ctx, node)
    if adjoint_b:
        b = w.op("Transpose", b, perm=[1, 0])
    w.end("MatMul", w.const(matrix.T if adjoint_a else matrix), b)


VECTORS: Mapping[str, Handler] = {
    "SparseTensorDenseMatMul": (_sparse_product, []),
    "Bucketize": (_bucketize, []),
    "Cross": (_cross, []),
    "BroadcastArgs": (_broadcast_args, []),
    "MatrixDiagV3": (_diagonal, []),
    "MatrixSetDiagV3": (_set_diagonal, []),
    "LowerBound": (_search(_below), []),
    "UpperBound": (_search(_not_above), []),
}
