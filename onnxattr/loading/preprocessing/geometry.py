"""Where the pixels of a photo lie in what a network sees of it, as matrices: resized, cut out, padded.

Resizing is one product with a matrix an axis, as every runtime computes it alike. The matrices' entries are functions
of the photo's height and width, in float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.interpolation import kernel
from onnxattr.graph.values import dims_of
from onnxattr.loading.preprocessing.spec import Preprocessing

#: Between a quotient of integers and the next whole number there is more than this share of the divisor.
_HALF = 0.5
#: Beyond any kernel; and less than the sum of any kernel over the pixels that exist.
_FAR, _LEAST = 4.0, 0.25


@dataclass(frozen=True)
class Axis:
    """One axis of a photo and of the network's image.

    Attributes:
        here: The photo's pixels, int64 scalar.
        dim: How many they are, or the name of that size.
        size: The same, float32.
        new: How many they are after the resize, float32 scalar.
        shift: Which of those is the first that the network sees, float32 scalar; negative where there is padding.
        there: How many pixels the network sees.
    """

    here: ir.Value
    dim: int | str | None
    size: ir.Value
    new: ir.Value
    shift: ir.Value
    there: int


def axes_of(
    op: OpBuilder, photo: ir.Value, axes: tuple[int, int], spec: Preprocessing, there: tuple[int, int]
) -> tuple[Axis, Axis]:
    """The vertical and the horizontal axis of a photo.

    Args:
        op: Builder on the graph.
        photo: The pixels.
        axes: Where they have their height and width.
        spec: How they are resized and cut.
        there: The height and width that the network sees.
    """
    heres = [op.size(photo, axis) for axis in axes]
    # A photo has a pixel; said here, it follows that no entry of the matrices is infinite, as gradients look for.
    sizes = [op.Max(op.Cast(here, to=ir.DataType.FLOAT.value), 1.0) for here in heres]
    news = _resized(op, spec, sizes)
    dims = dims_of(photo) or []
    found = [
        Axis(here, dims[axis], size, new, _shift(op, spec, new, out), out)
        for here, axis, size, new, out in zip(heres, axes, sizes, news, there, strict=True)
    ]
    return found[0], found[1]


def _resized(op: OpBuilder, spec: Preprocessing, sizes: list[ir.Value]) -> list[ir.Value]:
    """The sizes after the resize.

    "shortest_edge": the other side is rounded down, as torchvision's ``Resize`` does; "letterbox": rounded to the
    nearest.
    """
    if spec.resize == "none" or spec.size is None:
        return sizes
    if spec.resize == "stretch":
        return [op.constant(float(side), ir.DataType.FLOAT) for side in spec.size]
    if spec.resize == "shortest_edge":
        short = op.Min(*sizes)
        edge = float(spec.size[0])
        return [op.Max(op.Floor(op.Div(op.Add(op.Mul(size, edge), _HALF), short)), 1.0) for size in sizes]
    height, width = sizes
    box_h, box_w = (float(side) for side in spec.size)
    wide = op.LessOrEqual(op.Mul(height, box_w), op.Mul(width, box_h))
    new_h = op.Round(op.Div(op.Mul(height, box_w), width))
    new_w = op.Round(op.Div(op.Mul(width, box_h), height))
    return [
        op.Where(wide, op.Max(new_h, 1.0), box_h),
        op.Where(wide, box_w, op.Max(new_w, 1.0)),
    ]


def _shift(op: OpBuilder, spec: Preprocessing, new: ir.Value, there: int) -> ir.Value:
    """Where the network's image begins: in the middle, rounded as torchvision's ``center_crop`` and letterboxes do."""
    spare = op.Mul(op.Sub(new, float(there)), 0.5)
    if spec.resize == "letterbox" and spec.crop is None:
        return op.Neg(op.Round(op.Sub(op.Neg(spare), 0.1)))
    return op.Round(spare)


def resizing(op: OpBuilder, axis: Axis, method: str, antialias: bool) -> ir.Value:
    """The matrix (there, here) that gives each pixel of the network from the photo's; rows of 0 beside the photo.

    Row i holds the kernel around the place (i + shift + 1/2) here / new - 1/2, over the pixels that exist, scaled to
    the sum 1. With ``antialias`` it is as wide as one new pixel, where that is more than one of the photo.
    """
    place, inside = _places(op, axis)
    middle = op.Div(op.Mul(op.Add(place, 0.5), axis.size), axis.new)
    columns = _counted(op, axis.here, 0)
    if method == "nearest":
        hit = op.And(op.Equal(op.Floor(middle), columns), inside)
        chosen = op.Cast(hit, to=ir.DataType.FLOAT.value)
        chosen.shape = ir.Shape([axis.there, axis.dim])
        return chosen
    distance = op.Abs(op.Sub(columns, op.Sub(middle, 0.5)))
    if antialias:
        distance = op.Div(distance, op.Max(op.Div(axis.size, axis.new), 1.0))
    return _scaled(op, distance, inside, method, [axis.there, axis.dim])


def _scaled(
    op: OpBuilder, distance: ir.Value, there: ir.Value, method: str, dims: list[int | str | None]
) -> ir.Value:
    """The matrix of kernels at some distances, each row scaled to the sum 1, or 0 where it is beside the image."""
    weights = op.Where(there, kernel(op, op.Min(distance, _FAR), method), 0.0)
    matrix: ir.Value = op.Div(weights, op.Max(op.ReduceSum(weights, [1], keepdims=1), _LEAST))
    matrix.shape = ir.Shape(dims)
    return matrix


def covered(op: OpBuilder, axis: Axis) -> ir.Value:
    """1 for the network's pixels that the photo reaches, else 0; (there, 1) float32."""
    return op.Cast(_places(op, axis)[1], to=ir.DataType.FLOAT.value)


