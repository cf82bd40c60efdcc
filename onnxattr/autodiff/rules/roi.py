"""Rules of operators that pool regions of interest: RoiAlign and MaxRoiPool.

A mean over interpolated samples is a product with one matrix per region and axis, however many samples there are. A
maximum has to look at every element it chooses among.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.registry import Cotangent, vjp
from onnxattr.autodiff.rules.sampling import (
    Samples,
    Taps,
    add_elements,
    channels_last,
    clip_to_axis,
    elements_of,
    linear_taps,
    outer,
    samples,
)
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.products import contraction


@dataclass(frozen=True)
class Bins:
    """Where the bins of every region sample one axis: at start + place * extent / bins.

    Attributes:
        taps: The elements read, of shape (regions, bins, samples, 2).
        place: Of shape (regions, bins, samples): in bins from the region's start.
        counted: Which samples exist, of shape (regions, 1, samples): a region may have fewer than others.
        share: One over the number of samples, of shape (regions, 1, 1).
        clamped: Whether the extent was raised to 1, of shape (regions,); None where it never is.
    """

    taps: Taps
    place: ir.Value
    counted: ir.Value
    share: ir.Value
    clamped: ir.Value | None

    def dense(self, op: OpBuilder, values: ir.Value, size: ir.Value) -> ir.Value:
        """Values per tap laid out over the axis: (regions, bins, samples, 2, size)."""
        here = op.Equal(op.Unsqueeze(self.taps.index, [4]), op.Range(0, size, 1))
        return op.Where(here, op.Unsqueeze(values, [4]), 0.0)

    def matrix(self, op: OpBuilder, size: ir.Value) -> ir.Value:
        """What each element of the axis counts in the mean of each bin: (regions, bins, size)."""
        return op.Mul(op.ReduceSum(self.dense(op, self.taps.weight, size), [2, 3], keepdims=0), self.share)

    def position_ct(self, op: OpBuilder, matrix_ct: ir.Value, size: ir.Value) -> ir.Value:
        """The cotangent of the positions (regions, bins, samples), given that of the matrix."""
        slopes = op.Mul(self.dense(op, self.taps.slope, size), op.Unsqueeze(matrix_ct, [2, 3]))
        return op.Mul(op.ReduceSum(slopes, [3, 4], keepdims=0), self.share)

    def ends_ct(
        self, op: OpBuilder, node: Any, bins: int, start_ct: ir.Value, place_ct: ir.Value
    ) -> tuple[ir.Value, ir.Value]:
        """The cotangents of the region's two ends, given the sums of the positions' and of place times it."""
        scale = node.attributes.get_float("spatial_scale", 1.0)
        extent_ct = op.Div(place_ct, float(bins))
        if self.clamped is not None:
            extent_ct = op.Where(self.clamped, 0.0, extent_ct)
        return op.Mul(op.Sub(start_ct, extent_ct), scale), op.Mul(extent_ct, scale)


def _bins(op: OpBuilder, node: Any, rois: ir.Value, column: int, bins: int, size: ir.Value) -> Bins:
    """The bins along one axis; ``column`` of the regions holds its start, ``column`` + 2 its end."""
    scale = node.attributes.get_float("spatial_scale", 1.0)
    half = node.attributes.get_string("coordinate_transformation_mode", "half_pixel") == "half_pixel"
    start, end = (
        op.Sub(op.Mul(op.Gather(rois, c, axis=1), scale), 0.5 if half else 0.0) for c in (column, column + 2)
    )
    extent = op.Sub(end, start)
    clamped = None if half else op.LessOrEqual(extent, 1.0)
    extent = extent if half else op.Max(extent, 1.0)
    width = op.Div(extent, float(bins))
    ratio = node.attributes.get_int("sampling_ratio", 0)
    counts = op.expand_like(float(ratio), width) if ratio > 0 else op.Ceil(width)
    # The 1 stands in where there are no regions.
    most = op.ReduceMax(op.Concat(counts, op.constant([1.0], rois.dtype), axis=0), keepdims=0)
    sample = op.cast_like(op.Range(0, op.Cast(most, to=ir.DataType.INT64.value), 1), rois)
    counts = op.Unsqueeze(counts, [1, 2])
    share = op.Div(1.0, op.Max(counts, 1.0))
    bin_index = op.constant(np.arange(bins).reshape(1, bins, 1), rois.dtype)
    place = op.Add(op.Mul(op.Add(sample, 0.5), share), bin_index)
    position = op.Add(op.Mul(place, op.Unsqueeze(width, [1, 2])), op.Unsqueeze(start, [1, 2]))
    length = op.cast_like(size, rois)
    near = op.And(op.GreaterOrEqual(position, -1.0), op.LessOrEqual(position, length))
    counted = op.Less(sample, counts)
    taps = linear_taps(
        op, clip_to_axis(op, position, length), length, lambda p, n: clip_to_axis(op, p, n)
    ).where(op, op.Unsqueeze(op.And(near, counted), [3]))
    return Bins(taps, place, counted, share, clamped)


@vjp("RoiAlign")
def roi_align(op: OpBuilder, node: Any, ct: ir.Value) -> Sequence[Cotangent]:
    """y = mean (or maximum) of samples of x in each bin of each region;  xbar = ybar times the samples' weights.

    roisbar = ybar times the slopes of x, moved with the region's ends; the number of samples is constant. At an element
    the slope is the one to its right, outside the image 0. The maximum is over single elements times their weight, as
    in ONNX Runtime; its ybar goes to the first, in the order of bins' samples.
    """
    x, rois, images = node.inputs
    shape = [node.attributes.get_int(name, 1) for name in ("output_height", "output_width")]
    sizes = [op.Squeeze(op.shape(x, axis, axis + 1)) for axis in (2, 3)]
    axes = [_bins(op, node, rois, 1 - axis, shape[axis], sizes[axis]) for axis in range(2)]
    if node.attributes.get_string("mode", "avg") == "max":
        x_ct, moments = _maximum(op, x, images, axes, ct)
    else:
        x_ct, moments = _mean(op, x, images, axes, sizes, ct)

    def rois_ct() -> ir.Value:
        ends = [axes[axis].ends_ct(op, node, shape[axis], *moments(axis)) for axis in (1, 0)]
        columns = [ends[axis][end] for end in range(2) for axis in range(2)]
        return op.Concat(*[op.Unsqueeze(column, [1]) for column in columns], axis=1)

    return x_ct, rois_ct, None


def _mean(
    op: OpBuilder,
    x: ir.Value,
    images: ir.Value,
    axes: Sequence[Bins],
    sizes: Sequence[ir.Value],
    ct: ir.Value,
) -> tuple[Any, Any]:
    """xbar, and per axis the sums of the positions' cotangents, alone and times place, as functions.

    y = rows x[image] columns transposed, with a matrix of rows and one of columns per region.
    """
    rows, columns = (bins.matrix(op, size) for bins, size in zip(axes, sizes, strict=True))
    count = op.Squeeze(op.shape(x, 0, 1))
    one_hot = op.cast_like(op.Equal(op.Unsqueeze(images, [1]), op.Range(0, count, 1)), x)
    of_image = op.Unsqueeze(one_hot, [1, 3])

    def half(matrix: ir.Value, swap: bool) -> ir.Value:
        """Ybar times the other axis' matrix: (regions * bins, C * elements)."""
        turned = op.Transpose(ct, perm=[0, 1, 3, 2]) if swap else ct
        part = contraction(op, turned, [op.Unsqueeze(matrix, [1])], op.MatMul, sparse=True)
        return op.Flatten(op.Transpose(part, perm=[0, 2, 1, 3]), axis=2)

    def x_ct() -> ir.Value:
        flat = op.Flatten(op.Mul(op.Unsqueeze(rows, [2]), of_image), axis=2)
        spread = op.Transpose(flat, perm=[1, 0])
        total = contraction(op, half(columns, False), [spread], lambda c, f: op.MatMul(f, c), sparse=True)
        order = op.Concat(*[op.shape(x, axis, axis + 1) for axis in (0, 2, 1, 3)], axis=0)
        return op.Transpose(op.Reshape(total, order), perm=[0, 2, 1, 3])

    def moments(axis: int) -> tuple[ir.Value, ...]:
        other = half((columns, rows)[axis], bool(axis))
        elements = op.Transpose(x, perm=[1, 3, 0, 2] if axis == 0 else [1, 2, 0, 3])
        product = op.MatMul(other, op.Flatten(elements, axis=2))
        matrix = (rows, columns)[axis]
        apart = op.Concat(op.shape(matrix, start=0, end=2), op.shape(elements, 2), axis=0)
        matrix_ct = op.ReduceSum(op.Mul(op.Reshape(product, apart), of_image), [2], keepdims=0)
        position_ct = axes[axis].position_ct(op, matrix_ct, sizes[axis])
        return _sums(op, position_ct, op.Mul(position_ct, axes[axis].place))

    return x_ct, moments


