"""Interpolation at positions between elements, and the definitions of the grid operators.

A sample is a weighted sum of a few elements, its taps. Along one axis they come as ``Taps``; the product of the axes
gives ``Samples``. Resize needs none of this: its positions are the same for all images, so that a matrix per axis does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.derived import derived
from onnxattr.autodiff.registry import Cotangent, NodeView, vjp
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of

#: Coefficient of the cubic convolution kernel, that of PyTorch and ONNX Runtime.
_CUBIC = -0.75

Padding = Callable[[ir.Value, ir.Value], ir.Value]


@dataclass(frozen=True)
class Taps:
    """The elements that samples along one axis read.

    Attributes:
        index: Positions of the elements, int64 of shape (..., taps), inside the axis.
        weight: Their weights, of the same shape, which depend on the sample's position.
    """

    index: ir.Value
    weight: ir.Value

    def where(self, op: OpBuilder, valid: ir.Value) -> Taps:
        """The taps with weight 0 where ``valid`` is false."""
        return Taps(self.index, op.Where(valid, self.weight, 0.0))


def clip_to_axis(op: OpBuilder, position: ir.Value, size: ir.Value) -> ir.Value:
    """Positions brought to 0..size - 1; ``size`` has their dtype."""
    return op.Min(op.Max(position, 0.0), op.Sub(size, 1.0))


def reflect(op: OpBuilder, position: ir.Value, size: ir.Value, corners: bool) -> ir.Value:
    """Positions folded back at the axis' ends: at the centres of the outer elements, or at their outer edges."""
    margin = 0.0 if corners else 0.5
    span = op.Add(size, 2.0 * margin - 1.0)
    phase = op.Mod(op.Abs(op.Add(position, margin)), op.Mul(op.Max(span, 0.5), 2.0), fmod=1)
    return clip_to_axis(op, op.Sub(op.Sub(span, op.Abs(op.Sub(phase, span))), margin), size)


def linear_taps(op: OpBuilder, position: ir.Value, size: ir.Value, pad: Padding | None = None) -> Taps:
    """The two neighbours of each position, weighted by nearness.

    At an element itself the slope is the one to its right. With ``pad`` it is 0 at the axis' ends, as in PyTorch.

    Args:
        op: The builder.
        position: Positions of any shape, in elements.
        size: The length of the axis, a scalar in the dtype of the positions.
        pad: Brings positions inside the axis; None for zeros outside.
    """
    below = op.Floor(position)
    distance = op.Sub(position, below)
    if pad is not None:
        # At the ends both taps are the same element, or the distance is 0.
        inside = pad(position, size)
        distance = op.Where(
            op.And(op.Greater(inside, 0.0), op.Less(inside, op.Sub(size, 1.0))), distance, 0.0
        )
    distance = op.Unsqueeze(distance, [-1])
    return _padded(op, below, (0, 1), op.Concat(op.Sub(1.0, distance), distance, axis=-1), size, pad)


def cubic_taps(op: OpBuilder, position: ir.Value, size: ir.Value, pad: Padding | None = None) -> Taps:
    """The four neighbours of each position, weighted by the cubic convolution kernel; arguments as linear_taps."""
    below, offsets, a = op.Floor(position), (-1, 0, 1, 2), _CUBIC
    away = op.Sub(op.Unsqueeze(op.Sub(position, below), [-1]), op.constant(offsets, position.dtype))
    d = op.Abs(away)
    near = _polynomial(op, d, [a + 2, -(a + 3), 0.0, 1.0])
    far = _polynomial(op, d, [a, -5 * a, 8 * a, -4 * a])
    return _padded(op, below, offsets, op.Where(op.Less(d, 1.0), near, far), size, pad)


def nearest_taps(op: OpBuilder, position: ir.Value, size: ir.Value, pad: Padding | None = None) -> Taps:
    """The element nearest to each position, the even one of two; arguments as linear_taps."""
    one = op.Unsqueeze(op.expand_like(1, position), [-1])
    return _padded(op, op.Round(position), (0,), one, size, pad)


