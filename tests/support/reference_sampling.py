"""Float64 forward passes of the operators that sample between elements, each sample by itself.

onnx's evaluator rounds GridSample and AffineGrid to float32 and knows GridSample's modes by their newest names only.
"""

import itertools
import math

import numpy as np

from onnxattr.testing.evaluator_windows import Corrected


def cubic(d, a=-0.75):
    d = abs(d)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def linear(d):
    return max(1 - abs(d), 0)


def padded_index(i, size, padding, corners):
    """The element that index ``i`` stands for; None for a zero."""
    if 0 <= i < size:
        return i
    if padding == "zeros":
        return None
    if padding == "border":
        return min(max(i, 0), size - 1)
    low, high = (0, size - 1) if corners else (-0.5, size - 0.5)
    while not low <= i <= high:
        if low == high:
            return 0
        i = 2 * low - i if i < low else 2 * high - i
    return min(max(round(i), 0), size - 1)


def axis_weights(position, size, mode="linear", padding="zeros", corners=False):
    """The weight of every element of an axis in the sample at a position."""
    weights = np.zeros(size)
    if mode == "nearest":
        taps = {round(position): 1.0}
    else:
        around = range(math.floor(position) - 1, math.floor(position) + 3)
        taps = {i: (cubic if mode == "cubic" else linear)(position - i) for i in around}
    for i, weight in taps.items():
        place = padded_index(i, size, padding, corners)
        if place is not None:
            weights[place] += weight
    return weights


def sampled(image, axes):
    """An image (C, ...) contracted with one weight vector per spatial axis."""
    for weights in axes:
        image = np.tensordot(image, weights, axes=(1, 0))
    return image


class GridSample(Corrected):
    def compute(self, attributes, x, grid):
        mode = attributes.get("mode", "linear").removeprefix("bi")
        padding, corners = attributes.get("padding_mode", "zeros"), attributes.get("align_corners", 0)
        y = np.zeros((x.shape[0], x.shape[1], *grid.shape[1:-1]))
        for n, *where in np.ndindex(grid.shape[:-1]):
            axes = []
            for g, size in zip(grid[(n, *where)][::-1], x.shape[2:], strict=True):
                position = (g + 1) / 2 * (size - 1) if corners else ((g + 1) * size - 1) / 2
                axes.append(axis_weights(position, size, mode, padding, corners))
            y[(n, slice(None), *where)] = sampled(x[n], axes)
        return y.astype(x.dtype)


class AffineGrid(Corrected):
    def compute(self, attributes, theta, size):
        corners = attributes.get("align_corners", 0)
        axes = [np.linspace(-1, 1, n) if corners else (2 * np.arange(n) + 1) / n - 1 for n in size[2:]]
        points = np.stack([*np.meshgrid(*axes, indexing="ij")[::-1], np.ones(size[2:])], axis=-1)
        return np.einsum("...j,nij->n...i", points, theta)


class DeformConv(Corrected):
    def compute(self, attributes, x, w, offset, b=None, mask=None):
        n, channels, *_ = x.shape
        kernel, out = w.shape[2:], offset.shape[2:]
        rank, count = len(kernel), math.prod(kernel)
        strides, dilations = (attributes.get(name, [1] * rank) for name in ("strides", "dilations"))
        pads = attributes.get("pads", [0] * 2 * rank)
        group, sets = attributes.get("group", 1), attributes.get("offset_group", 1)
        mask = np.ones((n, sets * count, *out)) if mask is None else mask
        y = np.zeros((n, w.shape[0], *out))
        for i, s, (k, taps), p in itertools.product(
            range(n), range(sets), enumerate(np.ndindex(*kernel)), np.ndindex(*out)
        ):
            first = (s * count + k) * rank
            axes = []
            for axis in range(rank):
                place = p[axis] * strides[axis] - pads[axis] + taps[axis] * dilations[axis]
                axes.append(axis_weights(place + offset[(i, first + axis, *p)], x.shape[2 + axis]))
            part = slice(s * channels // sets, (s + 1) * channels // sets)
            column = np.zeros(channels)
            column[part] = sampled(x[i, part], axes) * mask[(i, s * count + k, *p)]
            columns = np.repeat(column.reshape(group, -1), w.shape[0] // group, axis=0)
            y[(i, slice(None), *p)] += (w[(slice(None), slice(None), *taps)] * columns).sum(axis=1)
        return y if b is None else y + b.reshape(-1, *[1] * rank)


class MaxRoiPool(Corrected):
    """As ONNX Runtime has it: regions rounded half away from zero, their last element included, empty bins 0."""

    def compute(self, attributes, x, rois):
        bins, scale = attributes["pooled_shape"], np.float32(attributes.get("spatial_scale", 1.0))
        y = np.zeros((len(rois), x.shape[1], *bins), x.dtype)
        for r, *where in np.ndindex(len(rois), *bins):
            region = [
                int(math.copysign(math.floor(abs(v) + 0.5), v)) for v in np.float32(rois[r, 1:]) * scale
            ]
            cut = []
            for axis, size in enumerate(x.shape[2:]):
                start, end = region[1 - axis], region[3 - axis]
                width = np.float32(max(end - start + 1, 1)) / np.float32(bins[axis])
                edges = (math.floor(where[axis] * width), math.ceil((where[axis] + 1) * width))
                cut.append(slice(*(min(max(start + edge, 0), size) for edge in edges)))
            part = x[(int(rois[r, 0]), slice(None), *cut)]
            if part.size:
                y[(r, slice(None), *where)] = part.max(axis=(1, 2))
        return y


SAMPLING_OPS = [GridSample, AffineGrid, DeformConv, MaxRoiPool]
