"""Rules of convolutions in any number of dimensions, with groups, dilations, strides and every kind of padding.

Kernels are used as they lie in the file: a flipped or transposed one is written as nodes on the initializer, which the
runtime folds when it loads the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.registry import Cotangent, attributes_of, vjp
from onnxattr.autodiff.rules.conv_kernel import kernel_ct
from onnxattr.autodiff.rules.windows import Windows, pad_spatial, repeat, windows_of
from onnxattr.errors import UnsupportedOpError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.products import contraction
from onnxattr.graph.values import dims_of

#: Below this many result channels ConvTranspose is up to eight times faster than Conv: blocks of channels stay empty.
_FEWEST_CHANNELS = 8


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
    """The input cotangent of y = conv(x, w): spreads each output over its window.

    At stride 1 that is itself a Conv, with the kernel flipped and its channels exchanged: on CPU faster than
    ConvTranspose, which has no place in ONNX Runtime's blocked layout. Towards few channels, as those of an image, and
    for grouped kernels that are not depthwise, ConvTranspose beats Conv.
    """
    ct, w = absorb_scale(op, ct, w)
    dims = dims_of(w) or []
    padding = list(zip([*windows.begins, *windows.ends], windows.extents * 2, strict=True))
    same = set(windows.strides) == {1} and all(pad is not None and pad < extent for pad, extent in padding)
    if same and (dims[1] == 1 if group > 1 else isinstance(dims[1], int) and dims[1] >= _FEWEST_CHANNELS):
        pads = [extent - 1 - pad for pad, extent in padding if pad is not None]
        exchanged = exchange_channels(op, flip_spatial(op, w, windows.rank), group)
        return op.Conv(ct, exchanged, group=group, dilations=[*windows.dilations], pads=pads)
    if group > 1 and dims[:2] == [group, 1] and windows.static and min(windows.strides) > 1:
        spaced = depthwise_spaced(op, ct, w, windows)
        if spaced is not None:
            return spaced
    spread: dict[str, Any] = {
        "group": group,
        "strides": [*windows.strides],
        "dilations": [*windows.dilations],
    }
    if windows.static:
        pads = [int(str(pad)) for pad in (*windows.begins, *windows.ends)]
        lengths = zip(
            windows.sizes, windows.begins, windows.ends, windows.extents, windows.strides, strict=True
        )
        rests = [(size + begin + end - extent) % stride for size, begin, end, extent, stride in lengths]  # type: ignore[operator]
        return op.ConvTranspose(ct, w, pads=pads, output_padding=rests, **spread)
    return crop_to(op, op.ConvTranspose(ct, w, **spread), windows.begin_values(op, x, y), x)


def depthwise_spaced(op: OpBuilder, ct: ir.Value, w: ir.Value, windows: Windows) -> ir.Value | None:
    """A strided depthwise convolution back: ct with zeros between its elements, convolved with the flipped kernel.

    ConvTranspose goes through depthwise channels one at a time on CPU, outside ONNX Runtime's blocked layout; this is
    two to three times faster. None where the pads do not allow it.
    """
    sizes, outputs, begins = (
        [int(str(v)) for v in part] for part in (windows.sizes, windows.outputs, windows.begins)
    )
    spaced = [count * stride for count, stride in zip(outputs, windows.strides, strict=True)]
    before = [extent - 1 - begin for extent, begin in zip(windows.extents, begins, strict=True)]
    after = [s - z - b + e - 1 for s, z, b, e in zip(sizes, spaced, before, windows.extents, strict=True)]
    if min(before + after) < 0:
        return None
    repeated = repeat(op, ct, windows.strides)
    cell = np.zeros((1, 1, *windows.strides))
    cell[(0,) * cell.ndim] = 1
    first = op.Tile(op.constant(cell, ct.dtype), [1, 1, *outputs])
    kernel = flip_spatial(op, w, windows.rank)
    return op.Conv(
        op.Mul(repeated, first),
        kernel,
        group=int(str((dims_of(w) or [1])[0])),
        dilations=[*windows.dilations],
        pads=before + after,
    )


def absorb_scale(op: OpBuilder, ct: ir.Value, w: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Moves a constant factor per channel of ct, as normalisation leaves it, into the kernel: (k ybar) w = ybar (k w).

    The runtime multiplies kernels once, when it loads the model, and activations in every run.
    """
    scaling = ct.producer()
    dims = dims_of(w) or []
    if scaling is None or scaling.op_type != "Mul" or scaling.graph is not op.graph:
        return ct, w
    for factor, rest in (scaling.inputs, scaling.inputs[::-1]):
        channels = [1] * (len(dims) - 2)
        per_channel = dims_of(factor) in ([dims[0], *channels], [1, dims[0], *channels])
        if rest is not None and per_channel and dims_of(rest) == dims_of(ct) and op.is_constant(factor):
            return rest, op.Mul(w, op.Reshape(factor, [-1] + [1] * (len(dims) - 1)))
    return ct, w


def cropped(op: OpBuilder, ct: ir.Value, amounts: ir.Value) -> ir.Value | None:
    """A cotangent without a border of known width, where the convolution that made it can leave that out; else None.

    A convolution is padded less, down to 0, and a transposed one more. What made ct is dropped later if nothing else
    uses it.
    """
    made = ct.producer()
    known = None if amounts.const_value is None else amounts.const_value.numpy()
    if known is None or made is None or made.graph is not op.graph or ct.uses():
        return None
    if made.op_type not in ("Conv", "ConvTranspose") or "pads" not in made.attributes:
        return None
    border, rank = known.reshape(2, -1), len(known) // 2 - 2
    if rank < 1 or border[:, :2].any() or border.min() < 0:
        return None
    sign = -1 if made.op_type == "Conv" else 1
    pads = np.array(made.attributes.get_ints("pads")) + sign * border[:, 2:].ravel()
    if pads.min() < 0:
        return None
    return getattr(op, made.op_type)(*made.inputs, **attributes_of(made) | {"pads": pads.tolist()})


def crop_to(op: OpBuilder, full: ir.Value, begins: ir.Value, x: ir.Value) -> ir.Value:
    """Takes the part of an unpadded result that lies over x: from ``begins`` on, zeros where the result ends early."""
    size, have = op.shape(x, 2), op.Shape(full, start=2)
    return pad_spatial(op, full, op.Neg(begins), op.Sub(size, op.Sub(have, begins)))


def flip_spatial(op: OpBuilder, w: ir.Value, rank: int) -> ir.Value:
    """Reverses a kernel along its spatial axes."""
    if (dims_of(w) or [])[2:] == [1] * rank:
        return w
    low = [-(2**31)] * rank
    return op.Slice(w, [-1] * rank, low, [*range(2, 2 + rank)], [-1] * rank)


def exchange_channels(op: OpBuilder, w: ir.Value, group: int) -> ir.Value:
    """Turns a kernel (group * m, c, ...) into (group * c, m, ...), which maps outputs back to inputs."""
    m, c, *kernel = [int(str(dim)) for dim in dims_of(w) or []]
    if group == 1:
        return op.Transpose(w, perm=[1, 0, *range(2, 2 + len(kernel))])
    if m == group:
        return w
    apart = op.Reshape(w, [group, m // group, c, *kernel])
    swapped = op.Transpose(apart, perm=[0, 2, 1, *range(3, 3 + len(kernel))])
    return op.Reshape(swapped, [group * c, m // group, *kernel])


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
