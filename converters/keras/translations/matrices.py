"""Factors, solutions and determinants of small square matrices of known sizes, one step for each column.

Each product and quotient is a node: the gradient of the elimination is the gradient of the solution. It is computed in
64 bits, since rounding errors grow with the condition of the matrix.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from onnx import TensorProto

from ...common.small_matrices import LARGEST
from .nodes import Wide
from .selects import Handler


class _Elimination(NamedTuple):
    """What is right of a matrix when it has become a permutation, its pivots, (..., 1, n), and their rows.

    `rows` are ones where a row, the axis before the last, was chosen for a column, the last axis.
    """

    right: str
    pivots: str
    rows: str


def _cholesky(ctx: Any, node: Any, name: str, args: Any) -> None:
    """L of A = L L^T, column by column: l = a / sqrt(a_kk), A - l l^T is what the others are of.

    TensorFlow reads one triangle and spreads the gradient over both. The mean of both triangles does so too, and is the
    same matrix.
    """
    size = _size(ctx, node.input[0])
    if size is None:
        return  # reported as an unknown operator
    (a,), rank = node.input, len(ctx.get_shape(node.input[0]))
    w = Wide(ctx, node)
    a = w.widened(a)
    left = w.op("Mul", w.op("Add", a, _turned(w, a, rank)), w.const(0.5))
    columns = []
    for k in range(size):
        column = _column(w, left, k)
        # Above the diagonal, zeros: the differences of equal numbers differ in their last digits.
        below = w.const((np.arange(size) >= k)[:, None], TensorProto.BOOL)
        root = w.op("Sqrt", w.op("Gather", column, w.const([k], TensorProto.INT64), axis=-2))
        columns.append(w.op("Where", below, w.op("Div", column, root), w.const(0)))
        left = w.op("Sub", left, w.op("Mul", columns[-1], _turned(w, columns[-1], rank)))
    w.wide_end("Concat", *columns, axis=-1)


def _triangular_solve(ctx: Any, node: Any, name: str, args: Any) -> None:
    """X of T X = B, row by row: x_k = b_k / t_kk, B - t x_k is what the others are of."""
    size = _size(ctx, node.input[0])
    if size is None:
        return  # reported as an unknown operator
    (a, b), rank = node.input, len(ctx.get_shape(node.input[0]))
    lower, adjoint = (
        bool(node.get_attr_value(key, default)) for key, default in (("lower", 1), ("adjoint", 0))
    )
    w = Wide(ctx, node)
    a, b = w.widened(a), w.widened(b)
    if adjoint:
        a, lower = _turned(w, a, rank), not lower
    rows: dict[int, str] = {}
    order = range(size) if lower else range(size - 1, -1, -1)
    for k in order:
        at, column = w.const([k], TensorProto.INT64), _column(w, a, k)
        rows[k] = w.op("Div", w.op("Gather", b, at, axis=-2), w.op("Gather", column, at, axis=-2))
        places = np.arange(size) > k if lower else np.arange(size) < k
        kept = w.op("Where", w.const(places[:, None], TensorProto.BOOL), column, w.const(0))
        b = w.op("Sub", b, w.op("Mul", kept, rows[k]))
    w.wide_end("Concat", *(rows[k] for k in range(size)), axis=-2)


def _solve(ctx: Any, node: Any, name: str, args: Any) -> None:
    """A^-1 B, or A^-1 where B is missing; of the transposed A if asked."""
    size = _size(ctx, node.input[0])
    if size is None:
        return  # reported as an unknown operator
    (a, *others), rank = node.input, len(ctx.get_shape(node.input[0]))
    adjoint = bool(node.get_attr_value("adjoint", 0))
    w = Wide(ctx, node)
    a, others = w.widened(a), [w.widened(b) for b in others]
    if adjoint:
        a = _turned(w, a, rank)
    right = others[0] if others else _identity(w, a, size)
    found = _eliminated(w, w.op("Concat", a, right, axis=-1), size)
    w.wide_end("MatMul", _turned(w, found.rows, rank), found.right)


def _log_determinant(ctx: Any, node: Any, name: str, args: Any) -> None:
    """The sign of det A and log |det A|, by the pivots and the sign of their rows' permutation."""
    size = _size(ctx, node.input[0])
    if size is None:
        return  # reported as an unknown operator
    (a,), w = node.input, Wide(ctx, node)
    found = _eliminated(w, w.widened(a), size)
    signs = w.op("Mul", found.rows, w.op("Sign", found.pivots))
    w.end("Det", w.op("Cast", signs, dtype=w.kind, to=w.kind))
    sizes = w.op("Squeeze", w.op("Abs", found.pivots), w.const([-2], TensorProto.INT64))
    last = w.const([-1], TensorProto.INT64)
    w.wide_end("ReduceSum", w.op("Log", sizes), last, output=1, keepdims=0)


def _eliminated(w: Wide, matrix: str, size: int) -> _Elimination:
    """Gauss-Jordan elimination of the first columns of (..., n, m), with the largest number of a column as pivot."""
    numbers = w.const(np.arange(size)[:, None], TensorProto.INT64)
    zero, used, pivots, rows = w.const(0), None, [], []
    for k in range(size):
        column = _column(w, matrix, k)
        sizes = w.op("Abs", column)
        if used is not None:
            sizes = w.op("Where", used, w.const(-1), sizes)
        largest = w.op("ArgMax", sizes, dtype=TensorProto.INT64, axis=-2, keepdims=1)
        chosen = w.op("Equal", numbers, largest, dtype=TensorProto.BOOL)
        used = chosen if used is None else w.op("Or", used, chosen, dtype=TensorProto.BOOL)
        row = w.op(
            "ReduceSum", w.op("Where", chosen, matrix, zero), w.const([-2], TensorProto.INT64), keepdims=1
        )
        pivots.append(_column(w, row, k))
        rows.append(w.op("Cast", chosen, to=w.dtype))
        row = w.op("Div", row, pivots[-1])
        matrix = w.op("Where", chosen, row, w.op("Sub", matrix, w.op("Mul", column, row)))
    from_, to = w.const([size], TensorProto.INT64), w.const([np.iinfo(np.int64).max], TensorProto.INT64)
    right = w.op("Slice", matrix, from_, to, w.const([-1], TensorProto.INT64))
    return _Elimination(right, w.op("Concat", *pivots, axis=-1), w.op("Concat", *rows, axis=-1))


def _identity(w: Wide, like: str, size: int) -> str:
    return w.op("Expand", w.const(np.eye(size)), w.op("Shape", like, dtype=TensorProto.INT64))


def _column(w: Wide, matrix: str, k: int) -> str:
    return w.op("Gather", matrix, w.const([k], TensorProto.INT64), axis=-1)


def _turned(w: Wide, matrix: str, rank: int) -> str:
    return w.op("Transpose", matrix, perm=[*range(rank - 2), rank - 1, rank - 2])


def _size(ctx: Any, matrix: str) -> int | None:
    """The columns of float32 matrices small enough to be written out; None of others."""
    shape, dtype = ctx.get_shape(matrix), ctx.get_dtype(matrix)
    known = dtype == TensorProto.FLOAT and shape and len(shape) >= 2 and shape[-1] == shape[-2]
    return int(shape[-1]) if known and 1 <= shape[-1] <= LARGEST else None


MATRICES: Mapping[str, Handler] = {
    "Cholesky": (_cholesky, []),
    "LogMatrixDeterminant": (_log_determinant, []),
    "MatrixInverse": (_solve, []),
    "MatrixSolve": (_solve, []),
    "MatrixTriangularSolve": (_triangular_solve, []),
}
