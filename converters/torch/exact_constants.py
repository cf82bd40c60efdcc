"""What the exporter's optimiser takes for 0 and 1.

onnxscript drops `+ 0` and `* 1`, and takes every constant up to 1e-8 for 0 and up to 1 ± 1e-5 for 1: the 1e-12 of
`x / (norm + 1e-12)` is lost, and the file divides by 0.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..common.patching import Patch


def _exactly(original: Callable[..., bool], _: Any) -> Callable[..., bool]:
    """A constant of a pattern matches the same number, rounded to the dtype of the graph's constant."""

    def match(matcher: Any, pattern: Any, value: Any) -> bool:
        if not original(matcher, pattern, value):
            return False
        found = value.const_value.numpy()
        if np.array_equal(found, np.asarray(pattern.value).astype(found.dtype)):
            return True
        return bool(matcher.fail(f"{value.name} is close to {pattern.value}, not equal"))

    return match


EXACT_CONSTANTS = (
    Patch(
        "optimise",
        "onnxscript.rewriter._matcher:SimplePatternMatcher",
        "_match_constant",
        _exactly,
        "It compares constants with an absolute tolerance of 1e-8 and a relative one of 1e-5.",
        "onnxscript 0.7.2",
    ),
)
