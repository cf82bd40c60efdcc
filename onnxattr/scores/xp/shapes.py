"""Functions that lay elements out in another way, pick some, or make arrays of the same shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.errors import OperatorError
from onnxattr.graph.values import dims_of
from onnxattr.scores.arrays import Array
from onnxattr.scores.operands import axes_of, common
from onnxattr.scores.xp.elementwise import where

#: An axis, several, or all.
Axis = int | Sequence[int] | None


def _size_vector(like: Array, sizes: Any) -> ir.Value:
    """A shape whose sizes may be traced."""
    given = [sizes] if isinstance(sizes, (int, np.integer, Array)) else list(sizes)
    if not any_traced(given):
        return like.op.constant(np.array([int(size) for size in given], np.int64))
    parts = [
        like.op.Reshape(size.astype(ir.DataType.INT64).value, [1])
        if isinstance(size, Array)
        else like.op.constant(np.array([size], np.int64))
        for size in given
    ]
    return like.op.Concat(*parts, axis=0)


def any_traced(given: Sequence[Any]) -> Any:
    """Whether one of several things is a traced array."""
    return next((True for size in given if isinstance(size, Array)), False)


def reshape(a: Any, shape: Any) -> Array:
    """The elements in another shape; one size may be -1."""
    (array,) = common(a)
    return array.new(array.op.Reshape(array.value, _size_vector(array, shape)))


def broadcast_to(a: Any, shape: Any) -> Array:
    """The elements repeated to a shape."""
    (array,) = common(a)
    return array.new(array.op.Expand(array.value, _size_vector(array, shape)))


def permute_dims(a: Any, axes: Sequence[int] | None = None) -> Array:
    """The axes in another order; by default reversed."""
    (array,) = common(a)
    order = list(range(array.ndim))[::-1] if axes is None else axes_of(array, axes)
    return array.new(array.op.Transpose(array.value, perm=order))


def matrix_transpose(a: Any) -> Array:
    """The last two axes swapped."""
    (array,) = common(a)
    axes = list(range(array.ndim))
    return permute_dims(array, (*axes[:-2], axes[-1], axes[-2]))


def moveaxis(a: Any, source: Axis, destination: Axis) -> Array:
    """Axes in other places, the rest in their order."""
    (array,) = common(a)
    taken, places = axes_of(array, source) or [], axes_of(array, destination) or []
    order = [axis for axis in range(array.ndim) if axis not in taken]
    for place, axis in sorted(zip(places, taken, strict=True)):
        order.insert(place, axis)
    return permute_dims(array, order)


def squeeze(a: Any, axis: Axis = None) -> Array:
    """Without some axes of size 1."""
    (array,) = common(a)
    if axis is None:
        raise OperatorError(
            "The operator calls squeeze() without an axis, which may take the samples' too: name it."
        )
    return array.new(array.op.Squeeze(array.value, axes_of(array, axis)))


def expand_dims(a: Any, axis: Axis = 0) -> Array:
    """With more axes of size 1."""
    (array,) = common(a)
    return array.new(array.op.Unsqueeze(array.value, [axis] if isinstance(axis, int) else list(axis or ())))


def concat(arrays: Sequence[Any], axis: int | None = 0) -> Array:
    """Arrays one after the other along an axis."""
    parts = common(*arrays)
    if axis is None:
        parts, axis = [reshape(part, (-1,)) for part in parts], 0
    return parts[0].new(parts[0].op.Concat(*[part.value for part in parts], axis=int(axis)))


def stack(arrays: Sequence[Any], axis: int = 0) -> Array:
    """Arrays of one shape along a new axis."""
    return concat([expand_dims(part, axis) for part in common(*arrays)], axis)


def flip(a: Any, axis: Axis = None) -> Array:
    """Mirrored along axes."""
    (array,) = common(a)
    mirrored = range(array.ndim) if axis is None else axes_of(array, axis) or []
    return array[tuple(slice(None, None, -1) if k in mirrored else slice(None) for k in range(array.ndim))]


def roll(a: Any, shift: int | Sequence[int], axis: int | Sequence[int]) -> Array:
    """Shifted along axes, what leaves at one end coming in at the other."""
    (array,) = common(a)
    places = axes_of(array, axis) or []
    shifts: list[Any] = list(shift) if isinstance(shift, Sequence) else [shift] * len(places)
    if len(shifts) != len(places):
        raise OperatorError(
            f"The operator rolls {len(places)} axes by {len(shifts)} shifts; expected one shift, or one for each axis."
        )
    for place, by in zip(places, shifts, strict=True):
        array = _rolled(array, int(by), place)
    return array


def _rolled(array: Array, shift: int, axis: int) -> Array:
    """Shifted along one axis; shifts may be longer than it."""
    size, before = array.shape[axis], (slice(None),) * axis
    if isinstance(size, int):
        shift = shift % size if size else 0
        parts = [array[(*before, slice(-shift, None))], array[(*before, slice(None, -shift))]]
        return concat(parts, axis) if shift else array
    places = array.new(array.op.Range(np.int64(0), size.value, np.int64(1)))
    return array[(*before, (places - shift) % size)]


def tile(a: Any, repetitions: int | Sequence[int]) -> Array:
    """Repeated along each axis; of fewer numbers than axes, along the last ones."""
    (array,) = common(a)
    given = [repetitions] if isinstance(repetitions, (int, np.integer, Array)) else list(repetitions)
    if len(given) > array.ndim:
        array = expand_dims(array, tuple(range(len(given) - array.ndim)))
    given = [1] * (array.ndim - len(given)) + given
    return array.new(array.op.Tile(array.value, _size_vector(array, given)))


def take(a: Any, indices: Any, axis: int | None = None) -> Array:
    """The elements at places along an axis."""
    (array,) = common(a)
    if axis is None:
        array, axis = reshape(array, (-1,)), 0
    (place,) = axes_of(array, axis) or [0]
    return array[(*(slice(None),) * place, indices if isinstance(indices, Array) else np.asarray(indices))]


def take_along_axis(a: Any, indices: Any, axis: int = -1) -> Array:
    """For each place along the other axes, of which those of size 1 repeat, the elements at its own places on one."""
    (array,) = common(a)
    (place,) = axes_of(array, axis) or [0]
    at = indices if isinstance(indices, Array) else array.constant(np.asarray(indices, np.int64))
    if at.ndim != array.ndim:
        raise OperatorError(
            f"The operator takes along an axis of {array!r} with indices {at!r}; expected as many axes, as "
            "indices[:, None] has one more."
        )
    at = at.astype(ir.DataType.INT64)
    array, at = _repeated(array, at, place), _repeated(at, array, place)
    return array.new(array.op.GatherElements(array.value, at.value, axis=place))


def _repeated(a: Array, other: Array, along: int) -> Array:
    """An array whose axes, but for one, have the sizes of another's where its own is 1."""
    own, wanted = (dims_of(array.value) or [] for array in (a, other))
    same = [
        k == along or (m is not None and m == n) or n == 1
        for k, (m, n) in enumerate(zip(own, wanted, strict=True))
    ]
    if all(same):
        return a
    return broadcast_to(a, [1 if k == along else size for k, size in enumerate(other.shape)])


