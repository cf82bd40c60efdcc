"""Definitions of operators that pool regions of interest: RoiAlign and MaxRoiPool.

A mean over interpolated samples is a product with one matrix per region and axis, however many samples there are. A
maximum has to look at every element it chooses among.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.derived import derived
from onnxattr.autodiff.registry import NodeView
from onnxattr.autodiff.rules.sampling import (
    Samples,
    Taps,
    channels_first,
    clip_to_axis,
    elements_of,
    linear_taps,
    outer,
    samples,
)
from onnxattr.graph.builder import OpBuilder


@dataclass(frozen=True)
class Bins:
    """Where the bins of every region sample one axis.

    Attributes:
        taps: The elements read, of shape (regions, bins, samples, 2).
        counted: Which samples exist, of shape (regions, 1, samples): a region may have fewer than others.
        share: One over the number of samples, of shape (regions, 1, 1).
    """

    taps: Taps
    counted: ir.Value
    share: ir.Value

    def matrix(self, op: OpBuilder, size: ir.Value) -> ir.Value:
        """What each element of the axis counts in the mean of each bin: (regions, bins, size)."""
        here = op.Equal(op.Unsqueeze(self.taps.index, [4]), op.Range(0, size, 1))
        dense = op.Where(here, op.Unsqueeze(self.taps.weight, [4]), 0.0)
        return op.Mul(op.ReduceSum(dense, [2, 3], keepdims=0), self.share)


def _bins(op: OpBuilder, node: NodeView, rois: ir.Value, column: int, bins: int, size: ir.Value) -> Bins:
    """The bins along one axis; ``column`` of the regions holds its start, ``column`` + 2 its end."""
    scale = node.get_float("spatial_scale")
    half = node.get_string("coordinate_transformation_mode") == "half_pixel"
    start, end = (
        op.Sub(op.Mul(op.Gather(rois, c, axis=1), scale), 0.5 if half else 0.0) for c in (column, column + 2)
    )
    extent = op.Sub(end, start)
    # Where the extent is raised to 1, it does not depend on the region, at 1 itself neither.
    extent = extent if half else op.Where(op.LessOrEqual(extent, 1.0), 1.0, extent)
    width = op.Div(extent, float(bins))
    ratio = node.get_int("sampling_ratio")
    counts = op.expand_like(float(ratio), width) if ratio > 0 else op.Ceil(width)
    # The 1 stands in where there are no regions.
    most = op.ReduceMax(op.Concat(counts, op.constant([1.0], rois.dtype), axis=0), keepdims=0)
    sample = op.cast_like(op.Range(0, op.cast(most, ir.DataType.INT64), 1), rois)
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
    return Bins(taps, counted, share)


@derived("RoiAlign")
def roi_align(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = mean (or maximum) of samples of x in each bin of each region;  xbar = ybar times the samples' weights.

    roisbar = ybar times the slopes of x, moved with the region's ends; the number of samples is constant. At an element
    the slope is the one to its right, outside the image 0. The maximum is over single elements times their weight, as
    in ONNX Runtime; its ybar goes to the first, in the order of bins' samples.
    """
    x, rois, images = node.required(3)
    shape = [node.get_int(name) for name in ("output_height", "output_width")]
    sizes = [op.size(x, axis) for axis in (2, 3)]
    axes = [_bins(op, node, rois, 1 - axis, shape[axis], sizes[axis]) for axis in range(2)]
    if node.get_string("mode") != "max":
        return _mean(op, x, images, *(bins.matrix(op, size) for bins, size in zip(axes, sizes, strict=True)))
    counted = [op.Expand(op.Unsqueeze(bins.counted, [3]), op.shape(bins.taps.index)) for bins in axes]
    found, exists = _bin_elements(op, x, images, [bins.taps for bins in axes], counted)
    return channels_first(op, _largest(op, found, exists), node.y)


def _mean(op: OpBuilder, x: ir.Value, images: ir.Value, rows: ir.Value, columns: ir.Value) -> ir.Value:
    """y = rows x[image] columns transposed, with a matrix of rows and one of columns per region.

    One product with all images, whose other rows are zeros: no image is copied for each of its regions.
    """
    one_hot = op.cast_like(op.Equal(op.Unsqueeze(images, [1]), op.Range(0, op.size(x, 0), 1)), x)
    spread = op.Flatten(op.Mul(op.Unsqueeze(rows, [2]), op.Unsqueeze(one_hot, [1, 3])), axis=2)
    product = op.MatMul(spread, op.Flatten(op.Transpose(x, perm=[0, 2, 1, 3]), axis=2))
    apart = op.reshape(product, [op.shape(rows, 0, 2), op.shape(x, 1, 2), op.shape(x, 3, 4)])
    turned = op.Transpose(columns, perm=[0, 2, 1])
    return op.MatMul(op.Transpose(apart, perm=[0, 2, 1, 3]), op.Unsqueeze(turned, [1]))


