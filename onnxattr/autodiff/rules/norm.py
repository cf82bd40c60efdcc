"""Rules of normalisations.

Those that measure their statistics share the adjoint of ``standardize``: derived from its definition it takes 1.2 to
1.6 times the CPU time (LayerNormalization 1.5, RMSNormalization 1.6, InstanceNormalization 1.6, GroupNormalization
1.3, MeanVarianceNormalization 1.5) and 1.4 times the nodes. BatchNormalization is as fast derived.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.derived import derived
from onnxattr.autodiff.registry import Cotangent, NodeView, vjp
from onnxattr.autodiff.standardize import standardize, standardize_ct
from onnxattr.graph.builder import OpBuilder

#: The default of every epsilon here, as near as an attribute, which is float32 in models of any precision, comes.
EPSILON = float(np.float32(1e-5))


def per_channel(op: OpBuilder, vector: ir.Value, rank: int) -> ir.Value:
    """A (C,) vector in the shape (C, 1, ...) that broadcasts along the channel axis of a rank-``rank`` value."""
    return op.Reshape(vector, [-1] + [1] * (rank - 2)) if rank > 2 else vector


def three(node: NodeView) -> list[ir.Value | None]:
    """The cotangents of a node's output and of its two statistics, None for those that do not reach the score."""
    return [*node.cts, None, None][:3]


def total_of(op: OpBuilder, parts: Sequence[ir.Value | None]) -> ir.Value:
    """The sum of the cotangents that there are; one at least."""
    present = [part for part in parts if part is not None]
    return op.Sum(*present) if len(present) > 1 else present[0]


@derived("BatchNormalization", singular="epsilon = 0 with no variance")
def batch_normalization(op: OpBuilder, node: NodeView) -> list[ir.Value]:
    """y = (x - m) / d * scale + bias with d = sqrt(var + eps);  xbar = ybar * scale / d where m and var are given.

    In training mode they are those of the batch, and the running statistics are p r + (1 - p) new for momentum p.
    """
    x, scale, bias, mean, variance = node.required(5)
    rank, epsilon = node.rank(x), node.get_float("epsilon")
    if not node.attributes.get("training_mode"):
        factor = op.Div(scale, op.Sqrt(op.Add(variance, epsilon)))
        centred = op.Sub(x, per_channel(op, mean, rank))
        return [op.Add(op.Mul(centred, per_channel(op, factor, rank)), per_channel(op, bias, rank))]
    warnings.warn(
        f"BatchNormalization node {node.name!r} is in training mode: what it gives for a sample depends on the others. "
        "Export the model for inference to explain single samples.",
        stacklevel=2,
    )
    axes, momentum = [0, *range(2, rank)], node.get_float("momentum")
    new_mean = op.ReduceMean(x, axes, keepdims=1)
    centred = op.Sub(x, new_mean)
    new_variance = op.ReduceMean(op.Mul(centred, centred), axes, keepdims=1)
    z = op.Div(centred, op.Sqrt(op.Add(new_variance, epsilon)))
    running = [
        op.Add(op.Mul(old, momentum), op.Mul(op.cast_like(op.Squeeze(new, axes), old), 1.0 - momentum))
        for old, new in ((mean, new_mean), (variance, new_variance))
    ]
    return [op.Add(op.Mul(z, per_channel(op, scale, rank)), per_channel(op, bias, rank)), *running]


def _over_last_axes(op: OpBuilder, node: NodeView, centre: bool) -> Sequence[Cotangent]:
    x, scale = node.required(2)
    y_ct, mean_ct, inverse_ct = three(node)
    rank = node.rank(x)
    axes = [*range(node.get_int("axis") % rank, rank)]
    z, inverse = standardize(op, x, axes, node.get_float("epsilon"), centre)

    def spread(statistic_ct: ir.Value) -> ir.Value:
        count = op.Squeeze(op.elements(x, axes[0]), [0])
        return op.Div(op.cast_like(statistic_ct, x), op.cast_like(count, x))

    def x_ct() -> ir.Value:
        from_y = y_ct and standardize_ct(op, z, inverse, op.Mul(y_ct, scale), axes, centre)
        from_mean = mean_ct and op.expand_like(spread(mean_ct), x)
        from_inverse = inverse_ct and op.Neg(op.Mul(op.Mul(spread(inverse_ct), op.Mul(inverse, inverse)), z))
        return total_of(op, [from_y, from_mean, from_inverse])

    return x_ct, None if y_ct is None else lambda: op.Mul(y_ct, z), y_ct