def astype(a: Array, dtype: Any, **_: Any) -> Array:
    """The elements in another type."""
    return a.astype(dtype)


def asarray(a: Any, dtype: Any = None, **_: Any) -> Any:
    """A traced array as it is; other numbers as a NumPy array."""
    if not isinstance(a, Array):
        return np.asarray(a, dtype)
    return a if dtype is None else a.astype(dtype)


def full_like(a: Array, fill: float, *, dtype: Any = None) -> Array:
    """An array of the same shape with one number everywhere."""
    like = a if dtype is None else a.astype(dtype)
    return a.new(a.op.expand_like(fill, like.value))


def zeros_like(a: Array, *, dtype: Any = None) -> Array:
    """An array of the same shape with 0 everywhere."""
    return full_like(a, 0, dtype=dtype)


def ones_like(a: Array, *, dtype: Any = None) -> Array:
    """An array of the same shape with 1 everywhere."""
    return full_like(a, 1, dtype=dtype)


def tril(a: Any, k: int = 0) -> Any:
    """The elements of matrices up to their kth diagonal, and 0 above it."""
    return np.tril(a, k) if not isinstance(a, Array) else where(_diagonals(a) <= k, a, zeros_like(a))


def triu(a: Any, k: int = 0) -> Any:
    """The elements of matrices from their kth diagonal on, and 0 below it."""
    return np.triu(a, k) if not isinstance(a, Array) else where(_diagonals(a) >= k, a, zeros_like(a))


def _diagonals(a: Array) -> Array:
    """The diagonal of each element of a matrix: its column minus its row."""
    if a.ndim < 2:
        raise OperatorError(f"The operator takes a triangle of {a!r}; expected an array of matrices.")
    rows, columns = (
        a.op.Range(0, a.op.Squeeze(a.op.shape(a.value, axis, axis + 1), [0]), 1)
        for axis in (a.ndim - 2, a.ndim - 1)
    )
    return a.new(a.op.Sub(a.op.Unsqueeze(columns, [0]), a.op.Unsqueeze(rows, [1])))
