"""Rules of pooling operators."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.node import NodeView
from onnxattr.autodiff.registry import Cotangent, attributes_of, unary, vjp
from onnxattr.autodiff.rules.windows import Windows, pool_windows
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.intervals import Range
from onnxattr.graph.ties import FIRST, SHARED, ties_of
from onnxattr.graph.values import dims_of


def _spread(op: OpBuilder, share: ir.Value, windows: Windows) -> ir.Value:
    """Adds each element to what its window covers, each channel on its own."""
    # Channels become rows of one channel, so that one small kernel serves them all.
    rows = op.Reshape(share, op.sizes([-1, 1, op.shape(windows.strided, 2)]))
    kernel = op.constant(np.ones((1, 1, *windows.kernel)), share.dtype)
    spread = windows.spread(op, rows, kernel)
    return op.reshape_like(spread, windows.padded)


@vjp("AveragePool")
def average_pool(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = mean of each window;  each element gets the sum of ybar / count over its windows.

    The count is the kernel's size, or without count_include_pad the number of elements of x in the window.
    """
    windows = pool_windows(op, node)
    return (_spread(op, op.Div(ct, _counts(op, node, windows)), windows),)


def _counts(op: OpBuilder, node: NodeView, windows: Windows) -> ir.Value:
    """How many elements each window averages: a scalar, or a map of shape (1, 1, ...)."""
    x, size, include_pad = windows.padded, float(math.prod(windows.kernel)), node.get_int("count_include_pad")
    # Windows of auto_pad SAME never reach past their padding, whatever ceil_mode says.
    past_padding = node.get_int("ceil_mode") and not node.get_string("auto_pad").startswith("SAME")
    if not past_padding and (include_pad or (windows.pads is not None and not any(windows.pads))):
        # Before opset 19 ONNX Runtime counts all that would be padding, even where the padding ends.
        return op.constant(size, x.dtype) if include_pad and op.opset < 19 else _count(op, windows)
    begins, inside = windows.begins, op.shape(x, 2)
    zeros = op.constant([0, 0], ir.DataType.INT64)
    if include_pad:
        inside = op.Add(inside, op.Add(windows.begins, windows.ends))
        begins = op.constant([0] * windows.rank, ir.DataType.INT64)
    elements = op.Expand(op.constant(1, x.dtype), op.sizes([1, 1, inside]))
    ends = op.Sub(windows.spans(op), op.Add(inside, begins))
    elements = op.Pad(elements, op.Concat(zeros, begins, zeros, ends, axis=0))
    kernel = op.constant(np.ones((1, 1, *windows.kernel)), x.dtype)
    counts = op.Conv(elements, kernel, strides=[*windows.strides], dilations=[*windows.dilations])
    return op.note_range(counts, Range(1.0, size))


