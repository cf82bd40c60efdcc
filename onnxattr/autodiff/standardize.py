"""Values of mean 0 and mean square 1 over some axes, and the cotangent of what is brought to that."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder


def standardize(
    op: OpBuilder, x: ir.Value, axes: Sequence[int], epsilon: float, centre: bool = True
) -> tuple[ir.Value, ir.Value]:
    """z = (x - mean(x)) / s with s = sqrt(var(x) + eps), and 1 / s; without ``centre`` the mean counts as 0."""
    centred = op.Sub(x, op.ReduceMean(x, axes, keepdims=1)) if centre else x
    variance = op.ReduceMean(op.Mul(centred, centred), axes, keepdims=1)
    inverse = op.Reciprocal(op.Sqrt(op.Add(variance, epsilon)))
    return op.Mul(centred, inverse), inverse


def standardize_ct(
    op: OpBuilder, z: ir.Value, inverse: ir.Value, ct: ir.Value, axes: Sequence[int], centre: bool = True
) -> ir.Value:
    """The cotangent of x in z = standardize(x);  xbar = (zbar - mean(zbar) - z * mean(zbar * z)) / s."""
    rest = op.Sub(ct, op.Mul(z, op.ReduceMean(op.Mul(ct, z), axes, keepdims=1)))
    if centre:
        rest = op.Sub(rest, op.ReduceMean(ct, axes, keepdims=1))
    return op.Mul(rest, inverse)
