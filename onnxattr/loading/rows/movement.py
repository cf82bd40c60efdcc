"""Which rows the elements depend on that operators move, without computing with them: see row_independence.

Every function takes the node, what is seen of its operands and the shapes of its outputs, and returns the rows of each
output, or None where they cannot be told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from onnxattr.loading.rows.sets import (
    Seen,
    aligned,
    compact,
    near,
    nothing,
    over,
    reshaped,
    tells_rows,
    union,
)

Operands = Sequence[Seen | None]
Result = Sequence[np.ndarray] | None
Handler = Callable[[Any, Any, Any], Result]


def axis_of(node: Any, default: int, rank: int) -> int:
    """The attribute ``axis``, from 0 on."""
    return int(node.attributes.get_int("axis", default)) % max(rank, 1)


def _reshape(node: Any, seen: Any, shapes: Any) -> Result:
    return [reshaped(seen[0].rows, seen[0].shape, shapes[0])]


def _transpose(node: Any, seen: Any, shapes: Any) -> Result:
    return [seen[0].rows.transpose(node.attributes.get_ints("perm", None))]


def _expand(node: Any, seen: Any, shapes: Any) -> Result:
    return [aligned(seen[0].rows, len(shapes[0]))]


def _concat(node: Any, seen: Any, shapes: Any) -> Result:
    parts, axis = [value.rows for value in seen], axis_of(node, 0, len(shapes[0]))
    if all(part.shape == parts[0].shape and part.shape[axis] == 1 for part in parts) and all(
        (part == parts[0]).all() for part in parts[1:]
    ):
        return [parts[0]]
    common = np.broadcast_shapes(*[(*part.shape[:axis], 1, *part.shape[axis + 1 :]) for part in parts])
    filled = [
        np.broadcast_to(value.rows, (*common[:axis], value.shape[axis], *common[axis + 1 :]))
        for value in seen
    ]
    return [compact(np.concatenate(filled, axis))]


def _split(node: Any, seen: Any, shapes: Any) -> Result:
    rows, axis = seen[0].rows, axis_of(node, 0, len(seen[0].shape))
    if rows.shape[axis] == 1:
        return [rows] * len(shapes)
    ends = np.cumsum([shape[axis] for shape in shapes])[:-1]
    return [compact(part) for part in np.split(rows, ends, axis)]


def _slice(node: Any, seen: Any, shapes: Any) -> Result:
    data, *given = seen
    parts = [value.known if value is not None else None for value in given]
    if parts[0] is None or parts[1] is None:
        return None
    axes = parts[2] if len(parts) > 2 and parts[2] is not None else np.arange(parts[0].size)
    steps = parts[3] if len(parts) > 3 and parts[3] is not None else np.ones(parts[0].size, np.int64)
    rows = data.rows
    for start, end, axis, step in zip(parts[0], parts[1], axes, steps, strict=True):
        if rows.shape[int(axis)] > 1:
            size = data.shape[int(axis)]
            # As ONNX has it: with a negative step, an end before the first element takes that too.
            stop = None if step < 0 and int(end) < -size else int(end)
            index: list[Any] = [slice(None)] * rows.ndim
            index[int(axis)] = slice(int(start), stop, int(step))
            whole = index[int(axis)].indices(size) == (0, size, 1)
            if whole and int(end) < _NO_END and not seen[2].rows.any():
                # A number that more rows would go beyond.
                return None
            rows = rows[tuple(index)]
    return [compact(rows)]


def _gather(node: Any, seen: Any, shapes: Any) -> Result:
    data, index = seen
    axis, inner = axis_of(node, 0, len(data.shape)), len(index.shape)
    if data.rows.shape[axis] == 1:
        rows = data.rows.reshape(*data.rows.shape[:axis], *(1,) * inner, *data.rows.shape[axis + 1 :])
        after = len(data.shape) - axis - 1
        return [rows | index.rows.reshape(*(1,) * axis, *index.rows.shape, *(1,) * after)]
    if index.known is None:
        return None
    return [compact(np.take(data.rows, index.known, axis, mode="wrap"))]


def _gather_elements(node: Any, seen: Any, shapes: Any) -> Result:
    data, index = seen
    axis = axis_of(node, 0, len(data.shape))
    cut = tuple(slice(0, index.shape[k]) if k != axis else slice(None) for k in range(len(data.shape)))
    rows = data.rows[cut]
    if rows.shape[axis] == 1:
        return [rows | index.rows]
    if index.known is None:
        return None
    full = np.broadcast_to(rows, [data.shape[axis] if k == axis else n for k, n in enumerate(index.shape)])
    return [compact(np.take_along_axis(full, index.known % data.shape[axis], axis))]


def _gather_nd(node: Any, seen: Any, shapes: Any) -> Result:
    data, index = seen
    batch, depth = node.attributes.get_int("batch_dims", 0), index.shape[-1]
    picked, rank = range(batch, batch + depth), len(data.shape)
    if all(data.rows.shape[axis] == 1 for axis in picked):
        middle, rest = len(index.shape) - 1 - batch, rank - batch - depth
        rows = data.rows.reshape(*data.rows.shape[:batch], *(1,) * middle, *data.rows.shape[batch + depth :])
        where = over(index.rows, [-1])[..., 0]
        return [rows | where.reshape(*where.shape, *(1,) * rest)]
    if index.known is None or batch:
        return None
    full = np.broadcast_to(
        data.rows, [n if k < depth else data.rows.shape[k] for k, n in enumerate(data.shape)]
    )
    return [compact(full[tuple(np.moveaxis(index.known, -1, 0))])]


def _scatter_nd(node: Any, seen: Any, shapes: Any) -> Result:
    data, index, updates = seen
    if not any(value.rows.any() for value in seen):
        return [nothing(len(shapes[0]))]
    if index.known is None:
        return None
    depth = index.shape[-1]
    if updates.shape != (*index.shape[:-1], *data.shape[depth:]):
        return None
    rows = np.broadcast_to(data.rows, data.shape).copy()
    new = np.broadcast_to(updates.rows, (*index.shape[:-1], *data.shape[depth:]))
    where = tuple(np.moveaxis(index.known, -1, 0))
    rows[where] = new if node.attributes.get_string("reduction", "none") == "none" else rows[where] | new
    hits = np.zeros(data.shape[:depth], np.int64)
    np.add.at(hits, where, 1)
    rows = compact(rows)
    if any(tells_rows(rows, axis) and (hits != hits.take([0], axis)).any() for axis in range(depth)):
        # Some rows are written to, and not others: those of a batch written down.
        return None
    return [rows]


def _scatter_elements(node: Any, seen: Any, shapes: Any) -> Result:
    data, index, updates = seen
    axis = axis_of(node, 0, len(data.shape))
    if data.rows.shape[axis] > 1 or updates.rows.shape[axis] > 1:
        return None
    parts = [data.rows, near(index.rows, [axis]), updates.rows]
    if any(part.shape[k] not in (1, n) for part in parts for k, n in enumerate(shapes[0])):
        return None
    rows = union(parts)
    short = [k for k, n in enumerate(index.shape) if k != axis and n != data.shape[k]]
    if any(tells_rows(rows, k) for k in short):
        # Only the first rows are written to.
        return None
    return [rows]


def _tile(node: Any, seen: Any, shapes: Any) -> Result:
    repeats = seen[1].known
    rows = seen[0].rows
    return [np.tile(rows, [int(n) if rows.shape[k] > 1 else 1 for k, n in enumerate(repeats)])]


#: From here on the end of a Slice is meant to be that of its axis.
_NO_END = 2**31 - 1
_PADDING = {"edge": "edge", "reflect": "reflect", "wrap": "wrap", "constant": "constant"}


def _pad(node: Any, seen: Any, shapes: Any) -> Result:
    data, pads = seen[0], seen[1].known
    axes = seen[3].known if len(seen) > 3 and seen[3] is not None else np.arange(len(data.shape))
    fill = seen[2] if len(seen) > 2 else None
    mode = _PADDING[node.attributes.get_string("mode", "constant")]
    rows = data.rows
    for k, axis in enumerate(axes):
        before, after = int(pads[k]), int(pads[k + len(axes)])
        if rows.shape[axis] > 1:
            cut: list[Any] = [slice(None)] * rows.ndim
            cut[axis] = slice(max(-before, 0), rows.shape[axis] - max(-after, 0))
            width = [(0, 0)] * rows.ndim
            width[axis] = (max(before, 0), max(after, 0))
            rows = np.pad(rows[tuple(cut)], width, mode)  # type: ignore[call-overload]
    return [rows if fill is None else rows | aligned(fill.rows.reshape(-1)[:1], rows.ndim)]


def _one_hot(node: Any, seen: Any, shapes: Any) -> Result:
    index, _, values = seen
    axis = node.attributes.get_int("axis", -1) % len(shapes[0])
    return [np.expand_dims(index.rows, axis) | aligned(over(values.rows, [0]), len(shapes[0]))]


def _triangle(node: Any, seen: Any, shapes: Any) -> Result:
    """What is kept depends on the place along the last two axes."""
    return [near(seen[0].rows, [-2, -1])]


def _reverse_sequence(node: Any, seen: Any, shapes: Any) -> Result:
    time, batch = node.attributes.get_int("time_axis", 0), node.attributes.get_int("batch_axis", 1)
    if seen[1].shape != (seen[0].shape[batch],):
        return None
    lengths = seen[1].rows.reshape([-1 if k == batch else 1 for k in range(len(seen[0].shape))])
    return [near(seen[0].rows, [time]) | lengths]


def _created(node: Any, seen: Any, shapes: Any) -> Result:
    """What depends on shapes, on what a run decides or on chance, but on no row."""
    return (
        [nothing(len(shape)) for shape in shapes]
        if not any(s is not None and s.rows.any() for s in seen)
        else None
    )


def _shaped(node: Any, seen: Any, shapes: Any) -> Result:
    return [nothing(len(shape)) for shape in shapes]


MOVEMENT: dict[str, Handler] = {
    "ConstantOfShape": _shaped,
    "Concat": _concat,
    "Expand": _expand,
    "EyeLike": _shaped,
    "Flatten": _reshape,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "OneHot": _one_hot,
    "Pad": _pad,
    "RandomNormal": _shaped,
    "RandomNormalLike": _shaped,
    "RandomUniform": _shaped,
    "RandomUniformLike": _shaped,
    "Range": _created,
    "Reshape": _reshape,
    "ReverseSequence": _reverse_sequence,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "Shape": _shaped,
    "Size": _shaped,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _reshape,
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _triangle,
    "Unsqueeze": _reshape,
}

#: Operands that only say where to and how large: what they hold decides shapes, which are followed themselves.
STRUCTURE = {
    "ConstantOfShape": (0,), "Expand": (1,), "Pad": (1, 3), "Range": (0, 1, 2), "Reshape": (1,), "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4), "Split": (1,), "Squeeze": (1,), "Tile": (1,), "TopK": (1,), "Unsqueeze": (1,),
}  # fmt: skip
