"""Pixels that a caller gives: whole numbers of 0 to 255, as photos have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxattr.callers import warn_caller
from onnxattr.errors import ShapeError
from onnxattr.inputs.tensors import plain
from onnxattr.loading.prepared import Prepared

_BRIGHTEST = 255
#: A photo that was resized with a sharp kernel may be that far outside.
_OVERSHOOT = 32
#: Images in units of standard deviations stay below.
_NORMALISED = 10


def check_pixels(prepared: Prepared, parts: Sequence[Any]) -> None:
    """Refuses numbers that are no pixels, for a model with preprocessing in front; warns of unlikely ones.

    Those are numbers of 0 to 1, and floats far from 0 to 255, as of images that are preprocessed already.

    Args:
        prepared: The model.
        parts: What was given for each input.

    Raises:
        ShapeError: Says what was given, and what the file takes.
    """
    spec = prepared.preprocessing
    if spec is None or not spec.in_graph:
        return
    names = [str(value.name) for value in prepared.inputs]
    if spec.name not in names:
        return
    given = parts[names.index(spec.name)]
    try:
        array = np.asarray(plain(given))
    except ValueError:
        return  # ragged, which is said where arrays are read
    if array.dtype == np.uint8 or array.dtype.kind not in "fiub" or not array.size:
        return
    low, high = float(array.min()), float(array.max())
    if spec.dtype == "uint8" and not (
        low >= 0
        and high <= _BRIGHTEST
        and (array.dtype.kind in "iub" or np.array_equal(array, np.round(array)))
    ):
        raise ShapeError(
            f"Input {spec.name!r} holds {array.dtype} numbers of {low:g} to {high:g}; the file takes pixels, whole "
            "numbers of 0 to 255, and preprocesses them itself. Give the photo as it is, or images that are "
            "preprocessed already to the model without preprocessing."
        )
    beyond = low < -_OVERSHOOT or high > _BRIGHTEST + _OVERSHOOT
    if array.size > 1 and (beyond or 0 < high <= 1 or (low < 0 and high < _NORMALISED)):
        warn_caller(
            f"Input {spec.name!r} holds numbers of {low:g} to {high:g}: the file takes pixels of 0 to 255, and scales "
            "them itself."
        )