def _polynomial(op: OpBuilder, d: ir.Value, coefficients: Sequence[float]) -> ir.Value:
    result: Any = coefficients[0]
    for coefficient in coefficients[1:]:
        result = op.Add(op.Mul(d, result), coefficient)
    value: ir.Value = result
    return value


def _padded(
    op: OpBuilder,
    first: ir.Value,
    offsets: Sequence[int],
    weight: ir.Value,
    size: ir.Value,
    pad: Padding | None,
) -> Taps:
    place = op.Add(op.Unsqueeze(first, [-1]), op.constant(offsets, first.dtype))
    inside = clip_to_axis(op, pad(place, size) if pad else place, size)
    # A place that is NaN, of one sample, would be no index and end the run of all samples.
    index = op.cast(op.Where(op.GreaterOrEqual(inside, 0.0), inside, 0.0), ir.DataType.INT64)
    taps = Taps(index, weight)
    if pad is not None:
        return taps
    return taps.where(op, op.And(op.GreaterOrEqual(place, 0.0), op.Less(place, size)))


@dataclass(frozen=True)
class Samples:
    """Samples of images: y[n, p, c] = sum over k of weight[n, p, k] * x[n, c, index[n, p, k]], x flat.

    Attributes:
        x: The images, of shape (images, C, ...).
        index: Rows of the taps among all elements of all images, int64 of shape (N, P, K).
        weight: Their weights, of the same shape.
    """

    x: ir.Value
    index: ir.Value
    weight: ir.Value

    def elements(self, op: OpBuilder) -> ir.Value:
        """The elements that the taps point at, of shape (N, P, K, C)."""
        return op.Gather(rows_of(op, self.x), self.index)

    def values(self, op: OpBuilder) -> ir.Value:
        """The samples themselves, of shape (N, P, C)."""
        return op.Squeeze(op.MatMul(op.Unsqueeze(self.weight, [2]), self.elements(op)), [2])


def samples(op: OpBuilder, x: ir.Value, axes: Sequence[Taps], images: ir.Value | None = None) -> Samples:
    """The product of the taps (N, P, taps) along every spatial axis of x.

    Row n of the taps reads image n of x, or image ``images[n]``.
    """
    step = op.Squeeze(op.elements(x, 2), [0])
    if images is None:
        images = op.Range(0, op.size(axes[0].index, 0), 1)
    index = op.Unsqueeze(op.Mul(images, step), [1, 2])
    weight: ir.Value | None = None
    for axis, taps in enumerate(axes):
        step = op.Div(step, op.size(x, 2 + axis))
        index = outer(op, op.Add, index, op.Mul(taps.index, step))
        weight = taps.weight if weight is None else _weights(op, weight, taps.weight)
    assert weight is not None
    return Samples(x, index, weight)