def spreading(op: OpBuilder, axis: Axis, cells: ir.Value, method: str) -> ir.Value:
    """The matrix (here, cells) that lays cells, which divide the network's image evenly, over the photo.

    Rows of pixels that the network does not see are 0.

    Args:
        op: Builder on the graph.
        axis: The axis.
        cells: How many they are, int64 scalar.
        method: "nearest", "bilinear" or "bicubic".
    """
    count = op.Cast(cells, to=ir.DataType.FLOAT.value)
    pixel = op.Add(_counted(op, axis.here, 1), 0.5)
    place = op.Sub(op.Div(op.Mul(pixel, axis.new), axis.size), axis.shift)
    seen = op.And(op.GreaterOrEqual(place, 0.0), op.Less(place, float(axis.there)))
    middle = op.Div(op.Mul(place, count), float(axis.there))
    columns = _counted(op, cells, 0)
    if method == "nearest":
        return op.Cast(op.And(op.Equal(op.Floor(middle), columns), seen), to=ir.DataType.FLOAT.value)
    distance = op.Abs(op.Sub(columns, op.Sub(middle, 0.5)))
    return _scaled(op, distance, seen, method, [axis.dim, None])


def is_whole(spec: Preprocessing) -> bool:
    """Whether the network sees the whole photo, and nothing beside it."""
    return spec.crop is None and spec.resize in ("none", "stretch")


def _places(op: OpBuilder, axis: Axis) -> tuple[ir.Value, ir.Value]:
    """Where each of the network's pixels lies among the resized ones, (there, 1), and whether that is in the photo."""
    rows = op.constant([[float(row)] for row in range(axis.there)], ir.DataType.FLOAT)
    place = op.Add(rows, axis.shift)
    inside = op.And(op.GreaterOrEqual(place, 0.0), op.Less(place, axis.new))
    return place, inside


def _counted(op: OpBuilder, count: ir.Value, axis: int) -> ir.Value:
    """0, 1, ... as floats, along the other axis of a matrix."""
    return op.Unsqueeze(op.Cast(op.Range(0, count, 1), to=ir.DataType.FLOAT.value), [axis])