def _maximum(
    op: OpBuilder, x: ir.Value, images: ir.Value, axes: Sequence[Bins], ct: ir.Value
) -> tuple[Any, Any]:
    """As _mean, for the maximum."""
    counted = [op.Expand(op.Unsqueeze(bins.counted, [3]), op.shape(bins.taps.index)) for bins in axes]
    found, exists = _bin_elements(op, x, images, [bins.taps for bins in axes], counted)
    pick, rows = _largest(op, found, exists), channels_last(op, ct)
    index = pick(found.index)

    def moments(axis: int) -> tuple[ir.Value, ...]:
        places = [op.Expand(op.Unsqueeze(axes[axis].place, [3]), op.shape(axes[axis].taps.index))] * 2
        places[1 - axis] = op.expand_like(1, axes[1 - axis].taps.weight)
        place = pick(outer(op, op.Mul, *_over_bins(op, places)))
        position_ct = op.Mul(op.Mul(rows, elements_of(op, x, index)), pick(found.slopes[axis]))
        return _sums(op, position_ct, op.Mul(position_ct, place))

    return lambda: add_elements(op, x, index, op.Mul(rows, pick(found.weight))), moments


def _sums(op: OpBuilder, *values: ir.Value) -> tuple[ir.Value, ...]:
    """The sums over all but the first axis of values of rank 3."""
    return tuple(op.ReduceSum(value, [1, 2], keepdims=0) for value in values)


