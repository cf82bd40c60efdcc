"""How far two runs of a model may differ by rounding alone, where its output is small beside what it could be."""

from __future__ import annotations

import numpy as np

from onnxattr.graph.ranges import Ranges
from onnxattr.loading.prepared import Prepared

#: Of the precision of the output's type: what a kernel for a few rows and one for many differ by.
_STEPS = 8


def rounding(prepared: Prepared) -> float:
    """How much of the output is rounding, however small it is: a part of its range; 0 where that is unlimited.

    A runtime computes a sigmoid to about 1e-7 of 1, not of its value, so that a probability of 1e-7 has no digit.
    """
    output = prepared.value(prepared.output)
    if output.dtype is None or not output.dtype.is_floating_point():
        return 0.0
    known = Ranges()(output)
    largest = max(abs(known.low), abs(known.high))
    kind = output.dtype.numpy()
    precision = float(np.finfo(kind).eps) if kind.kind == "f" else 2.0**-7
    return _STEPS * precision * largest if np.isfinite(largest) else 0.0


def alike(found: np.ndarray, expected: np.ndarray, part: float, least: float) -> bool:
    """Whether two arrays agree to a part of the largest finite number expected, or to ``least``; NaN equals NaN."""
    if found.shape != expected.shape:
        return False
    a, b = found.astype(np.float64), expected.astype(np.float64)
    scale = np.abs(b[np.isfinite(b)]).max(initial=1e-6)
    return bool(np.allclose(a, b, rtol=0, atol=max(part * scale, least), equal_nan=True))
