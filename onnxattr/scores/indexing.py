"""Indexing of traced arrays, as NumPy's: integers, slices, None, Ellipsis, and arrays of integers along an axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.errors import OperatorError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of

_LARGE = 2**31 - 1


def indexed(op: OpBuilder, value: ir.Value, key: Any, traced: Callable[[Any], ir.Value | None]) -> ir.Value:
    """``value[key]``.

    Args:
        op: The builder of the graph.
        value: What is indexed; its rank is known.
        key: What stands between the brackets.
        traced: The value of an index that is a traced array; None for others.

    Raises:
        OperatorError: If an index is of another kind, there are too many, or one is out of range.
    """
    dims = dims_of(value)
    if dims is None:
        raise OperatorError(f"The operator indexes {value.name!r}, whose number of axes is not known.")
    keys = _expanded(key, len(dims))
    slices: list[tuple[int, int, int, int]] = []
    arrays: list[tuple[int, ir.Value]] = []
    dropped: list[int] = []
    axis = 0
    for entry in keys:
        if entry is None:
            continue
        if isinstance(entry, slice):
            if entry != slice(None):
                slices.append(_of_slice(entry, axis))
        elif (at := traced(entry)) is not None or isinstance(entry, (list, np.ndarray)):
            arrays.append((axis, _of_array(op, entry, at, axis)))
        else:
            position = _integer(entry, dims[axis], axis)
            slices.append((position, position + 1 if position != -1 else _LARGE, axis, 1))
            dropped.append(axis)
        axis += 1
    return _applied(op, value, keys, slices, arrays, dropped, traced)


def _applied(
    op: OpBuilder,
    value: ir.Value,
    keys: list[Any],
    slices: list[tuple[int, int, int, int]],
    arrays: list[tuple[int, ir.Value]],
    dropped: list[int],
    traced: Callable[[Any], ir.Value | None],
) -> ir.Value:
    if slices:
        starts, ends, axes, steps = (list(column) for column in zip(*slices, strict=True))
        value = op.Slice(value, starts, ends, axes, steps)
    if len(arrays) > 1:
        raise OperatorError(
            "The operator indexes two axes of a traced array with arrays at once: take them one after the other, or "
            "pick one element for each place with take_along_axis()."
        )
    if arrays and any(abs(axis - arrays[0][0]) > 1 for axis in dropped):
        raise OperatorError(
            "The operator indexes a traced array with an array and, beyond other axes, an integer: index in two steps, "
            "as the order of the axes is not obvious."
        )
    added = 0
    for axis, at in arrays:
        value, added = op.Gather(value, at, axis=axis), len(dims_of(at) or []) - 1
    if dropped:
        first = arrays[0][0] if arrays else _LARGE
        value = op.Squeeze(value, [axis + added * (axis > first) for axis in dropped])
    place, new = 0, []
    for entry in keys:
        if entry is None:
            new.append(place)
        is_array = entry is not None and (traced(entry) is not None or isinstance(entry, (list, np.ndarray)))
        place += added + 1 if is_array else int(entry is None or isinstance(entry, slice))
    return op.Unsqueeze(value, new) if new else value


def _expanded(key: Any, rank: int) -> list[Any]:
    """The key with an entry for each axis, and None for each new one."""
    keys = list(key) if isinstance(key, tuple) else [key]
    dots = [k for k, entry in enumerate(keys) if entry is Ellipsis]
    if len(dots) > 1:
        raise OperatorError("The operator indexes a traced array with two '...'; expected one at most.")
    used = sum(entry is not None and entry is not Ellipsis for entry in keys)
    if used > rank:
        raise OperatorError(f"The operator gives {used} indices to a traced array of {rank} axes.")
    at = dots[0] if dots else len(keys)
    return keys[:at] + [slice(None)] * (rank - used) + keys[at + 1 :]


def _of_slice(entry: slice, axis: int) -> tuple[int, int, int, int]:
    """Start, end, axis and step."""
    for part in (entry.start, entry.stop, entry.step):
        if part is not None and not isinstance(part, (int, np.integer)):
            raise OperatorError(
                f"The operator slices axis {axis} of a traced array with {part!r:.60}; expected integers. take() picks "
                "elements at computed places."
            )
    step = 1 if entry.step is None else int(entry.step)
    if step == 0:
        raise OperatorError(f"The operator slices axis {axis} of a traced array with step 0.")
    start = (0 if step > 0 else -1) if entry.start is None else int(entry.start)
    end = (_LARGE if step > 0 else -_LARGE) if entry.stop is None else int(entry.stop)
    return start, end, axis, step


def _of_array(op: OpBuilder, entry: Any, at: ir.Value | None, axis: int) -> ir.Value:
    if at is None:
        array = np.asarray(entry)
        if array.dtype.kind not in "iu":
            raise OperatorError(
                f"The operator indexes axis {axis} of a traced array with {array.dtype} values; expected integers. "
                "Where a condition chooses, use where(condition, a, b)."
            )
        return op.constant(array.astype(np.int64))
    if at.dtype == ir.DataType.BOOL:
        raise OperatorError(
            "The operator indexes a traced array with a condition, so that its size would depend on the numbers: use "
            "where(condition, a, b), and multiply or sum with it."
        )
    if at.dtype not in (ir.DataType.INT64, ir.DataType.INT32):
        at = op.Cast(at, to=ir.DataType.INT64.value)
    return at


def _integer(entry: Any, size: Any, axis: int) -> int:
    if isinstance(entry, (bool, np.bool_)) or not isinstance(entry, (int, np.integer)):
        raise OperatorError(
            f"The operator indexes axis {axis} of a traced array with {entry!r:.60}; expected an integer, a slice, "
            "None, '...' or an array of integers."
        )
    if isinstance(size, int) and not -size <= entry < size:
        raise OperatorError(
            f"The operator takes index {int(entry)} of axis {axis}, which has {size} elements."
        )
    return int(entry)
