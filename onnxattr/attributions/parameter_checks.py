"""Checks of the parameters that count or measure something, for methods and metrics."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxattr.attributions.options import is_integer
from onnxattr.errors import ParameterError


def count(name: str, given: Any, at_least: int = 1) -> int:
    """A parameter that counts something.

    Raises:
        ParameterError: If it is no integer from the least on.
    """
    if not is_integer(given, at_least):
        raise ParameterError(f"{name}={given!r}: expected an integer from {at_least} on.")
    return int(given)


def number(name: str, given: Any, low: float, high: float = np.inf, *, with_low: bool = False) -> float:
    """A parameter that is a number in an interval, its upper end included.

    Raises:
        ParameterError: If it is not.
    """
    real = isinstance(given, (int, float, np.number)) and not isinstance(given, bool)
    if not real or not (low <= given <= high if with_low else low < given <= high) or not np.isfinite(given):
        start = "from" if with_low else "above"
        end = "" if high == np.inf else f" and at most {high:g}"
        raise ParameterError(f"{name}={given!r}: expected a number {start} {low:g} on{end}.")
    return float(given)


def deviation(name: str, given: Any) -> float:
    """A parameter that is a standard deviation.

    Raises:
        ParameterError: If it is not finite, or negative.
    """
    real = isinstance(given, (int, float, np.number)) and not isinstance(given, bool)
    if not real or not np.isfinite(given) or given < 0:
        raise ParameterError(
            f"{name}={given!r}: a standard deviation is a finite number that is not negative."
        )
    return float(given)
