"""What float32, in which models take rows, makes of them: large numbers lose digits, numbers at an edge pass it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnxattr.callers import warn_caller

from ..common.verify import TOLERANCE
from .layers import step_difference

# What float32 takes off numbers that are no larger than their spread is below this part of it.
_COARSE = 1e-6


def in_float32(columns: Mapping[Any, np.ndarray]) -> list[dict[Any, np.ndarray]]:
    """What float32 makes of columns in float64: those that lose digits that tell rows apart, and all that it changes.

    The others may be looked up as categories, or compared with edges, which float32 changes as well.
    """
    small = {name: array.astype(np.float32).astype(np.float64) for name, array in columns.items()}
    lost = {name: np.abs(array - columns[name]) for name, array in small.items()}
    changed = {name: small[name] for name, array in lost.items() if np.nansum(array) > 0}
    coarse = {
        n: array for n, array in changed.items() if np.nanmax(lost[n]) > _COARSE * np.nanstd(columns[n])
    }
    return [
        chosen for chosen in (coarse, changed) if chosen and (chosen is changed or len(chosen) < len(changed))
    ]


def nearest(found: np.ndarray, exact: np.ndarray, rounded: np.ndarray) -> np.ndarray:
    """Of what an estimator gives for rows, and for what float32 makes of them, what is nearer in each row.

    Args:
        found: What the model gives, (N, ...).
        exact: (N, numbers), by the rows as they are.
        rounded: The same by the rows in float32.
    """
    if rounded.shape != exact.shape or found.size % max(len(exact), 1):
        return exact
    own = found.reshape(len(exact), -1)[:, -exact.shape[1] :]
    if own.shape != exact.shape or "f" not in (exact.dtype.kind, rounded.dtype.kind):
        return exact

    def away(expected: np.ndarray) -> np.ndarray:
        same = (own == expected) | (np.isnan(own) & np.isnan(expected))
        distance: np.ndarray = np.where(same, 0.0, np.abs(own.astype(np.float64) - expected))
        largest: np.ndarray = np.where(np.isnan(distance), np.inf, distance).max(1, initial=0.0)
        return largest

    with np.errstate(invalid="ignore"):  # infinities of both
        chosen: np.ndarray = np.where((away(rounded) < away(exact))[:, None], rounded, exact)
    return chosen


def say_rounded(
    estimator: Any, found: np.ndarray, exact: np.ndarray, columns: Sequence[Any], rows: np.ndarray
) -> None:
    """Warn where a model is right for the rows of a sample as float32 has them, and not for the rows themselves.

    Args:
        estimator: The original.
        found: What the model gives for the sample.
        exact: What the estimator gives for it in float64, (N, numbers).
        columns: What the columns are called.
        rows: The sample, (N, columns), in float64.
    """
    lost = step_difference(found, exact)
    if lost <= TOLERANCE:
        return
    rounding = np.nanmax(np.abs(rows - rows.astype(np.float32)), 0)
    spread = np.nanstd(rows, 0)
    worst = int(np.argmax(rounding / np.where(spread > 0, spread, np.nanmax(np.abs(rows), 0) + 1e-30)))
    warn_caller(
        f"Models take rows in float32, which changes column {columns[worst]!r} by up to {rounding[worst]:.2g}: what "
        f"{type(estimator).__name__} gives for the sample differs by {lost:.2g} of its largest value. Fit it on "
        "smaller numbers, as differences from one of them, or a number at the edge of a bin falls on its other side."
    )
