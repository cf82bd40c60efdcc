"""Pixels that a caller gives: whole numbers of 0 to 255, as photos have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxattr.callers import warn_caller
from onnxattr.errors import ShapeError
from onnxattr.inputs.tensors import plain
from onnxattr.loading.prepared import Prepared
from onnxattr.loading.preprocessing.spec import Preprocessing

_BRIGHTEST = 255
#: A photo that was resized with a sharp kernel may be that far outside.
_OVERSHOOT = 32
#: Images in units of standard deviations stay below.
_NORMALISED = 10


def check_pixels(prepared: Prepared, parts: Sequence[Any]) -> None:
    """Refuses numbers that are no pixels, for a model with preprocessing in front; warns of unlikely ones.

    Those are numbers of 0 to 1, and floats far from 0 to 255, as of images that are preprocessed already. Of a model
    whose file leaves the preprocessing to the caller, they are numbers that it does not give, as pixels mostly are.

    Args:
        prepared: The model.
        parts: What was given for each input.

    Raises:
        ShapeError: Says what was given, and what the file takes.
    """
    spec = prepared.preprocessing
    for value, given in zip(prepared.inputs, parts, strict=True):
        name = str(value.name)
        if spec is not None and spec.in_graph and spec.name == name:
            _check_taken(spec, given)
        elif spec is not None and not spec.in_graph and spec.feeds in ("", name):
            _warn_of_unprepared(spec, name, given)
        elif (meaning := prepared.meaning.inputs.get(name)) is not None and meaning.normalized_by:
            _warn_of_scaled(f"Input {name!r}", given, f"the model ({', '.join(meaning.normalized_by)})")


def _numbers(given: Any) -> np.ndarray | None:
    """What was given as an array of numbers; None where there is nothing to look at."""
    try:
        array = np.asarray(plain(given))
    except (ValueError, TypeError, RuntimeError):
        return None  # which is said where arrays are read
    return array if array.dtype.kind in "fiub" and array.size else None


def _check_taken(spec: Preprocessing, given: Any) -> None:
    """Refuses, or warns of, what is given to a file that preprocesses pixels itself.

    Raises:
        ShapeError: If it takes bytes, and these are none.
    """
    array = _numbers(given)
    if array is None or array.dtype == np.uint8:
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
    _warn_of_scaled(f"Input {spec.name!r}", array, "the file")


def _warn_of_scaled(what: str, given: Any, who: str) -> None:
    """Warns of numbers that are unlikely for pixels of 0 to 255."""
    array = _numbers(given)
    if array is None or array.dtype == np.uint8 or array.size == 1:
        return
    low, high = float(array.min()), float(array.max())
    beyond = low < -_OVERSHOOT or high > _BRIGHTEST + _OVERSHOOT
    if beyond or 0 < high <= 1 or (low < 0 and high < _NORMALISED):
        warn_caller(
            f"{what} holds numbers of {low:g} to {high:g}: {who} takes pixels of 0 to 255, and scales them itself."
        )


def _warn_of_unprepared(spec: Preprocessing, name: str, given: Any) -> None:
    """Warns of numbers that the preprocessing, left to the caller, does not give: beyond its range, or far inside."""
    array = _numbers(given)
    if array is None or array.ndim < 3 or array.size == 1:
        return
    low, high = float(array.min()), float(array.max())
    ends = np.divide(np.subtract.outer([0.0, _BRIGHTEST * spec.scale], spec.mean), spec.std)
    least, most = float(ends.min()), float(ends.max())
    further = 0.0 if array.dtype.kind in "iub" else most - least
    narrow = most - least > _BRIGHTEST / 2 and 0 < max(high, -low) <= (1 if low >= 0 else _NORMALISED)
    if low < least - further or high > most + further or (narrow and array.dtype != np.uint8):
        warn_caller(
            f"Input {name!r} holds {array.dtype} numbers of {low:g} to {high:g}; the model's file says that it "
            f"expects images that are preprocessed, here to numbers of {least:.3g} to {most:.3g}. Give it those, or "
            "pixels of 0 to 255 with preprocess='model' (--preprocess model), which puts in front what the file says."
        )