def _count(op: OpBuilder, windows: Windows) -> ir.Value:
    """How many elements each window has, padding included, where none reaches past it: a scalar.

    An image smaller than its window has none, or at strides above 1 one that ONNX Runtime ends at the end of the image.
    """
    x, pads = windows.padded, windows.pads
    sizes = (dims_of(x) or [None] * (windows.rank + 2))[2:]
    counts: list[int] = []
    for axis, (kernel, dilation) in enumerate(zip(windows.kernel, windows.dilations, strict=True)):
        size = sizes[axis]
        if kernel == 1 or windows.strides[axis] == 1:
            counts.append(kernel)
        elif pads is not None and isinstance(size, int):
            padded = size + pads[axis] + pads[windows.rank + axis]
            counts.append(min(kernel, -(-padded // dilation)))
    if len(counts) == windows.rank:
        return op.constant(float(math.prod(counts)), x.dtype)
    length = op.Add(op.shape(x, 2), op.Add(windows.begins, windows.ends))
    read = op.Div(op.Add(length, [dilation - 1 for dilation in windows.dilations]), [*windows.dilations])
    count = op.ReduceProd(op.cast_like(op.Min(read, [*windows.kernel]), x), keepdims=0)
    return op.note_range(count, Range(1.0, float(math.prod(windows.kernel))))


@vjp("LpPool", singular="x = 0")
def lp_pool(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = (sum of |x|^p over each window)^(1/p);  xbar = sign(x) |x|^(p-1) * sum of ybar / y^(p-1), 0 where y is 0.

    Derived it takes 1.1 to 1.16 times the CPU time and 1.5 times the nodes.
    """
    (x,), y, p = node.required(1), node.outputs[0], node.get_int("p")
    spread = _spread(op, _over_power(op, ct, y, p), pool_windows(op, node))
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
def max_unpool(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = x at the given flat positions, 0 elsewhere;  xbar = ybar at those positions.

    ONNX Runtime counts the positions in output_shape, other runtimes in the shape that would be without it: MaxUnpool
    itself is asked where 1, 2, 3, ... go. So it is where elements may be written to one place, which ONNX leaves
    undefined: the one that the runtime kept has ybar, the last in ONNX Runtime.
    """
    x, indices = node.required(2)
    if node.inputs[2] is None and _of_windows_apart(indices):
        return op.Gather(op.Reshape(ct, [-1]), indices), None
    count = op.Add(op.Size(x), 1)
    order = op.reshape_like(op.cast_like(op.Range(1, count, 1), x), x)
    attributes = attributes_of(node)
    source = op.cast(op.MaxUnpool(order, *node.inputs[1:], **attributes), ir.DataType.INT64)
    length = op.Reshape(count, [1])
    zeros = op.Expand(op.constant(0, x.dtype), length)
    flat = op.ScatterElements(zeros, op.Reshape(source, [-1]), op.Reshape(ct, [-1]), axis=0, reduction="add")
    return op.reshape_like(op.Slice(flat, [1], length, [0]), x), None, None


def _of_windows_apart(indices: ir.Value) -> bool:
    """Whether positions are those of maxima of windows that do not overlap, or are written down and all differ."""
    if indices.const_value is not None:
        return len(np.unique(indices.const_value.numpy())) == indices.const_value.size
    made = indices.producer()
    if made is None or made.op_type != "MaxPool" or made.attributes.get_ints("dilations"):
        return False
    kernel = made.attributes.get_ints("kernel_shape", [])
    strides = made.attributes.get_ints("strides") or [1] * len(kernel)
    return all(stride >= size for stride, size in zip(strides, kernel, strict=True))


@vjp("GlobalAveragePool")
def global_average_pool(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = mean over the spatial axes;  xbar = ybar / count."""
    x = node.x
    count = op.cast_like(op.Squeeze(op.elements(x, 2), [0]), x)
    return (op.expand_like(op.Div(ct, count), x),)


@vjp("GlobalMaxPool", compares=True)
def global_max_pool(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = maximum over the spatial axes;  ybar goes to the first position, in row-major order, that equals y.

    In TensorFlow's models it is split evenly over all of them: they write a ReduceMax in this way.
    """
    x, y, rank = node.x, node.y, node.rank(node.x)
    if ties_of(node.node, FIRST) == SHARED:
        return (split_ties(op, x, y, ct, [*range(2, rank)]),)
    return (first_of_ties(op, x, y, ct, range(2, rank), rank),)


def first_of_ties(op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value, axes: range, rank: int) -> ir.Value:
    """xbar = ybar at the first position along neighbouring axes where x = y, else 0; y and ybar keep them as 1."""
    count = op.elements(x, axes=[*axes])
    sizes = op.sizes([op.shape(x, axes.start, axes.stop), *[1] * (rank - axes.stop)])
    # Few accelerators have 64-bit integers.
    places = op.cast(op.Reshape(op.Range(0, op.Squeeze(count, [0]), 1), sizes), ir.DataType.INT32)
    winners = op.Where(op.Equal(x, y), places, op.cast(count, ir.DataType.INT32))
    return op.Where(op.Equal(places, op.ReduceMin(winners, [*axes], keepdims=1)), ct, 0.0)


def split_ties(
    op: OpBuilder, x: ir.Value, y: ir.Value, ct: ir.Value, axes: Sequence[int] | ir.Value
) -> ir.Value:
    """xbar = ybar / ties where x = y, else 0; y and ybar keep the reduced axes as 1."""
    mask = op.cast_like(op.Equal(x, y), x)
    ties = op.ReduceSum(mask, axes, keepdims=1, noop_with_empty_axes=1)
    if not op.range_of(x).nan:
        op.note_range(ties, Range(low=1.0))
    return op.Mul(mask, op.Div(ct, ties))
