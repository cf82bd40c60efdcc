"""Rules of pooling operators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.registry import Cotangent, attributes_of, unary, vjp
from onnxattr.autodiff.rules.conv import crop_to
from onnxattr.autodiff.rules.linear import rank_of
from onnxattr.autodiff.rules.windows import Windows, pool_windows
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.intervals import Range


def _channels_as_rows(op: OpBuilder, value: ir.Value, like: ir.Value) -> ir.Value:
    """Folds the channel axis into the batch, leaving one channel, so that one small kernel serves every channel."""
    return op.Reshape(value, op.Concat([-1, 1], op.shape(like, 2), axis=0))


def _spread(
    op: OpBuilder, rows: ir.Value, kernel: np.ndarray, windows: Windows, x: ir.Value, y: ir.Value
) -> ir.Value:
    """Transposed convolution of single-channel rows with a constant kernel, cropped to x and back in its shape."""
    weights = op.constant(kernel, x.dtype)
    full = op.ConvTranspose(rows, weights, strides=[*windows.strides], dilations=[*windows.dilations])
    placed = crop_to(op, full, windows.begin_values(op, x, y), x)
    return op.reshape_like(placed, x)


@vjp("AveragePool")
def average_pool(op: OpBuilder, node: Any, ct: ir.Value) -> Sequence[Cotangent]:
    """y = mean of each window;  each element gets the sum of ybar / count over its windows.

    The count is the kernel's size, or without count_include_pad the number of elements of x in the window.
    """
    x, y = node.inputs[0], node.outputs[0]
    windows = pool_windows(node)
    share = op.Div(ct, _counts(op, node, windows, x, y))
    return (_spread(op, _channels_as_rows(op, share, y), np.ones((1, 1, *windows.kernel)), windows, x, y),)


def _counts(op: OpBuilder, node: Any, windows: Windows, x: ir.Value, y: ir.Value) -> ir.Value:
    """How many elements each window averages: a scalar, or a map of shape (1, 1, ...)."""
    size = float(math.prod(windows.kernel))
    ceil_mode = node.attributes.get_int("ceil_mode", 0)
    include_pad = node.attributes.get_int("count_include_pad", 0)
    padded = any(pad != 0 for pad in windows.begins + windows.ends)
    # Windows of auto_pad never reach past their padding, whatever ceil_mode says.
    ceil_mode = ceil_mode and node.attributes.get_string("auto_pad", "NOTSET") == "NOTSET"
    if not ceil_mode and (include_pad or not padded):
        return op.constant(size, x.dtype)
    begins, inside = windows.begin_values(op, x, y), op.shape(x, 2)
    zeros, ones = op.constant([0, 0], ir.DataType.INT64), op.constant([1, 1], ir.DataType.INT64)
    if include_pad:
        inside = op.Add(inside, [b + e for b, e in zip(windows.begins, windows.ends, strict=True)])  # type: ignore[operator]
        begins = op.constant([0] * windows.rank, ir.DataType.INT64)
    elements = op.Expand(op.constant(1, x.dtype), op.Concat(ones, inside, axis=0))
    ends = op.Sub(windows.spans(op, y), op.Add(inside, begins))
    elements = op.Pad(elements, op.Concat(zeros, begins, zeros, ends, axis=0))
    kernel = op.constant(np.ones((1, 1, *windows.kernel)), x.dtype)
    counts = op.Conv(elements, kernel, strides=[*windows.strides], dilations=[*windows.dilations])
    return op.note_range(counts, Range(1.0, size))


@vjp("LpPool", singular="x = 0")
def lp_pool(op: OpBuilder, node: Any, ct: ir.Value) -> Sequence[Cotangent]:
    """y = (sum of |x|^p over each window)^(1/p);  xbar = sign(x) |x|^(p-1) * sum of ybar / y^(p-1), 0 where y is 0."""
    x, y, p = node.inputs[0], node.outputs[0], node.attributes.get_int("p", 2)
    windows = pool_windows(node)
    rows = _channels_as_rows(op, _over_power(op, ct, y, p), y)
    spread = _spread(op, rows, np.ones((1, 1, *windows.kernel)), windows, x, y)
    return (op.Mul(spread, _signed_power(op, x, p)),)


@unary("GlobalLpPool", singular="x = 0")
def global_lp_pool(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value) -> ir.Value:
    """y = (sum of |x|^p over the spatial axes)^(1/p);  xbar = ybar * sign(x) |x|^(p-1) / y^(p-1), 0 where y is 0."""
    p = y.producer().attributes.get_int("p", 2)  # type: ignore[union-attr]
    return op.Mul(_over_power(op, ct, y, p), _signed_power(op, x, p))


def _over_power(op: OpBuilder, ct: ir.Value, y: ir.Value, p: int) -> ir.Value:
    zero = op.Equal(y, 0.0)
    return op.Where(zero, 0.0, op.Div(ct, op.Pow(op.Where(zero, 1.0, y), float(p - 1))))


def _signed_power(op: OpBuilder, x: ir.Value, p: int) -> ir.Value:
    return op.Mul(op.Sign(x), op.Pow(op.Abs(x), float(p - 1)))


@vjp("MaxUnpool")
def max_unpool(op: OpBuilder, node: Any, ct: ir.Value) -> Sequence[Cotangent]:
    """y = x at the given flat positions, 0 elsewhere;  xbar = ybar at those positions.

    ONNX Runtime counts the positions in output_shape, other runtimes in the shape that would be without it: MaxUnpool
    itself is asked where 1, 2, 3, ... go.
    """
    x, indices = node.inputs[:2]
    if len(node.inputs) == 2:
        return op.Gather(op.Reshape(ct, [-1]), indices), None
    count = op.Add(op.Size(x), 1)
    order = op.reshape_like(op.cast_like(op.Range(1, count, 1), x), x)
    attributes = attributes_of(node)
    source = op.Cast(op.MaxUnpool(order, *node.inputs[1:], **attributes), to=ir.DataType.INT64.value)
    length = op.Reshape(count, [1])
    zeros = op.Expand(op.constant(0, x.dtype), length)
    flat = op.ScatterElements(zeros, op.Reshape(source, [-1]), op.Reshape(ct, [-1]), axis=0, reduction="add")
    return op.reshape_like(op.Slice(flat, [1], length, [0]), x), None, None


@vjp("GlobalAveragePool")
def global_average_pool(op: OpBuilder, node: Any, ct: ir.Value) -> Sequence[Cotangent]:
    """y = mean over the spatial axes;  xbar = ybar / count."""
    x = node.inputs[0]
    count = op.Cast(op.ReduceProd(op.shape(x, 2), keepdims=0), to=x.dtype.value)
    return (op.expand_like(op.Div(ct, count), x),)


@unary("GlobalMaxPool")
def global_max_pool(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value) -> ir.Value:
    """y = maximum over the spatial axes;  ybar is split evenly over the elements that equal y."""
    axes = [*range(2, rank_of(x, y.producer()))]
    return split_ties(op, x, y, ct, axes)


def split_ties(
    op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value, axes: Sequence[int] | ir.Value
) -> ir.Value:
    """xbar = ybar / ties where x = y, else 0; y and ybar keep the reduced axes as 1."""
    mask = op.Cast(op.Equal(x, y), to=x.dtype.value)  # type: ignore[union-attr]
    ties = op.ReduceSum(mask, axes, keepdims=1, noop_with_empty_axes=1)
    if not op.range_of(x).nan:
        op.note_range(ties, Range(low=1.0))
    return op.Mul(mask, op.Div(ct, ties))
