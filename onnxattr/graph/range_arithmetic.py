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
    return result.within(nonzero=not a.zero and not b.zero)


def even_power(r: Range) -> Range:
    """An even power: 0 or more."""
    return bounded_by(0.0, INF, [r], r.whole).within(nonzero=not r.zero)


def square(r: Range, dtype: Any) -> Range:
    """A second or higher power: in float16 it is infinite from 256 on, which activations reach."""
    largest = max(-r.low, r.high)
    even = even_power(r).within(high=largest * largest)
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
