"""The gradient of convolutions with respect to their kernels."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.autodiff.rules.windows import pad_spatial
from onnxattr.graph.builder import OpBuilder


def kernel_ct(
    op: OpBuilder,
    x: ir.Value,
    ct: ir.Value,
    begins: ir.Value,
    kernel: Sequence[int],
    group: int,
    strides: Sequence[int],
    dilations: Sequence[int],
) -> ir.Value:
    """The cotangent of w in y = conv(x, w), x padded by ``begins``.

    wbar[o, c, k] = sum over samples n and windows p of ybar[n, o, p] * x[n, c, p * stride + k * dilation]: again a
    convolution, with samples in the place of channels, and strides and dilations exchanged.
    """
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    spans = op.Add(op.Mul(op.Sub(op.shape(ct, 2), 1), [*strides]), extents)
    x = pad_spatial(op, x, begins, op.Sub(spans, op.Add(op.shape(x, 2), begins)))
    # (N, G * C, ...) to (C, G * N, ...), so that each group sees its own channels.
    samples, channels = op.shape(x, 0, 1), op.Div(op.shape(x, 1, 2), group)
    groups, size = op.constant([group], ir.DataType.INT64), op.shape(x, 2)
    spatial = [*range(2, 2 + len(kernel))]
    parts = op.Reshape(x, op.Concat(samples, groups, channels, size, axis=0))
    turned = op.Transpose(parts, perm=[2, 1, 0, *(axis + 1 for axis in spatial)])
    rows = op.Reshape(turned, op.Concat(channels, op.Mul(samples, group), size, axis=0))
    kernels = op.Transpose(ct, perm=[1, 0, *spatial])
    product = op.Conv(rows, kernels, group=group, strides=[*dilations], dilations=[*strides])
    return op.Transpose(product, perm=[1, 0, *spatial])
