"""What a value can hold: bounds, and whether 0, infinities and NaN are among it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

INF = math.inf
#: The types of half precision, and all types of floats.
HALVES = frozenset({ir.DataType.FLOAT16, ir.DataType.BFLOAT16})
FLOATS = HALVES | {ir.DataType.FLOAT, ir.DataType.DOUBLE}


@dataclass(frozen=True)
class Range:
    """What a value can hold.

    Attributes:
        low: Lower bound, minus infinity if it can hold that.
        high: Upper bound, infinity if it can hold that.
        nonzero: Whether 0 is left out.
        whole: Whether all numbers are integers.
        below: Whether it can hold minus infinity.
        above: Whether it can hold infinity.
        nan: Whether it can hold NaN.
    """

    low: float = -INF
    high: float = INF
    nonzero: bool = False
    whole: bool = False
    below: bool = False
    above: bool = False
    nan: bool = False

    def __post_init__(self) -> None:
        """Brings the bounds in line with the infinities."""
        object.__setattr__(self, "low", -INF if self.below else self.low)
        object.__setattr__(self, "high", INF if self.above else self.high)

    @property
    def finite(self) -> bool:
        """Whether it holds neither infinities nor NaN."""
        return not (self.below or self.above or self.nan)

    @property
    def zero(self) -> bool:
        """Whether it can hold 0."""
        return not self.nonzero and self.low <= 0 <= self.high

    def or_(self, other: Range) -> Range:
        """What one or the other can hold."""
        return Range(
            min(self.low, other.low),
            max(self.high, other.high),
            not self.zero and not other.zero,
            self.whole and other.whole,
            self.below or other.below,
            self.above or other.above,
            self.nan or other.nan,
        )

    def within(self, low: float = -INF, high: float = INF, nonzero: bool = False) -> Range:
        """The same, known to lie within bounds."""
        return replace(
            self,
            low=max(self.low, low),
            high=min(self.high, high),
            nonzero=self.nonzero or nonzero,
            below=self.below and low == -INF,
            above=self.above and high == INF,
        )


FINITE = Range()
#: Nothing is known.
ANY = Range(below=True, above=True, nan=True)
TRUTH = Range(0.0, 1.0, whole=True)


def range_of_array(array: np.ndarray) -> Range:
    """The range of the elements of an array of numbers."""
    if array.size == 0:
        return FINITE
    if array.dtype.kind not in "fiub":
        array = array.astype(np.float32)
    if array.dtype.kind != "f":
        return Range(float(array.min()), float(array.max()), bool(array.all()), whole=True)
    finite = np.isfinite(array)
    numbers = array if finite.all() else array[finite]
    flags = {"below": bool((array == -INF).any()), "above": bool((array == INF).any())}
    flags["nan"] = bool(np.isnan(array).any())
    if numbers.size == 0:
        return Range(nonzero=True, **flags)
    whole = bool((numbers == np.floor(numbers)).all())
    return Range(float(numbers.min()), float(numbers.max()), bool(numbers.all()), whole, **flags)


def rounded(r: Range, dtype: ir.DataType | None) -> Range:
    """The same after rounding to a float type, in which a small number may be 0.

    Rounding keeps the order of numbers, so rounded bounds are bounds of rounded results: 1e-12 may become 0 in
    float16, and (s - 1e-9) - 1 is 0 in float32 where s is 1.
    """
    if dtype not in FLOATS or r.whole:
        return r
    kind = dtype.numpy().type
    with np.errstate(over="ignore"):
        low, high = float(kind(r.low)), float(kind(r.high))
    # Numbers around 0 that leave it out, as weights do, still do.
    lost = (r.low > 0 and low == 0) or (r.high < 0 and high == 0)
    return replace(r, low=low, high=high, nonzero=r.nonzero and not lost)
