"""Values clipped and stretched to a range, as Xplique's plots have them."""

import numpy as np

from onnxattr.errors import ParameterError


def clipped(values: np.ndarray, percentile: float | None, absolute: bool) -> np.ndarray:
    """Values brought into the range between two percentiles, of their absolute values if asked for.

    Raises:
        ParameterError: the percentile is not in [0, 100].
    """
    values = np.abs(values) if absolute else values
    if not percentile:
        return values
    if not 0 <= percentile <= 100:
        raise ParameterError(f"clip_percentile={percentile}; expected a number from 0 to 100")
    low, high = np.nanpercentile(values, percentile), np.nanpercentile(values, 100 - percentile)
    within: np.ndarray = np.clip(values, min(low, high), max(low, high))
    return within


def stretched(values: np.ndarray) -> np.ndarray:
    """Values brought to [0, 1]; 0 where they are all the same."""
    low, high = np.nanmin(values), np.nanmax(values)
    within: np.ndarray = (values - low) / ((high - low) or 1)
    return within