@vjp("LayerNormalization", singular="epsilon = 0 with equal elements")
def layer_normalization(op: OpBuilder, node: NodeView, ct: Any) -> Sequence[Cotangent]:
    """y = z * scale + bias with z = x standardised over the last axes, of mean m and deviation s;  zbar = ybar * scale.

    The statistics m and 1 / s add mbar / n and -(1/s)bar * z / (n s^2) to xbar.
    """
    return _over_last_axes(op, node, centre=True)


@vjp("RMSNormalization", singular="epsilon = 0 with zeros")
def rms_normalization(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = z * scale with z = x / sqrt(mean(x^2) + eps) over the last axes;  zbar = ybar * scale."""
    x_ct, scale_ct, _ = _over_last_axes(op, node, centre=False)
    return x_ct, scale_ct


@vjp("InstanceNormalization", singular="epsilon = 0 with equal elements")
def instance_normalization(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = z * scale + bias with z = x standardised over the spatial axes;  zbar = ybar * scale."""
    x, scale = node.required(2)
    rank = node.rank(x)
    spatial = [*range(2, rank)]
    z, inverse = standardize(op, x, spatial, node.get_float("epsilon"))
    return (
        lambda: standardize_ct(op, z, inverse, op.Mul(ct, per_channel(op, scale, rank)), spatial),
        lambda: op.ReduceSum(op.Mul(ct, z), [0, *spatial], keepdims=0),
        lambda: op.ReduceSum(ct, [0, *spatial], keepdims=0),
    )


@vjp("GroupNormalization", singular="epsilon = 0 with equal elements")
def group_normalization(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = z * scale + bias with z = x standardised over groups of channels and space;  zbar = ybar * scale."""
    x, scale, bias = node.required(3)
    groups = node.get_int("num_groups")
    shape = op.sizes([0, groups, op.Div(op.shape(x, 1, 2), groups), -1])
    ct_parts, factor = op.Reshape(ct, shape), op.reshape(scale, [groups, -1, 1])
    z, inverse = standardize(op, op.Reshape(x, shape), [2, 3], node.get_float("epsilon"))

    def x_ct() -> ir.Value:
        parts = standardize_ct(op, z, inverse, op.Mul(ct_parts, factor), [2, 3])
        return op.reshape_like(parts, x)

    return (
        x_ct,
        lambda: op.reshape_like(op.sum_to(op.Mul(ct_parts, z), factor), scale),
        lambda: op.reshape_like(op.sum_to(ct_parts, factor), bias),
    )


@vjp("MeanVarianceNormalization")
def mean_variance_normalization(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = x standardised over the given axes;  xbar = (ybar - mean(ybar) - y * mean(ybar * y)) / s."""
    axes = node.get_ints("axes")
    z, inverse = standardize(op, node.x, axes, 1e-9)
    return (standardize_ct(op, z, inverse, ct, axes),)


@derived("LpNormalization", singular="x = 0")
def lp_normalization(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = x / n with n = sum(|x|) or sqrt(sum(x^2));  xbar = (ybar - n' * sum(ybar * y)) / n, 0 where n is 0.

    n' is sign(x), or x / n.
    """
    norm = (op.ReduceL1 if node.get_int("p") == 1 else op.ReduceL2)(
        node.x, [node.get_int("axis")], keepdims=1
    )
    zero = op.Equal(norm, 0.0)
    return op.Where(zero, 0.0, op.Div(node.x, op.Where(zero, 1.0, norm)))


@vjp("LRN")
def local_response_normalization(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = x / s^beta with s = bias + alpha * mean of x^2 over near channels.

    xbar = ybar / s^beta - 2 alpha beta x * (mean over near channels of ybar * y / s).
    Derived it takes 1.2 times the CPU time and 1.8 times the nodes.
    """
    x, y = node.x, node.y
    alpha, beta, bias = (node.get_float(name) for name in ("alpha", "beta", "bias"))
    size = node.get_int("size")
    before, after = (size - 1) // 2, size // 2
    rows = op.sizes([0, 1, op.shape(x, 1, 2), -1])

    def mean(value: ir.Value, begin: int, end: int) -> ir.Value:
        """Over a window of channels, counting those outside as zeros."""
        pads = [begin, 0, end, 0]
        pooled = op.AveragePool(
            op.Reshape(value, rows), kernel_shape=[size, 1], pads=pads, count_include_pad=1
        )
        return op.reshape_like(pooled, x)

    s = op.Add(op.Mul(mean(op.Mul(x, x), before, after), alpha), bias)
    spread = mean(op.Div(op.Mul(ct, y), s), after, before)
    return (op.Sub(op.Div(ct, op.Pow(s, beta)), op.Mul(op.Mul(x, spread), 2.0 * alpha * beta)),)
