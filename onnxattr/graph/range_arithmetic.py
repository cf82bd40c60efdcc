"""Arithmetic on what values can hold: sums, products, powers and quotients of ranges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import onnx_ir as ir

from onnxattr.graph.intervals import ANY, INF, Range


def bounded_by(low: float, high: float, given: Sequence[Range], whole: bool = False) -> Range:
    """Bounds of arithmetic that makes infinities and NaN of infinities and NaN alone."""
    if not all(r.finite for r in given):
        return Range(low, high, below=low < 0, above=True, nan=True)
    return Range(low, high, low > 0 or high < 0, whole)


def sum_of(parts: Sequence[Range]) -> Range:
    """Sums of one element of each; NaN where infinities of both signs meet."""
    low, high = sum(r.low for r in parts), sum(r.high for r in parts)
    below, above = any(r.below for r in parts), any(r.above for r in parts)
    nonzero = low > 0 or high < 0 or (all(r.low >= 0 for r in parts) and any(not r.zero for r in parts))
    nan = any(r.nan for r in parts) or (below and above)
    return Range(low, high, nonzero, all(r.whole for r in parts), below, above, nan)


def negative(r: Range) -> Range:
    """The same with the other sign."""
    return Range(-r.high, -r.low, r.nonzero, r.whole, below=r.above, above=r.below, nan=r.nan)


def product_of(a: Range, b: Range) -> Range:
    """Products of an element of each."""
    corners = [0.0 if 0 in (x, y) else x * y for x in (a.low, a.high) for y in (b.low, b.high)]
    result = bounded_by(min(corners), max(corners), [a, b], a.whole and b.whole)
    sizes = smallest(a), smallest(b)
    # A product with a number of unknown size may be too small for its type.
    kept = all(sizes) or max(sizes) >= 1
    return result.within(nonzero=not a.zero and not b.zero and kept)


def even_power(r: Range) -> Range:
    """An even power: 0 or more."""
    return bounded_by(0.0, INF, [r], r.whole).within(nonzero=smallest(r) > 0)


def smallest(r: Range) -> float:
    """The smallest magnitude, 0 where it is not known."""
    return max(r.low, -r.high, 1.0 if r.whole and not r.zero else 0.0)


def square(r: Range, dtype: Any) -> Range:
    """A second or higher power: in float16 it is infinite from 256 on, which activations reach."""
    largest, least = max(-r.low, r.high), smallest(r)
    even = even_power(r).within(low=least * least, high=largest * largest)
    return replace(even, above=even.above or (dtype == ir.DataType.FLOAT16 and largest > 255))


def quotient_of(a: Range, b: Range) -> Range:
    """Quotients of an element of each."""
    nonnegative = a.low >= 0 and b.low >= 0
    if b.zero or b.nan or not a.finite:
        return Range(0.0, INF, above=True, nan=True) if nonnegative else ANY
    if b.low <= 0:
        return Range(nonzero=not a.zero and b.finite)
    low = a.low / (b.low if a.low < 0 else b.high)
    high = a.high / b.low if a.high >= 0 else 0.0
    return Range(0.0 if b.above and low > 0 else low, high, not a.zero and not b.above)


def power_of(a: Range, b: Range, dtype: Any) -> Range:
    """Powers of an element of ``a``."""
    if not a.finite or not b.finite:
        return ANY
    if max(-b.low, b.high) > 16:  # Overflow is then to be expected, as from Exp.
        return Range(0.0, above=True) if a.low >= 0 else ANY
    if dtype == ir.DataType.FLOAT16 and b.high >= 2 and max(-a.low, a.high) > 255:
        return Range(0.0, above=True) if a.low >= 0 or b.low == b.high == 2 else ANY
    largest = max(-a.low, a.high)
    high = largest**b.high if largest <= 1e3 and 0 < b.low == b.high else INF
    if a.low >= 0 and (b.low >= 0 or not a.zero):
        return Range(_least_power(a, b) if a.low > 0 else 0.0, high, not a.zero)
    if b.whole and (b.low >= 0 or not a.zero):
        even = b.low == b.high and b.low % 2 == 0
        return Range(0.0 if even else -high, high, smallest(a) >= 1 or (b.high <= 1 and not a.zero))
    return ANY


def _least_power(a: Range, b: Range) -> float:
    """A lower bound of powers of positive numbers, which lies at an end of both ranges."""
    ends = [a.low, a.high] if b.low < 0 else [a.low]
    return min(0.0 if end > 1e15 else max(end**power, 1e-300) for end in ends for power in (b.low, b.high))