def _bin_elements(
    op: OpBuilder, x: ir.Value, images: ir.Value, axes: Sequence[Taps], counted: Sequence[ir.Value]
) -> tuple[Samples, ir.Value]:
    """All elements in each bin: samples (regions, bins, elements), and which of the elements exist."""
    parts = [_over_bins(op, [getattr(taps, name) for taps in axes]) for name in ("index", "weight", "slope")]
    flat = [Taps(*(part[axis] for part in parts)) for axis in range(2)]
    return samples(op, x, flat, images), outer(op, op.And, *_over_bins(op, counted))


def _over_bins(op: OpBuilder, values: Sequence[ir.Value]) -> list[ir.Value]:
    """Values per row and per column of bins (regions, bins, ...), each for all bins: (regions, rows * columns, -1)."""
    regions, rows, columns = (op.shape(values[i], j, j + 1) for i, j in ((0, 0), (0, 1), (1, 1)))
    spread = []
    for value, axis in zip(values, (2, 1), strict=True):
        count = op.ReduceProd(op.shape(value, 2), keepdims=1)
        flat = op.Unsqueeze(op.Reshape(value, op.Concat(op.shape(value, 0, 2), count, axis=0)), [axis])
        repeated = op.Expand(flat, op.Concat(regions, rows, columns, [1], axis=0))
        spread.append(op.Reshape(repeated, op.Concat(regions, op.Mul(rows, columns), count, axis=0)))
    return spread


def _largest(op: OpBuilder, found: Samples, exists: ir.Value) -> Callable[[ir.Value], ir.Value]:
    """What picks, from a value per element of each bin, that of the first largest weighted element of each channel."""
    lowest = float(np.finfo(found.x.dtype.numpy()).min)  # type: ignore[union-attr]
    weighted = op.Mul(found.elements(op), op.Unsqueeze(found.weight, [3]))
    values = op.Where(op.Unsqueeze(exists, [3]), weighted, lowest)
    winner = op.Unsqueeze(op.ArgMax(values, axis=2, keepdims=0), [3])
    return lambda value: op.GatherND(value, winner, batch_dims=2)


@vjp("MaxRoiPool")
def max_roi_pool(op: OpBuilder, node: Any, ct: ir.Value) -> Sequence[Cotangent]:
    """y = largest element of each bin of each region;  its ybar goes to the first element that equals y.

    The regions are rounded to elements: no gradient.
    """
    x, rois = node.inputs
    bins = node.attributes.get_ints("pooled_shape")
    found, exists = _bin_elements(
        op,
        x,
        op.Cast(op.Gather(rois, 0, axis=1), to=ir.DataType.INT64.value),
        *zip(*[_whole_elements(op, node, x, rois, axis, bins[axis]) for axis in range(2)], strict=True),
    )
    pick = _largest(op, found, exists)
    share = op.Mul(channels_last(op, ct), pick(found.weight))
    return lambda: add_elements(op, x, pick(found.index), share), None


def _whole_elements(
    op: OpBuilder, node: Any, x: ir.Value, rois: ir.Value, axis: int, bins: int
) -> tuple[Taps, ir.Value]:
    """The elements of each bin along an axis, of shape (regions, bins, elements), and which of them exist.

    In float32, as ONNX Runtime rounds.
    """
    scale = np.float32(node.attributes.get_float("spatial_scale", 1.0))
    regions = op.Mul(op.Cast(rois, to=ir.DataType.FLOAT.value), op.constant(scale))
    whole = op.Mul(op.Sign(regions), op.Floor(op.Add(op.Abs(regions), 0.5)))
    start, end = (op.Gather(whole, column - axis, axis=1) for column in (2, 4))
    width = op.Unsqueeze(op.Div(op.Max(op.Add(op.Sub(end, start), 1.0), 1.0), float(bins)), [1])
    order = op.constant(np.arange(bins, dtype=np.float32))
    length = op.Cast(op.Squeeze(op.shape(x, 2 + axis, 3 + axis)), to=ir.DataType.FLOAT.value)
    low, high = (
        op.Min(op.Max(op.Add(edge, op.Unsqueeze(start, [1])), 0.0), length)
        for edge in (op.Floor(op.Mul(width, order)), op.Ceil(op.Mul(width, op.Add(order, 1.0))))
    )
    most = op.ReduceMax(op.Concat(op.Reshape(op.Sub(high, low), [-1]), [1.0], axis=0), keepdims=0)
    steps = op.Range(0, op.Cast(most, to=ir.DataType.INT64.value), 1)
    place = op.Add(op.Unsqueeze(low, [2]), op.Cast(steps, to=ir.DataType.FLOAT.value))
    exists = op.Less(place, op.Unsqueeze(high, [2]))
    index = op.Cast(op.Min(place, op.Sub(length, 1.0)), to=ir.DataType.INT64.value)
    ones = op.cast_like(exists, x)
    return Taps(index, ones, ones), exists
