"""Rules of convolutions in any number of dimensions, with groups, dilations, strides and every kind of padding.

Kernels are used as they lie in the file. Where another form of a gradient is faster, a rewrite finds it.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.autodiff.node import NodeView
from onnxattr.autodiff.registry import Cotangent, vjp
from onnxattr.autodiff.rules.conv_kernel import kernel_ct
from onnxattr.autodiff.rules.windows import pad_spatial, windows_of
from onnxattr.errors import UnsupportedOpError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.products import contraction
from onnxattr.graph.values import dims_of, shape_text


def kernel_dims(node: NodeView) -> list[int]:
    """The full shape of a convolution's kernel; the kernel_shape attribute is optional in ONNX.

    Raises:
        UnsupportedOpError: If the kernel is computed at run time in an unknown shape.
    """
    dims = dims_of(node.inputs[1])
    if dims is None or not all(isinstance(dim, int) for dim in dims):
        raise UnsupportedOpError(
            f"{node.where}: the shape of its kernel, {shape_text(dims)}, must be static."
        )
    return [dim for dim in dims if isinstance(dim, int)]


@vjp("Conv")
def conv(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = x * w + b;  xbar = ybar convolved with the transpose of w, wbar = x correlated with ybar.

    bbar = sum of ybar over batch and space.
    """
    x, w = node.required(2)
    windows = windows_of(op, node, kernel_dims(node)[2:], x, node.outputs[0])
    group = node.get_int("group")

    def x_ct() -> ir.Value:
        result = contraction(op, ct, [w], lambda c, kernel: windows.spread(op, c, kernel, group))
        result.shape = x.shape
        return result

    return x_ct, lambda: kernel_ct(op, x, ct, windows, group), lambda: _bias_ct(op, ct, windows.rank)


@vjp("ConvTranspose")
def conv_transpose(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = transposed convolution of x with w, plus b;  xbar = ybar convolved with w, wbar = ybar correlated with x."""
    x, w = node.required(2)
    # The output_padding, below the stride, is the rest that the convolution's own rounding drops.
    rests = node.get_ints("output_padding")
    windows = windows_of(op, node, kernel_dims(node)[2:], node.outputs[0], x, rests)
    group, strides, dilations = node.get_int("group"), [*windows.strides], [*windows.dilations]

    def x_ct() -> ir.Value:
        def gathered(c: ir.Value, kernel: ir.Value) -> ir.Value:
            return op.Conv(c, kernel, group=group, strides=strides, dilations=dilations, pads=pads)

        pads, source = windows.pads, ct
        if pads is None or min(pads) < 0:
            pads, source = None, pad_spatial(op, ct, windows.begins, windows.ends)
        return contraction(op, source, [w], gathered)

    return x_ct, lambda: kernel_ct(op, ct, x, windows, group), lambda: _bias_ct(op, ct, windows.rank)


def _bias_ct(op: OpBuilder, ct: ir.Value, rank: int) -> ir.Value:
    return op.ReduceSum(ct, [0, *range(2, 2 + rank)], keepdims=0)
