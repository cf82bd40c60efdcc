"""When two arrays are the same but for rounding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fuzz.draft import Array

#: What differences may be of those that rounding makes.
MARGIN = 20


class MismatchError(Exception):
    """A number that is not what it has to be."""


def _differ(found: Array, wanted: Array, tolerance: float) -> float:
    """By how much two arrays differ beyond a share of the largest element; infinite if not alike in kind."""
    if found.shape != wanted.shape or not np.array_equal(np.isfinite(found), np.isfinite(wanted)):
        return np.inf
    there = np.isfinite(wanted)
    excess = float(np.abs(found[there] - wanted[there]).max(initial=0))
    return excess if excess > tolerance * max(1e-3, float(np.abs(wanted[there]).max(initial=0))) else 0.0


def same(
    found: Array,
    wanted: Array,
    what: str,
    tolerance: float = 1e-4,
    rounding: Callable[[], Array] | None = None,
) -> None:
    """That two arrays are alike but for what rounding makes of an ill-conditioned model."""
    excess = _differ(found, wanted, tolerance)
    if 0 < excess < np.inf and rounding is not None:
        there = np.isfinite(wanted)
        excess *= not (np.abs(found - wanted) <= MARGIN * rounding())[there].all()
    if excess:
        finite = [int((~np.isfinite(a)).sum()) for a in (found, wanted)]
        raise MismatchError(
            f"{what}: shapes {found.shape}, {wanted.shape}; non-finite {finite}; largest difference {excess:.3g} "
            f"of {np.abs(np.nan_to_num(wanted)).max(initial=0):.3g}"
        )
