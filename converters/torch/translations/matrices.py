"""Factors, solutions and determinants of small square matrices, one step for each column, in 64 bits.

Each product and quotient is a node: the gradient of the elimination is the gradient of the solution.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import onnx

from ...common.small_matrices import LARGEST
from .elementwise import operators
from .wide import number, widened


class _Elimination(NamedTuple):
    """The inverse of a matrix up to the order of its rows, its pivots, (..., 1, n), and their rows.

    `rows` are ones where a row, the axis before the last, was chosen for a column, the last axis.
    """

    right: Any
    pivots: Any
    rows: Any


def inverse(matrix: Any, check_errors: bool = False) -> tuple[Any, Any]:
    """A^-1."""
    return operators().CastLike(_inverse(matrix, "inv"), matrix), _nothing()


def solution(
    matrix: Any, right: Any, left: bool = True, check_errors: bool = False
) -> tuple[Any, Any, Any, Any]:
    """X of A X = B, or of X A = B."""
    op, rank = operators(), len(matrix.shape)
    vector = len(right.shape) == 1 or (
        len(right.shape) == rank - 1 and tuple(right.shape) == tuple(matrix.shape[:-1])
    )
    last, found = op.Constant(value_ints=[-1]), _inverse(matrix, "solve")
    b = widened(op.Unsqueeze(right, last) if vector else right)
    x = op.MatMul(found, b) if left or vector else op.MatMul(b, found)
    x = op.CastLike(op.Squeeze(x, last) if vector else x, matrix)
    return x, _nothing(), _nothing(), _nothing()


def log_determinant(matrix: Any) -> tuple[Any, Any, Any, Any]:
    """The sign of det A and log |det A|, by the pivots and the sign of their rows' permutation."""
    op, found = operators(), _eliminated(matrix, "slogdet")
    sign = op.Det(op.CastLike(op.Mul(found.rows, op.Sign(found.pivots)), matrix))
    sizes = op.Log(op.Abs(found.pivots))
    total = op.ReduceSum(sizes, op.Constant(value_ints=[-2, -1]), keepdims=0)
    return sign, op.CastLike(total, matrix), _nothing(), _nothing()


def logarithm_of_determinant(self: Any) -> Any:
    """log det A, NaN where it is negative; the exporter's Log(Det(A)) is infinite where a product of pivots is 0."""
    op = operators()
    if not _is_small(self):
        return op.Log(op.Det(self))
    sign, total, *_ = log_determinant(self)
    zero = op.CastLike(0.0, self)
    return op.Where(op.Less(sign, zero), op.CastLike(math.nan, self), total)


def cholesky(self: Any, upper: bool = False, check_errors: bool = False) -> tuple[Any, Any]:
    """L of A = L L^T, column by column: l = a / sqrt(a_kk), A - l l^T is what the others are of.

    PyTorch reads one triangle and spreads the gradient over both. The mean of both triangles does so too, and is the
    same matrix.
    """
    op, size, rank = operators(), _size(self, "cholesky"), len(self.shape)
    a = widened(self)
    left = op.Mul(op.Add(a, _turned(a, rank)), number(0.5))
    columns = []
    for k in range(size):
        column = _column(left, k)
        root = op.Sqrt(op.Gather(column, op.Constant(value_ints=[k]), axis=-2))
        # Above the diagonal, zeros: the differences of equal numbers differ in their last digits.
        columns.append(op.Where(_tensor((np.arange(size) >= k)[:, None]), op.Div(column, root), number(0)))
        left = op.Sub(left, op.Mul(columns[-1], _turned(columns[-1], rank)))
    found = op.Concat(*columns, axis=-1)
    return op.CastLike(_turned(found, rank) if upper else found, self), _nothing()


def triangular_solution(
    self: Any, right: Any, upper: bool = False, left: bool = True, unitriangular: bool = False
) -> Any:
    """X of T X = B, row by row, or of X T = B: x_k = b_k / t_kk, B - t x_k is what the others are of."""
    op, size, rank = operators(), _size(self, "solve_triangular"), len(self.shape)
    a, b = widened(self), widened(right)
    if not left:
        a, b, upper = _turned(a, rank), _turned(b, len(right.shape)), not upper
    rows: dict[int, Any] = {}
    for k in range(size - 1, -1, -1) if upper else range(size):
        at, column = op.Constant(value_ints=[k]), _column(a, k)
        row = op.Gather(b, at, axis=-2)
        rows[k] = row if unitriangular else op.Div(row, op.Gather(column, at, axis=-2))
        places = np.arange(size) < k if upper else np.arange(size) > k
        b = op.Sub(b, op.Mul(op.Where(_tensor(places[:, None]), column, number(0)), rows[k]))
    found = op.Concat(*(rows[k] for k in range(size)), axis=-2)
    return op.CastLike(found if left else _turned(found, max(rank, len(right.shape))), self)


def _inverse(matrix: Any, function: str) -> Any:
    found = _eliminated(matrix, function)
    return operators().MatMul(_turned(found.rows, len(matrix.shape)), found.right)


def _eliminated(matrix: Any, function: str) -> _Elimination:
    """Gauss-Jordan elimination of (..., n, n) beside ones, with the largest number of a column as pivot."""
    op, size = operators(), _size(matrix, function)
    wide = widened(matrix)
    ones = op.Expand(_tensor(np.eye(size)), op.Shape(wide))
    left, used, pivots, rows = op.Concat(wide, ones, axis=-1), None, [], []
    numbers = _tensor(np.arange(size)[:, None])
    for k in range(size):
        column = _column(left, k)
        sizes = op.Abs(column) if used is None else op.Where(used, number(-1), op.Abs(column))
        chosen = op.Equal(numbers, op.ArgMax(sizes, axis=-2, keepdims=1))
        used = chosen if used is None else op.Or(used, chosen)
        row = op.ReduceSum(op.Where(chosen, left, number(0)), op.Constant(value_ints=[-2]), keepdims=1)
        pivots.append(_column(row, k))
        rows.append(widened(chosen))
        row = op.Div(row, pivots[-1])
        left = op.Where(chosen, row, op.Sub(left, op.Mul(column, row)))
    right = op.Slice(left, *(op.Constant(value_ints=[at]) for at in (size, 2 * size, -1)))
    return _Elimination(right, op.Concat(*pivots, axis=-1), op.Concat(*rows, axis=-1))


def _column(matrix: Any, k: int) -> Any:
    op = operators()
    return op.Gather(matrix, op.Constant(value_ints=[k]), axis=-1)


def _turned(matrix: Any, rank: int) -> Any:
    return operators().Transpose(matrix, perm=[*range(rank - 2), rank - 1, rank - 2])


def _tensor(numbers: np.ndarray) -> Any:
    return operators().Constant(value=onnx.numpy_helper.from_array(numbers))


def _nothing() -> Any:
    """What says how a factorisation went, and factors that PyTorch's backward pass reads: nobody does in a file."""
    return operators().Constant(value_int=0)


def _size(matrix: Any, function: str) -> int:
    """The columns of matrices small enough to be written out.

    Raises:
        NotImplementedError: They are too large or of unknown size.
    """
    size = matrix.shape[-1]
    if not _is_small(matrix):
        raise NotImplementedError(
            f"torch.linalg.{function} of matrices of {size} columns; supported: known sizes up to {LARGEST}"
        )
    return int(size)


def _is_small(matrix: Any) -> bool:
    size = matrix.shape[-1]
    return isinstance(size, int) and 1 <= size <= LARGEST
