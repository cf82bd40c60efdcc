"""Rules of normalisations, in inference form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from onnxattr.builder import OpBuilder
from onnxattr.rules.linear import rank_of
from onnxattr.rules.registry import NOT_IMPLEMENTED, Cotangent, vjp


def per_channel(op: OpBuilder, vector: ir.Value, rank: int) -> ir.Value:
    """A (C,) vector in the shape (C, 1, ...) that broadcasts along the channel axis of a rank-``rank`` value."""
    return op.Reshape(vector, [-1] + [1] * (rank - 2)) if rank > 2 else vector


@vjp("BatchNormalization")
def batch_normalization(op: OpBuilder, node: Any, ct: Any) -> Sequence[Cotangent]:
    """y = (x - mean) * k + bias with k = scale / sqrt(var + eps) given, not measured;  xbar = ybar * k."""
    x, scale, _, _, variance = node.inputs
    ct = ct[0] if isinstance(ct, tuple) else ct
    deviation = op.Sqrt(op.Add(variance, node.attributes.get_float("epsilon", 1e-5)))
    factor = op.Div(scale, deviation)
    x_ct = op.Mul(ct, per_channel(op, factor, rank_of(x, node)))
    return x_ct, NOT_IMPLEMENTED, NOT_IMPLEMENTED, NOT_IMPLEMENTED, NOT_IMPLEMENTED


def standardize_ct(op: OpBuilder, x: ir.Value, ct: ir.Value, axes: Sequence[int], epsilon: float) -> ir.Value:
    """z = (x - mean(x)) / s with s = sqrt(var(x) + eps);  xbar = (zbar - mean(zbar) - z * mean(zbar * z)) / s."""
    centred = op.Sub(x, op.ReduceMean(x, axes, keepdims=1))
    inverse = op.Reciprocal(
        op.Sqrt(op.Add(op.ReduceMean(op.Mul(centred, centred), axes, keepdims=1), epsilon))
    )
    z = op.Mul(centred, inverse)
    mean = op.ReduceMean(ct, axes, keepdims=1)
    projection = op.Mul(z, op.ReduceMean(op.Mul(ct, z), axes, keepdims=1))
    return op.Mul(op.Sub(op.Sub(ct, mean), projection), inverse)


@vjp("LayerNormalization")
def layer_normalization(op: OpBuilder, node: Any, ct: Any) -> Sequence[Cotangent]:
    """y = z * scale + bias with z = x standardised over the last axes;  zbar = ybar * scale."""
    x, scale = node.inputs[:2]
    ct = ct[0] if isinstance(ct, tuple) else ct
    rank, axis = rank_of(x, node), node.attributes.get_int("axis", -1)
    axes = [*range(axis % rank, rank)]
    x_ct = standardize_ct(op, x, op.Mul(ct, scale), axes, node.attributes.get_float("epsilon", 1e-5))
    return [x_ct, NOT_IMPLEMENTED, ct][: len(node.inputs)]


@vjp("InstanceNormalization")
def instance_normalization(op: OpBuilder, node: Any, ct: ir.Value) -> Sequence[Cotangent]:
    """y = z * scale + bias with z = x standardised over the spatial axes;  zbar = ybar * scale."""
    x, scale = node.inputs[:2]
    rank = rank_of(x, node)
    scaled = op.Mul(ct, per_channel(op, scale, rank))
    x_ct = standardize_ct(op, x, scaled, [*range(2, rank)], node.attributes.get_float("epsilon", 1e-5))
    return x_ct, NOT_IMPLEMENTED, NOT_IMPLEMENTED
