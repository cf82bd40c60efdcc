"""Which rows of a batch each element of a value depends on, at one size of everything.

A set of rows is a few bits. What a value is like is kept with as many axes as the value has, of which those along which
nothing changes have the size 1, so that a set of images costs as much as their number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

#: Most rows that are told apart. Beside a bit for each there is one for its copy of what all rows share, and one for
#: what cannot be seen through, such as the number of rows used as a number.
MOST_ROWS = 3
OWN, COPIES, UNSEEN = 0b000111, 0b111000, 1 << 6
_SEVERAL = np.array([bits.bit_count() > 1 for bits in range(OWN + 1)])
Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Seen:
    """What is known of a value.

    Attributes:
        shape: Its shape; None if unknown.
        rows: The rows that its elements depend on, broadcasting to the shape; a scalar where the shape is unknown.
        known: What it holds whatever the model is fed, if that is small and seen.
        same: Whether all its elements are equal, whatever its shape.
    """

    shape: Shape | None
    rows: np.ndarray
    known: np.ndarray | None = None
    same: bool = False


def nothing(rank: int) -> np.ndarray:
    """No rows at all."""
    return np.zeros((1,) * rank, np.uint8)


def constant(array: np.ndarray, rows: np.ndarray | None = None) -> Seen:
    """A known value."""
    return Seen(array.shape, nothing(array.ndim) if rows is None else rows, array, array.size == 1)


def unseen(shape: Shape | None, *sources: Seen | None) -> Seen:
    """A value that depends on others, in a way that cannot be seen."""
    depends = any(source is not None and source.rows.any() for source in sources)
    return Seen(shape, nothing(len(shape or ())) | np.uint8(UNSEEN * depends))


def union(parts: Sequence[np.ndarray]) -> np.ndarray:
    """The rows of elements that depend on elements of several values, which broadcast."""
    total = parts[0]
    for part in parts[1:]:
        total = total if part is total else total | part
    return total


def over(rows: np.ndarray, axes: Iterable[int]) -> np.ndarray:
    """The rows of elements that depend on all elements along axes; these stay, with size 1."""
    axes = tuple(axis % rows.ndim for axis in axes)
    varying = tuple(axis for axis in axes if rows.shape[axis] > 1)
    return np.bitwise_or.reduce(rows, varying, keepdims=True) if varying else rows


def near(rows: np.ndarray, axes: Iterable[int]) -> np.ndarray:
    """The same where elements depend on some elements along axes, nobody knows which."""
    together = over(rows, axes)
    return together if together is rows else np.full_like(together, UNSEEN)


def tells_rows(rows: np.ndarray, axis: int) -> bool:
    """Whether different rows lie along an axis."""
    line = over(rows, [k for k in range(rows.ndim) if k != axis]) & OWN
    return np.unique(line[line > 0]).size > 1


def compact(rows: np.ndarray) -> np.ndarray:
    """The same with the size 1 along every axis along which nothing changes."""
    for axis, size in enumerate(rows.shape):
        if size > 1:
            first = rows.take([0], axis)
            if (rows == first).all():
                rows = first
    return rows


def reshaped(rows: np.ndarray, old: Shape, new: Shape) -> np.ndarray:
    """The rows of a value of shape ``old`` as those of its reshaping to ``new``."""
    if rows.size == 1 or 0 in old:
        return rows.reshape(-1)[:1].reshape((1,) * len(new))
    before: list[int] = []
    after: list[int] = []
    for i0, i1, j0, j1 in _blocks(old, new):
        varies = any(size > 1 for size in rows.shape[i0:i1])
        before += old[i0:i1] if varies else (1,) * (i1 - i0)
        after += new[j0:j1] if varies else (1,) * (j1 - j0)
    return compact(np.broadcast_to(rows, before).reshape(after))


def _blocks(old: Shape, new: Shape) -> Iterable[tuple[int, int, int, int]]:
    """Runs of axes of two shapes that hold the same elements, as short as can be: (i0, i1, j0, j1)."""
    i0 = j0 = 0
    while i0 < len(old) or j0 < len(new):
        i1, j1 = min(i0 + 1, len(old)), min(j0 + 1, len(new))
        while (a := math.prod(old[i0:i1])) != (b := math.prod(new[j0:j1])):
            if a < b and i1 < len(old):
                i1 += 1
            elif j1 < len(new):
                j1 += 1
            else:
                raise ValueError(f"{old} cannot be reshaped to {new}")
        yield i0, i1, j0, j1
        i0, j0 = i1, j1


def aligned(rows: np.ndarray, rank: int) -> np.ndarray:
    """Rows of a value that broadcasts to a higher rank."""
    return rows.reshape((1,) * (rank - rows.ndim) + rows.shape)


def at_axis(rows: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """The rows of a vector, placed along one axis of a value of some rank."""
    return rows.reshape([-1 if k == axis else 1 for k in range(rank)])


def mixes(rows: np.ndarray) -> bool:
    """Whether some element depends on several rows."""
    return bool(_SEVERAL[rows & OWN].any())


def hidden(rows: np.ndarray) -> bool:
    """Whether some element depends on what cannot be seen through."""
    return bool((rows & UNSEEN).any())


def copies(rows: np.ndarray, axis: int, shape: Shape, batch: int) -> np.ndarray:
    """Marks what is the same all along an axis that grows with the batch as a copy for each row."""
    if shape[axis] % batch:
        return rows | np.uint8(UNSEEN)
    bits = np.repeat(1 << (MOST_ROWS + np.arange(batch)), shape[axis] // batch).astype(np.uint8)
    united: np.ndarray = rows | at_axis(bits, axis, len(shape))
    return united


def compared(first: np.ndarray | None, second: np.ndarray, batch: int) -> np.ndarray:
    """The rows of a known array that is ``first`` for one row less than for ``batch``, then ``second``.

    What depends on how many rows there are, or is other for one row than for the next, is no row's own.
    """
    rows = nothing(second.ndim)
    if first is not None and first.ndim == second.ndim and 0 not in (*first.shape, *second.shape):
        changed = [axis for axis in range(second.ndim) if first.shape[axis] != second.shape[axis]]
        uniform = all((second == second.take([0], axis)).all() for axis in changed)
        once = [
            array[tuple(slice(1) if k in changed else slice(None) for k in range(array.ndim))]
            for array in (first, second)
        ]
        if uniform and (once[0] == once[1]).all():
            for axis in changed:
                rows = copies(rows, axis, second.shape, batch)
            return nothing(second.ndim) if (second == second.reshape(-1)[0]).all() else rows
        if not changed:
            return compact(np.where(first == second, 0, UNSEEN).astype(np.uint8))
    return rows | np.uint8(UNSEEN)
