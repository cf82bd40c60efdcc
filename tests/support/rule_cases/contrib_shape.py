"""Rows of the older com.microsoft operators: shapes, crops, matrices."""

import functools

import numpy as np

from support.rule_cases import at, const, feed, microsoft, w, x

FIXED = {"dynamic": False}
#: One crop inside, one over the edge, one turned round.
BOXES = at([[0.13, 0.22, 0.81, 0.93], [-0.11, 0.04, 0.98, 1.17], [0.87, 0.79, 0.09, 0.17]])
IMAGES = feed([1, 0, 1], np.int32)
crop = functools.partial(
    microsoft, "CropAndResize", x(2, 3, 5, 6), BOXES, IMAGES, extrapolation_value=0.7, **FIXED
)
transposed = functools.partial(microsoft, "ConvTransposeWithDynamicPads", x(1, 2, 4, 4), w(2, 3, 3, 3))
#: Its first pivot is 0.
MATRIX = at(
    [
        [[0.0, 1.0, 2.0], [3.0, 0.5, 1.0], [1.0, 1.5, -0.5]],
        [[2.0, 0.3, 0.1], [0.2, 1.5, 0.4], [0.3, 0.1, 1.0]],
    ]
)

CASES = [
    microsoft("Pad", x(2, 3), const([[0, 1, 1, 0]]), w(1)),
    microsoft("Pad", x(2, 4), const([1, 2, 0, 1]), mode="reflect", **FIXED),
    microsoft("Pad", x(2, 4), const([1, 2, 0, 1]), mode="edge"),
    microsoft("Pad", x(2, 4), const([1, 2, 0, 1]), w(1), mode="edge"),
    microsoft("Pad", x(2, 4), const([1, 2, 0, 1]), mode="wrap", opset=19, **FIXED),
    microsoft("GatherND", x(2, 3, 4), feed([[0, 1], [1, -1]], np.int32)),
    microsoft("ExpandDims", x(2, 3), const([-2], np.int32)),
    microsoft("Range", x(low=-0.2, high=0.2), w(low=3.1, high=3.2), x(low=0.9, high=1.0)),
    microsoft("Unique", x(6), outputs="fii"),
    microsoft("UnfoldTensor", x(2, 7), size=3, step=2),
    microsoft("UnfoldTensor", x(2, 7, 3), size=3, step=2, dim=1),
    microsoft("Inverse", MATRIX, **FIXED),
    transposed(feed([1, 0, 0, 1]), strides=[2, 2]),
    transposed(const([1, 1, 0, 1]), w(3), strides=[2, 1], output_padding=[1, 0], dilations=[1, 2]),
    crop(const([3, 4], np.int32)),
    crop(const([1, 5], np.int32), mode="nearest"),
]
