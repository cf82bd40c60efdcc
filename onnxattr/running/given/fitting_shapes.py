"""How arrays that do not fit an input are brought to its shape: the ends of error messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxattr.inputs.tensors import plain

Dims = Sequence[int | str | None]
_COLOURS, _WITH_ALPHA = 3, 4
#: The rank of a batch of images.
_IMAGES = 4


def fits(dims: Dims, shape: Sequence[int]) -> bool:
    """Whether a shape is one of some sizes, of which those that are no integers may be anything."""
    return len(dims) == len(shape) and all(
        not isinstance(d, int) or d == n for d, n in zip(dims, shape, strict=True)
    )


def way_out(dims: Dims, shape: tuple[int, ...], batched: str) -> str:
    """What to do with an array that has a batch axis or lacks one; nothing where that is not known.

    Args:
        dims: The sizes of the input, the batch first.
        shape: That of the array.
        batched: How a sample is written as a batch of one.
    """
    of_rows = [None, *dims[1:]]
    if fits(dims[1:], shape):
        return f" Add the batch axis with {batched}."
    if len(shape) == len(dims) - 1:
        axis = next((a for a in range(len(dims) - 1, 0, -1) if fits(_without(of_rows, a), shape)), None)
        return (
            ""
            if axis is None or len(dims) != _IMAGES
            else _of_one_channel(dims[axis], f"np.expand_dims(x, {axis})", axis)
        )
    if len(shape) != len(dims):
        return ""
    if len(dims) == 2 and isinstance(dims[1], int):
        more = shape[1] - dims[1]
        return f" Leave out {more} of the columns, such as an id or the label." if more > 0 else ""
    if len(dims) < 3:
        return ""
    first = (shape[0], shape[-1], *shape[1:-1])
    last = (shape[0], *shape[2:], shape[1])
    for moved, written in ((first, "np.moveaxis(x, -1, 1)"), (last, "np.moveaxis(x, 1, -1)")):
        if fits(of_rows, moved):
            return f" Its channels stand elsewhere: {written}."
    axis = next(a for a in range(1, len(dims)) if isinstance(dims[a], int) and dims[a] != shape[a])
    if len(dims) != _IMAGES or not fits(_without(of_rows, axis), _without(shape, axis)):
        return ""
    if shape[axis] == 1:
        return _of_one_channel(dims[axis], "x", axis)
    if (shape[axis], dims[axis]) == (_WITH_ALPHA, _COLOURS):
        return f" Leave the alpha channel of images out: np.delete(x, 3, axis={axis})."
    return ""


def _without(sizes: Sequence[Any], axis: int) -> list[Any]:
    return [*sizes[:axis], *sizes[axis + 1 :]]


def _of_one_channel(size: int | str | None, written: str, axis: int) -> str:
    """How an array of one channel gets as many as an input has."""
    if size == 1:
        return f" Add the axis of size 1: {written}."
    if size == _COLOURS:
        return f" If these are gray images, repeat them: np.repeat({written}, {_COLOURS}, axis={axis})."
    return ""


def ragged(value: Any) -> str | None:
    """The shapes of the parts of a list, where these are not of one shape; None for anything else."""
    if not isinstance(value, (list, tuple)):
        return None
    try:
        shapes = sorted({np.shape(plain(part)) for part in value})
    except (ValueError, TypeError, RuntimeError):
        return None
    if len(shapes) < 2:
        return None
    told = ", ".join(map(str, shapes[:3])) + (", ..." if len(shapes) > 3 else "")
    return f"its parts have different shapes, {told}; give those of one shape by themselves"
