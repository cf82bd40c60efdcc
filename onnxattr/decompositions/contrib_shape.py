"""Definitions of older com.microsoft operators, most of which ai.onnx has by now: shapes, crops, matrices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.node import NodeView
from onnxattr.autodiff.rules.linear import transpose_last
from onnxattr.decompositions.registry import decomposition
from onnxattr.errors import UnsupportedOpError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of

_INT64 = ir.DataType.INT64
#: The largest matrix that is inverted in nodes of its own for each column.
_LARGEST = 16


@decomposition("com.microsoft::Pad", inputs=3)
def pad(op: OpBuilder, node: NodeView) -> ir.Value:
    """The operator of ai.onnx; amounts may be a matrix of one row, the fill a vector of one number."""
    (x, amounts), fill, mode = node.required(2), node.inputs[2], node.get_string("mode", "constant")
    if mode == "wrap" and op.opset < 19:
        raise UnsupportedOpError(
            f"Pad node {node.name!r}: ai.onnx has mode 'wrap' from opset 19 on. Bring the model to opset 19 with "
            "onnx.version_converter."
        )
    further = [] if fill is None else [op.reshape(fill, [])]
    return op.Pad(x, op.reshape(amounts, [-1]), *further, mode=mode)


@decomposition("com.microsoft::GatherND", inputs=2)
def gather_nd(op: OpBuilder, node: NodeView) -> ir.Value:
    """The operator of ai.onnx."""
    x, indices = node.required(2)
    return op.GatherND(x, op.cast(indices, _INT64))


@decomposition("com.microsoft::ExpandDims", inputs=2)
def expand_dims(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = x with one axis of size 1 more."""
    x, axis = node.required(2)
    if axis.const_value is None:
        raise UnsupportedOpError(
            f"ExpandDims node {node.name!r}: its axis is computed; expected a constant. Export the model with the "
            "axis as a number."
        )
    return op.Unsqueeze(x, [int(axis.const_value.numpy().ravel()[0])])


@decomposition("com.microsoft::Range", inputs=3)
def number_range(op: OpBuilder, node: NodeView) -> ir.Value:
    """The operator of ai.onnx; its operands may be vectors of one number, steps are 1 by default."""
    (start, limit), delta = node.required(2), node.inputs[2]
    one = op.constant(1, start.dtype) if delta is None else op.reshape(delta, [])
    return op.Range(op.reshape(start, []), op.reshape(limit, []), one)


@decomposition("com.microsoft::Unique", inputs=1)
def unique(op: OpBuilder, node: NodeView) -> Sequence[ir.Value]:
    """The values of a vector in order of occurrence, the place of each element among them, and how many are equal."""
    values, _, places, counts = op.node("Unique", [node.x], {"sorted": 0}, outputs=4)
    return values, places, counts


