"""Rules of convolutions in any number of dimensions, with groups, dilations, strides and every kind of padding.

Kernels are used as they lie in the file. Where another form of a gradient is faster, a rewrite finds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.registry import Cotangent, vjp
from onnxattr.autodiff.rules.conv_kernel import kernel_ct
from onnxattr.autodiff.rules.windows import Windows, pad_spatial, windows_of
from onnxattr.errors import UnsupportedOpError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.products import contraction
from onnxattr.graph.values import dims_of


def kernel_dims(node: Any) -> list[int]:
    """The full shape of a convolution's kernel; the kernel_shape attribute is optional in ONNX.

    Raises:
        UnsupportedOpError: If the kernel is computed at run time in an unknown shape.
    """
    dims = dims_of(node.inputs[1])
    if dims is None or not all(isinstance(dim, int) for dim in dims):
        raise UnsupportedOpError(
            f"{node.op_type} node {node.name!r}: the shape of its kernel {dims} must be static."
        )
    return [dim for dim in dims if isinstance(dim, int)]


@vjp("Conv")
def conv(op: OpBuilder, node: Any, ct: ir.Value) -> Sequence[Cotangent]:
    """y = x * w + b;  xbar = ybar convolved with the transpose of w, wbar = x correlated with ybar.

    bbar = sum of ybar over batch and space.
    """
    x, y = node.inputs[0], node.outputs[0]
    kernel = kernel_dims(node)
    windows = windows_of(node, tuple(kernel[2:]), x, y)
    axes = [0, *range(2, 2 + windows.rank)]
    group = node.attributes.get_int("group", 1)

    def x_ct() -> ir.Value:
        def spread(c: ir.Value, w: ir.Value) -> ir.Value:
            return conv_transposed(op, c, w, windows, group, x, y)

        result = contraction(op, ct, node.inputs[1:2], spread)
        result.shape = x.shape
        return result

    def w_ct() -> ir.Value:
        begins = windows.begin_values(op, x, y)
        return kernel_ct(op, x, ct, begins, kernel[2:], group, windows.strides, windows.dilations)

    return [x_ct, w_ct, lambda: op.ReduceSum(ct, axes, keepdims=0)][: len(node.inputs)]


def conv_transposed(
    op: OpBuilder, ct: ir.Value, w: ir.Value, windows: Windows, group: int, x: ir.Value, y: ir.Value
) -> ir.Value:
    """The input cotangent of y = conv(x, w): spreads each output over its window."""
    spread: dict[str, Any] = {
        "group": group,
        "strides": [*windows.strides],
        "dilations": [*windows.dilations],
    }
    pads, rests = windows.pads, windows.rests
    if pads is not None and rests is not None:
        return op.ConvTranspose(ct, w, pads=pads, output_padding=rests, **spread)
    return crop_to(op, op.ConvTranspose(ct, w, **spread), windows.begin_values(op, x, y), x)


def crop_to(op: OpBuilder, full: ir.Value, begins: ir.Value, x: ir.Value) -> ir.Value:
    """Takes the part of an unpadded result that lies over x: from ``begins`` on, zeros where the result ends early."""
    size, have = op.shape(x, 2), op.Shape(full, start=2)
    return pad_spatial(op, full, op.Neg(begins), op.Sub(size, op.Sub(have, begins)))


@vjp("ConvTranspose")
def conv_transpose(op: OpBuilder, node: Any, ct: ir.Value) -> Sequence[Cotangent]:
    """y = transposed convolution of x with w, plus b;  xbar = ybar convolved with w, wbar = ybar correlated with x."""
    x, w = node.inputs[:2]
    kernel = kernel_dims(node)
    group, rank = node.attributes.get_int("group", 1), len(kernel) - 2
    strides = node.attributes.get_ints("strides", [1] * rank)
    dilations = node.attributes.get_ints("dilations", [1] * rank)

    begins, ends = _transpose_pads(op, node, kernel[2:], strides, dilations)

    def x_ct() -> ir.Value:
        spread: dict[str, Any] = {"group": group, "strides": [*strides], "dilations": [*dilations]}
        pads = [None if v.const_value is None else v.const_value.numpy() for v in (begins, ends)]
        if any(amounts is None or amounts.min() < 0 for amounts in pads):
            return contraction(op, pad_spatial(op, ct, begins, ends), [w], lambda *v: op.Conv(*v, **spread))
        spread["pads"] = np.concatenate(pads).tolist()  # type: ignore[arg-type]
        return contraction(op, ct, [w], lambda *v: op.Conv(*v, **spread))

    def w_ct() -> ir.Value:
        return kernel_ct(op, ct, x, begins, kernel[2:], group, strides, dilations)

    axes = [0, *range(2, 2 + rank)]
    return [x_ct, w_ct, lambda: op.ReduceSum(ct, axes, keepdims=0)][: len(node.inputs)]


def _transpose_pads(
    op: OpBuilder, node: Any, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[ir.Value, ir.Value]:
    """The pads of the convolution whose transpose a ConvTranspose node is, as int64 vectors.

    The output_padding, below the stride, is the rest that the convolution's own rounding drops.
    """
    rank, attributes = len(kernel), node.attributes
    auto_pad, output_shape = attributes.get_string("auto_pad", "NOTSET"), attributes.get_ints("output_shape")
    if auto_pad in ("NOTSET", "VALID") and not output_shape:
        none = [0] * (2 * rank)
        pads = attributes.get_ints("pads", none) if auto_pad == "NOTSET" else none
        return op.constant([*pads[:rank]], ir.DataType.INT64), op.constant([*pads[rank:]], ir.DataType.INT64)
    extra = attributes.get_ints("output_padding", [0] * rank)
    reach = [(k - 1) * d + 1 + e for k, d, e in zip(kernel, dilations, extra, strict=True)]
    size = op.shape(node.inputs[0], 2)
    full = op.Add(op.Mul(op.Sub(size, 1), [*strides]), reach)
    wanted = op.constant([*output_shape[-rank:]]) if output_shape else op.Mul(size, [*strides])
    total = op.Max(op.Sub(full, wanted), 0)
    small = op.Div(total, 2)
    large = op.Sub(total, small)
    return (small, large) if auto_pad == "SAME_UPPER" else (large, small)
