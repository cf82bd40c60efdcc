"""What a Reshape that wrote a batch down aims at once the batch is free."""

from __future__ import annotations

import numpy as np

from onnxattr.loading.rows.sets import Seen, Shape


def reshape_target(
    target: np.ndarray, seen: Seen, shape: Shape, batch: tuple[int, int], source: Shape, result: Shape
) -> np.ndarray | None:
    """The target of a Reshape that wrote a batch of one size down, with -1 for what grows with the batch.

    Args:
        target: The target as it is.
        seen: What is known of the operand.
        shape: The operand's shape for ``batch[1]`` rows.
        batch: The number of rows written down, and now.
        source: The operand's shape for the number written down.
        result: The result's shape for that number.

    Returns:
        None if it cannot be told; the target itself if it fits any batch.
    """
    grown = [axis for axis, (a, b) in enumerate(zip(source, shape, strict=True)) if a != b]
    if batch[0] == batch[1] or not grown:
        return target
    (axis,) = grown if len(grown) == 1 else (None,)
    if axis is None or seen.rows.shape[axis] != shape[axis]:
        return None
    line = np.moveaxis(seen.rows, axis, -1).reshape(-1, shape[axis])[0]
    inner = int(np.argmax(line != line[0])) if (line != line[0]).any() else 0
    if inner == 0 or source[axis] % (inner * batch[0]):
        return None
    before = int(np.prod(source[:axis], dtype=np.int64)) * (source[axis] // (inner * batch[0]))
    after = inner * int(np.prod(source[axis + 1 :], dtype=np.int64))
    fits = []
    for j, size in enumerate(result):
        head, tail = int(np.prod(result[:j], dtype=np.int64)), int(np.prod(result[j + 1 :], dtype=np.int64))
        fit = head and tail and before % head == 0 and after % tail == 0
        if fit and size == (before // head) * batch[0] * (after // tail):
            fits.append(j)
    if not fits:
        return None
    place = axis if axis in fits else fits[0]
    if target[place] == -1 or (target[place] == 0 and place == axis):
        return target
    return np.array([-1 if j == place else size for j, size in enumerate(result)], np.int64)
