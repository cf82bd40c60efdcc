"""The gradient of convolutions with respect to their kernels."""

from __future__ import annotations

import onnx_ir as ir

from onnxattr.autodiff.rules.windows import Windows, pad_spatial
from onnxattr.graph.builder import OpBuilder


def kernel_ct(op: OpBuilder, x: ir.Value, ct: ir.Value, windows: Windows, group: int) -> ir.Value:
    """The cotangent of w in y = conv(x, w).

    wbar[o, c, k] = sum over samples n and windows p of ybar[n, o, p] * x[n, c, p * stride + k * dilation]: again a
    convolution, with samples in the place of channels, and strides and dilations exchanged.
    """
    begins, spatial = windows.begins, [*range(2, 2 + windows.rank)]
    x = pad_spatial(op, x, begins, op.Sub(windows.spans(op), op.Add(op.shape(x, 2), begins)))
    # (N, G * C, ...) to (C, G * N, ...), so that each group sees its own channels.
    samples, channels, size = op.shape(x, 0, 1), op.Div(op.shape(x, 1, 2), group), op.shape(x, 2)
    parts = op.Reshape(x, op.sizes([samples, group, channels, size]))
    turned = op.Transpose(parts, perm=[2, 1, 0, *(axis + 1 for axis in spatial)])
    rows = op.Reshape(turned, op.sizes([channels, op.Mul(samples, group), size]))
    kernels = op.Transpose(ct, perm=[1, 0, *spatial])
    strides, dilations = [*windows.dilations], [*windows.strides]
    product = op.Conv(rows, kernels, group=group, strides=strides, dilations=dilations)
    return op.Transpose(product, perm=[1, 0, *spatial])