@decomposition("com.microsoft::UnfoldTensor", inputs=1)
def unfold(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = all runs of ``size`` elements along an axis, ``step`` apart; what is in a run lies along a new last axis."""
    x, rank = node.x, node.rank(node.x)
    axis, size, step = node.get_int("dim", -1) % rank, node.get_int("size"), node.get_int("step", 1)
    length = (dims_of(x) or [None] * rank)[axis]
    inside = np.arange(size)
    if isinstance(length, int):
        places = op.constant(np.arange(0, length - size + 1, step)[:, None] + inside)
    else:
        starts = op.Range(0, op.Add(op.size(x, axis), 1 - size), step)
        places = op.Add(op.Unsqueeze(starts, [1]), inside)
    runs = op.Gather(x, places, axis=axis)
    return op.Transpose(runs, perm=[*range(axis + 1), *range(axis + 2, rank + 1), axis + 1])


@decomposition("com.microsoft::ConvTransposeWithDynamicPads", inputs=4)
def conv_transpose(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = the transposed convolution of ai.onnx without its edges, as wide as the pads."""
    x, weight, pads = node.required(3)
    bias, rank = node.inputs[3], node.rank(x) - 2
    if node.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise UnsupportedOpError(
            f"ConvTransposeWithDynamicPads node {node.name!r}: unsupported auto_pad; supported: NOTSET, with pads. "
            "Export the model so."
        )
    operands = [x, weight] if bias is None else [x, weight, bias]
    names = ("dilations", "group", "kernel_shape", "output_padding", "strides")
    whole = op.node("ConvTranspose", operands, node.attributes.kept(*names))
    begin, end = (op.Slice(pads, [first], [first + rank], [0]) for first in (0, rank))
    axes = [*range(2, rank + 2)]
    return op.Slice(whole, begin, op.Sub(op.Shape(whole, start=2), end), axes)


@decomposition("com.microsoft::CropAndResize", inputs=4)
def crop_and_resize(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = crops of images, sampled at as many points as asked for: the first and last ones at the edges of a crop."""
    x, boxes, images, size = node.required(4)
    mode = node.get_string("mode", "bilinear")
    if mode not in ("bilinear", "nearest"):
        raise UnsupportedOpError(
            f"CropAndResize node {node.name!r}: unsupported mode {mode!r}; supported: 'bilinear', 'nearest'."
        )
    y, weights, inside = op.Gather(x, op.cast(images, _INT64), axis=0), [], []
    counts = op.cast(size, _INT64)
    for axis in (0, 1):
        low, high = (op.Slice(boxes, [place], [place + 1], [1]) for place in (axis, axis + 2))
        count, last = op.Gather(counts, op.constant(axis), axis=0), op.Sub(op.size(x, axis + 2), 1)
        edge = op.cast_like(last, x)
        share = op.Div(op.cast_like(op.Range(0, count, 1), x), op.cast_like(op.Max(op.Sub(count, 1), 1), x))
        along = op.Add(low, op.Mul(op.Sub(high, low), share))
        middle = op.Mul(op.Add(low, high), 0.5)
        points = op.Mul(op.Where(op.Greater(count, 1), along, middle), edge)
        inside.append(op.And(op.GreaterOrEqual(points, 0.0), op.LessOrEqual(points, edge)))
        pixels = op.cast_like(op.Range(0, op.Add(last, 1), 1), x)
        if mode == "nearest":
            nearest = op.Floor(op.Add(points, 0.5))
            weights.append(op.cast_like(op.Equal(op.Unsqueeze(nearest, [2]), pixels), x))
        else:
            away = op.Abs(op.Sub(op.Unsqueeze(points, [2]), pixels))
            weights.append(op.Relu(op.Sub(1.0, away)))
    rows, columns = (op.Unsqueeze(value, [1]) for value in weights)
    y = op.MatMul(op.MatMul(rows, y), transpose_last(op, columns, 4))
    seen = op.And(op.Unsqueeze(inside[0], [1, 3]), op.Unsqueeze(inside[1], [1, 2]))
    return op.Where(seen, y, op.constant(node.get_float("extrapolation_value", 0.0), x.dtype))


@decomposition("com.microsoft::Inverse", inputs=1)
def inverse(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = x^-1, of matrices of a given size, by elimination with the largest pivot of each column."""
    x, rank = node.x, node.rank(node.x)
    size = (dims_of(x) or [None])[-1]
    if not isinstance(size, int) or size > _LARGEST:
        raise UnsupportedOpError(
            f"Inverse node {node.name!r}: unsupported size {size} of its matrices; supported: a given number up to "
            f"{_LARGEST}. Give the model's inputs their sizes, or solve the system outside the model."
        )
    rows = np.arange(size)[:, None]
    both = op.Concat(x, op.Expand(op.constant(np.eye(size), x.dtype), op.Shape(x)), axis=-1)
    for k in range(size):
        if k < size - 1:
            both = _pivoted(op, both, k, rank, size)
        line = op.Slice(both, [k], [k + 1], [-2])
        line = op.Div(line, op.Slice(line, [k], [k + 1], [-1]))
        rest = op.Sub(both, op.Mul(op.Slice(both, [k], [k + 1], [-1]), line))
        both = op.Where(op.constant(rows == k), line, rest)
    return op.Slice(both, [size], [2 * size], [-1])


def _pivoted(op: OpBuilder, both: ir.Value, k: int, rank: int, size: int) -> ir.Value:
    """Rows (..., n, 2 n), row k and that of the largest element of column k from there on in each other's place."""
    column = op.Abs(op.Slice(both, [k, k], [size, k + 1], [-2, -1]))
    best = op.Add(op.ArgMax(column, axis=rank - 2, keepdims=1), k)
    rows = op.constant(np.arange(size)[:, None])
    swapped = op.Where(op.Equal(rows, best), op.constant(k), rows)
    order = op.Where(op.Equal(rows, op.constant(k)), best, swapped)
    return op.GatherElements(both, op.Expand(order, op.Shape(both)), axis=rank - 2)
