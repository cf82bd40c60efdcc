"""Whether the numbers of a baseline fit an explained value, and the rows of it that samples take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.errors import ParameterError, ShapeError
from onnxattr.graph.values import dims_of
from onnxattr.running.given.arrays import as_array
from onnxattr.running.given.input_values import check_range


def cast(array: Any, value: ir.Value, what: str) -> np.ndarray:
    """Numbers in the dtype of an explained value.

    Raises:
        ParameterError: If they are not finite there.
    """
    try:
        array = as_array(array, what)
        if not np.isfinite(array).all():
            raise ShapeError(f"{what} holds NaN or infinite values; expected finite numbers.")
        with np.errstate(over="ignore", under="ignore"):
            found: np.ndarray = array if value.dtype is None else array.astype(value.dtype.numpy())
        check_range(what, array.astype(np.float64), found)
    except ShapeError as error:
        raise ParameterError(str(error)) from error
    return found


def fits(array: np.ndarray, value: ir.Value, name: str, what: str) -> bool:
    """Whether numbers are a row for each sample; else they broadcast to one sample.

    The rank decides: one axis more than a sample is an axis of samples.

    Args:
        array: The numbers.
        value: What is explained, with an axis of samples.
        name: Its name.
        what: The parameter's name.

    Raises:
        ParameterError: If they are neither.
    """
    if array.ndim == 0:
        return False
    dims = dims_of(value)
    if dims is None:
        raise ParameterError(
            f"{what} has shape {array.shape}; the rank of {name!r} is not known: give a number."
        )
    sample = dims[1:]
    per_sample = array.ndim == len(dims)
    shape = array.shape[1:] if per_sample else array.shape
    if len(shape) <= len(sample):
        behind = sample[len(sample) - len(shape) :]
        matches = all(n == 1 or not isinstance(d, int) or n == d for n, d in zip(shape, behind, strict=True))
        if matches and not _ambiguous(shape, sample):
            return per_sample
    known = ", ".join(str(d if d is not None else "?") for d in sample)
    raise ParameterError(
        f"{what} has shape {array.shape}; expected a number, one sample of {name!r}: ({known}"
        f"{',' * (len(sample) == 1)}), or numbers that broadcast to it{_where(shape, sample)}; or one row for each "
        f"sample, (N, {known})."
    )


def _ambiguous(shape: Sequence[int], sample: Sequence[int | str | None]) -> bool:
    """Whether numbers of fewer axes than a sample would fit other axes than its last ones."""
    missing = len(sample) - len(shape)
    return missing > 0 and any(
        all(n == d for n, d in zip(shape, sample[start:], strict=False))
        for start in range(missing)
        if any(n != 1 for n in shape)
    )


def _where(shape: Sequence[int], sample: Sequence[int | str | None]) -> str:
    """How to write numbers for an axis, for an error message."""
    if len(shape) != 1 or shape[0] == 1 or len(sample) < 2:
        return ""
    fitting = [axis for axis, d in enumerate(sample) if not isinstance(d, int) or d == shape[0]]
    written = [
        "(" + ", ".join(str(shape[0] if a == axis else 1) for a in range(len(sample))) + ")"
        for axis in fitting
    ]
    return f", such as {' or '.join(written)}" if written else ""


def rows_of(
    given: np.ndarray, value: ir.Value, own: Sequence[int] | None, part: slice, what: str, more: bool = False
) -> np.ndarray:
    """The baselines of some samples, (rows, ...).

    Args:
        given: Numbers that fit.
        value: What is explained, with an axis of samples.
        own: Its shape for these samples; None where that is not known.
        part: Which samples they are, of all that there are rows for.
        what: The parameter's name.
        more: Whether other samples may follow, as in a dataset.

    Raises:
        ShapeError: If there are rows for another number of samples.
    """
    dims = dims_of(value) or []
    array = given.reshape([1] * (len(dims) - given.ndim) + list(given.shape))
    if len(array) != 1:
        if len(array) < part.stop or not more:
            check_count(array, part.stop, what)
        array = array[part]
    if own is not None:
        check_sizes(given.shape, array.shape[1:], own, what)
    sizes = zip(dims[1:], array.shape[1:], (own or array.shape)[1:], strict=True)
    shape = [d if isinstance(d, int) else max(n, s) for d, n, s in sizes]
    return np.broadcast_to(array, (part.stop - part.start, *shape))


def check_sizes(given: Sequence[int], sample: Sequence[int], own: Sequence[int], what: str) -> None:
    """Checks that numbers broadcast to samples, and not the other way round.

    Args:
        given: Their shape.
        sample: That of the numbers for one sample, which may have fewer axes.
        own: That of the samples.
        what: The parameter's name.

    Raises:
        ShapeError: If they do not.
    """
    pairs = zip(reversed(own[1:]), reversed(sample), strict=False)
    if any(size not in (1, dim) for dim, size in pairs):
        raise ShapeError(f"{what} has shape {tuple(given)}, and the input {tuple(own)}: their sizes differ.")


def check_count(array: np.ndarray, rows: int, what: str) -> None:
    """Checks that there is one row of baselines, or one for each of the samples.

    Raises:
        ShapeError: If that is not so.
    """
    if len(array) not in (1, rows):
        raise ShapeError(
            f"{what} has shape {array.shape}, {len(array)} rows; expected 1 or {rows} rows. A set of "
            "any size to start from is background=<rows> of ExpectedGradients."
        )
