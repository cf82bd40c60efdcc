"""Which value has which colour."""

from typing import Any

import numpy as np

from onnxattr.errors import ParameterError, ShapeError
from onnxattr.plots.checks import real


def color_limits(attribution: np.ndarray, percentile: float = 99.0) -> tuple[float, float]:
    """Choose the values at both ends of the colour scale.

    Args:
        attribution: any shape; NaN and infinity are passed over.
        percentile: of the absolute values; larger values take the end's colour, so that a few extreme pixels do
            not make the rest invisible. 100 clips nothing.

    Returns:
        (-limit, limit) if any value is negative, else (0, limit); limit is positive even for a map of zeros.

    Raises:
        ShapeError: the array is empty or holds nothing but NaN and infinity.
        ParameterError: the percentile is not in (0, 100].
    """
    if not 0 < real(percentile, "percentile") <= 100:
        raise ParameterError(f"percentile={percentile}; expected a number above 0 and at most 100")
    values = numbers(attribution, "the attribution")
    require_some(values, "the attribution")
    values = values[np.isfinite(values)]
    magnitudes = np.abs(values)
    limit = float(np.percentile(magnitudes, percentile) or magnitudes.max() or 1.0)
    return (-limit if values.min() < 0 else 0.0), limit


def numbers(array: Any, what: str) -> np.ndarray:
    """An array in float64; what a mask of NumPy hides is NaN.

    Raises:
        ShapeError: if it holds anything but real numbers.
    """
    try:
        found = np.asanyarray(array)
        if found.dtype.kind in "cmMSU":
            raise TypeError(f"it holds {found.dtype} values")
        values = np.array(found, np.float64)
        values[np.ma.getmaskarray(found)] = np.nan
        return values
    except (TypeError, ValueError, RuntimeError) as error:
        raise ShapeError(f"{what} is no array of real numbers: {error}.") from error


def require_finite(values: np.ndarray, what: str) -> None:
    """Checks that an array can be shown.

    Raises:
        ShapeError: if it is empty or holds NaN or infinity.
    """
    if not values.size or not np.isfinite(values).all():
        raise ShapeError(
            f"{what} of shape {values.shape} is empty or holds NaN or infinity; expected finite numbers. Check the "
            "input and the model for values that overflow"
        )


def require_some(values: np.ndarray, what: str) -> None:
    """Checks that there is something to show.

    Raises:
        ShapeError: if an array has no finite number.
    """
    if not np.isfinite(values).any():
        raise ShapeError(
            f"{what} of shape {values.shape} is empty or holds nothing but NaN and infinity; expected some finite "
            "numbers. Check the input and the model for values that overflow"
        )