def _weights(op: OpBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """The products of every pair of a's and b's last axis, where their lengths are known.

    Each pair is laid out by a product with zeros and ones: its adjoint is one product, that of ``outer`` a sum over an
    axis of a few elements, which runtimes are slow at.
    """
    m, n = ((dims_of(value) or [None])[-1] for value in (a, b))
    if not isinstance(m, int) or not isinstance(n, int):
        return outer(op, op.Mul, a, b)
    rows, columns = np.repeat(np.eye(m), n, axis=1), np.tile(np.eye(n), m)
    return op.Mul(op.MatMul(a, op.constant(rows, a.dtype)), op.MatMul(b, op.constant(columns, b.dtype)))


def outer(op: OpBuilder, combine: Callable[..., ir.Value], a: ir.Value, b: ir.Value) -> ir.Value:
    """Every pair of a's and b's last axis."""
    pairs = combine(op.Unsqueeze(a, [3]), op.Unsqueeze(b, [2]))
    count = op.Mul(op.shape(a, 2, 3), op.shape(b, 2, 3))
    return op.reshape(pairs, [op.shape(pairs, 0, 2), count])


def rows_of(op: OpBuilder, x: ir.Value) -> ir.Value:
    """Images (N, C, ...) as one row of channels per position: (N * positions, C)."""
    return op.reshape(channels_last(op, x), [-1, op.shape(x, 1, 2)])


def elements_of(op: OpBuilder, x: ir.Value, index: ir.Value) -> ir.Value:
    """One element per channel, from the rows ``index`` (..., C)."""
    return op.Gather(op.Reshape(rows_of(op, x), [-1]), _of_channels(op, x, index))


def _of_channels(op: OpBuilder, x: ir.Value, index: ir.Value) -> ir.Value:
    """Positions among all elements in the order of rows_of: row ``index[..., c]``, channel c."""
    channels = op.shape(x, 1, 2)
    return op.Add(op.Mul(index, channels), op.Range(0, op.Squeeze(channels), 1))


def channels_last(op: OpBuilder, value: ir.Value) -> ir.Value:
    """Images (N, C, ...) as (N, positions, C)."""
    count = op.elements(value, 2)
    flat = op.reshape(value, [op.shape(value, 0, 2), count])
    return op.Transpose(flat, perm=[0, 2, 1])


def channels_first(op: OpBuilder, rows: ir.Value, like: ir.Value) -> ir.Value:
    """Undoes channels_last, for values in the shape of ``like``."""
    return op.reshape_like(op.Transpose(rows, perm=[0, 2, 1]), like)


@derived("GridSample")
def grid_sample(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = x sampled at the grid's positions;  xbar = ybar times the weights, added onto the elements read.

    gridbar = sum over channels of ybar times the slope of x at the position: 0 for nearest; at kinks as linear_taps.
    """
    x, grid = node.required(2)
    rank = node.rank(x) - 2
    corners = bool(node.get_int("align_corners"))
    mode = node.get_string("mode").removeprefix("bi")
    padding = node.get_string("padding_mode")
    pads: dict[str, Padding | None] = {
        "zeros": None,
        "border": lambda position, size: clip_to_axis(op, position, size),
        "reflection": lambda position, size: reflect(op, position, size, corners),
    }
    taps_of = {"linear": linear_taps, "cubic": cubic_taps, "nearest": nearest_taps}[mode]
    # A size that is computed has a name: none of the forward pass is needed for its shape alone.
    count = op.elements(grid, 1, 1 + rank)
    flat = op.cast_like(op.reshape(grid, [op.shape(grid, 0, 1), count, rank]), x)
    axes = []
    for axis in range(rank):
        size = op.cast_like(op.size(x, 2 + axis), x)
        # Rounded as the forward pass rounds, so that both see the same neighbours.
        shifted = op.Add(op.Gather(flat, rank - 1 - axis, axis=2), 1.0)
        if corners:
            position = op.Mul(op.Mul(shifted, 0.5), op.Sub(size, 1.0))
        else:
            position = op.Mul(op.Sub(op.Mul(shifted, size), 1.0), 0.5)
        axes.append(taps_of(op, position, size, pads[padding]))
    return channels_first(op, samples(op, x, axes).values(op), node.y)


@vjp("AffineGrid")
def affine_grid(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = positions (p, 1) times theta transposed;  thetabar = ybar transposed times the positions (p, 1).

    The positions are what AffineGrid itself makes of the identity. Not derived: the product that the engine derives
    transposes the other factor, which takes 1.34 times the CPU time (64 x 64 positions).
    """
    theta, size = node.required(2)
    rank = node.rank(node.y) - 2
    identity = op.constant(np.eye(rank, rank + 1)[None], theta.dtype)
    single = op.Concat([1], op.Slice(size, [1], [rank + 2]), axis=0)
    corners = node.get_int("align_corners")
    positions = op.Reshape(op.AffineGrid(identity, single, align_corners=corners), [-1, rank])
    ones = op.expand(op.constant(1, theta.dtype), [op.Shape(positions, start=0, end=1), 1])
    flat = op.reshape(ct, [op.shape(ct, 0, 1), -1, rank])
    return op.MatMul(op.Transpose(flat, perm=[0, 2, 1]), op.Concat(positions, ones, axis=1)), None