def _bin_elements(
    op: OpBuilder, x: ir.Value, images: ir.Value, axes: Sequence[Taps], counted: Sequence[ir.Value]
) -> tuple[Samples, ir.Value]:
    """All elements in each bin: samples (regions, bins, elements), and which of the elements exist."""
    parts = [_over_bins(op, [getattr(taps, name) for taps in axes]) for name in ("index", "weight")]
    flat = [Taps(*(part[axis] for part in parts)) for axis in range(2)]
    return samples(op, x, flat, images), outer(op, op.And, *_over_bins(op, counted))


def _over_bins(op: OpBuilder, values: Sequence[ir.Value]) -> list[ir.Value]:
    """Values per row and per column of bins (regions, bins, ...), each for all bins: (regions, rows * columns, -1)."""
    regions, rows, columns = (op.shape(values[i], j, j + 1) for i, j in ((0, 0), (0, 1), (1, 1)))
    spread = []
    for value, axis in zip(values, (2, 1), strict=True):
        count = op.elements(value, 2)
        flat = op.Unsqueeze(op.reshape(value, [op.shape(value, 0, 2), count]), [axis])
        repeated = op.expand(flat, [regions, rows, columns, 1])
        spread.append(op.reshape(repeated, [regions, op.Mul(rows, columns), count]))
    return spread


def _largest(op: OpBuilder, found: Samples, exists: ir.Value) -> ir.Value:
    """The first largest weighted element of each bin and channel: (regions, bins, C)."""
    lowest = float(np.finfo(found.x.dtype.numpy()).min)  # type: ignore[union-attr]
    weighted = op.Mul(found.elements(op), op.Unsqueeze(found.weight, [3]))
    values = op.Where(op.Unsqueeze(exists, [3]), weighted, lowest)
    winner = op.Unsqueeze(op.ArgMax(values, axis=2, keepdims=0), [3])
    index, weight = (op.GatherND(value, winner, batch_dims=2) for value in (found.index, found.weight))
    return op.Mul(elements_of(op, found.x, index), weight)


@derived("MaxRoiPool")
def max_roi_pool(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = largest element of each bin of each region;  its ybar goes to the first element that equals y.

    The regions are rounded to elements: no gradient.
    """
    x, rois = node.required(2)
    bins = node.get_ints("pooled_shape")
    images = op.cast(op.Gather(rois, 0, axis=1), ir.DataType.INT64)
    axes = [_whole_elements(op, node, x, rois, axis, bins[axis]) for axis in range(2)]
    found, exists = _bin_elements(op, x, images, *zip(*axes, strict=True))
    return channels_first(op, _largest(op, found, exists), node.y)


def _whole_elements(
    op: OpBuilder, node: NodeView, x: ir.Value, rois: ir.Value, axis: int, bins: int
) -> tuple[Taps, ir.Value]:
    """The elements of each bin along an axis, of shape (regions, bins, elements), and which of them exist.

    In float32, as ONNX Runtime rounds.
    """
    scale = np.float32(node.get_float("spatial_scale"))
    regions = op.Mul(op.cast(rois, ir.DataType.FLOAT), op.constant(scale))
    whole = op.Mul(op.Sign(regions), op.Floor(op.Add(op.Abs(regions), 0.5)))
    start, end = (op.Gather(whole, column - axis, axis=1) for column in (2, 4))
    width = op.Unsqueeze(op.Div(op.Max(op.Add(op.Sub(end, start), 1.0), 1.0), float(bins)), [1])
    order = op.constant(np.arange(bins, dtype=np.float32))
    length = op.cast(op.size(x, 2 + axis), ir.DataType.FLOAT)
    low, high = (
        op.Min(op.Max(op.Add(edge, op.Unsqueeze(start, [1])), 0.0), length)
        for edge in (op.Floor(op.Mul(width, order)), op.Ceil(op.Mul(width, op.Add(order, 1.0))))
    )
    most = op.ReduceMax(op.Concat(op.Reshape(op.Sub(high, low), [-1]), [1.0], axis=0), keepdims=0)
    steps = op.Range(0, op.cast(most, ir.DataType.INT64), 1)
    place = op.Add(op.Unsqueeze(low, [2]), op.cast(steps, ir.DataType.FLOAT))
    exists = op.Less(place, op.Unsqueeze(high, [2]))
    index = op.cast(op.Min(place, op.Sub(length, 1.0)), ir.DataType.INT64)
    ones = op.cast_like(exists, x)
    return Taps(index, ones), exists
