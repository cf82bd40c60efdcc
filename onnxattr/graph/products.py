"""Products and quotients in which 0 times anything is 0, also 0 times infinity or NaN.

Gradients are sums of products of cotangents and local derivatives. Where one of the two is exactly 0, nothing is
contributed, whatever the other is: what a model does not use, or holds fixed, cannot spoil the rest. The comparisons
that this takes are written only where the ranges of the operands leave it open.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import onnx_ir as ir

from onnxattr.graph.values import is_constant

if TYPE_CHECKING:
    from onnxattr.graph.builder import OpBuilder


def product(op: OpBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """a * b, 0 where a or b is 0."""
    if a is b:
        return op.append("Mul", [a, b])[0]
    left, right = op.range_of(a), op.range_of(b)
    y = op.append("Mul", [a, b])[0]
    zeros = [
        op.Equal(x, 0.0)
        for x, r, other in ((a, left, right), (b, right, left))
        if r.zero and not other.finite
    ]
    return _masked(op, zeros, y)


def quotient(op: OpBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """a / b, 0 where a is 0 or b infinite."""
    top, bottom = op.range_of(a), op.range_of(b)
    y = op.append("Div", [a, b])[0]
    zeros = [op.Equal(a, 0.0)] if top.zero and (bottom.zero or bottom.nan) else []
    if not top.finite and (bottom.below or bottom.above):
        zeros.append(op.Equal(op.Abs(b), math.inf))
    return _masked(op, zeros, y)


def _masked(op: OpBuilder, zeros: list[ir.Value], y: ir.Value) -> ir.Value:
    """Zeros where one of some masks is set, elsewhere y."""
    if not zeros:
        return y
    result = op.Where(zeros[0] if len(zeros) == 1 else op.Or(*zeros), 0.0, y)
    result.shape = y.shape
    return result


def contraction(
    op: OpBuilder,
    ct: ir.Value,
    factors: Sequence[ir.Value],
    build: Callable[..., ir.Value],
    sparse: bool = False,
    over_samples: bool = False,
) -> ir.Value:
    """A sum of products of cotangents with factors, ``build(ct, *factors)``; a 0 among the cotangents contributes 0.

    A factor that is infinite or NaN makes NaN of the sums that it takes part in with a cotangent other than 0. Zeros of
    ``sparse`` or constant factors, such as matrices that choose, contribute 0 as well. Where sums may be taken
    ``over_samples``, they do so for cotangents too that are NaN by what one sample holds, against their range.
    """
    if (over_samples or not op.range_of(ct).finite) and any(
        op.range_of(f).zero and (sparse or is_constant(f)) for f in factors
    ):
        return _with_infinite_cotangents(op, ct, factors, build)
    unsure = [factor for factor in factors if not op.range_of(factor).finite]
    if not unsure:
        return build(ct, *factors)
    known = {factor: op.Equal(op.append("Sub", [factor, factor])[0], 0.0) for factor in unsure}
    numbers = build(ct, *(op.Where(known[f], f, 0.0) if f in known else f for f in factors))
    touched = op.cast_like(op.Not(op.Equal(ct, 0.0)), ct)
    for factor in unsure:
        holes = op.cast_like(op.Not(known[factor]), factor)
        spoilt = build(touched, *(holes if f is factor else op.expand_like(1, f) for f in factors))
        numbers = op.Where(op.Greater(spoilt, 0.0), math.nan, numbers)
        numbers.shape = spoilt.shape
    return numbers


def _with_infinite_cotangents(
    op: OpBuilder, ct: ir.Value, factors: Sequence[ir.Value], build: Callable[..., ir.Value]
) -> ir.Value:
    """The sums of the finite cotangents, except where infinite ones or NaN take part."""
    lost = op.Not(op.Equal(op.append("Sub", [ct, ct])[0], 0.0))
    numbers = build(op.Where(lost, 0.0, ct), *factors)
    signs = op.Where(op.Equal(op.Abs(ct), math.inf), op.Sign(ct), 0.0)
    infinite = op.append("Mul", [build(signs, *factors), op.constant(math.inf, ct.dtype)])[0]
    used = [op.cast_like(op.Not(op.Equal(factor, 0.0)), factor) for factor in factors]
    touched = op.Greater(build(op.cast_like(lost, ct), *used), 0.0)
    result = op.Where(touched, infinite, numbers)
    result.shape = numbers.shape
    if op.range_of(ct).finite:
        # No more is expected of what follows than before.
        op.note_range(result, op.range_of(numbers))
    return result


def live_rows(op: OpBuilder, ct: ir.Value, factor: ir.Value) -> ir.Value:
    """A factor whose rows meet the rows of ct in a product, with zeros in those that meet zeros alone."""
    if op.range_of(factor).finite:
        return factor
    idle = op.Equal(op.ReduceMax(op.Abs(ct), [-1], keepdims=1), 0.0)
    result = op.Where(idle, 0.0, factor)
    if len(ct.shape or ()) == len(factor.shape or ()):
        result.shape = factor.shape
    return result
