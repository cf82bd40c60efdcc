"""The first winner of each window of a max-pool, in row-major order, over many layouts of windows and many ties."""

import itertools

import numpy as np
import pytest
from support.gradient_graphs import run
from support.small_models import build, node

from onnxattr.compile.gradient import vjp

#: Kernel, strides, dilations, pads, height and width, ceil_mode.
LAYOUTS = [
    ((2, 2), (2, 2), (1, 1), (0, 0, 0, 0), (6, 6), 0),
    ((2, 2), (2, 2), (1, 1), (0, 0, 0, 0), (7, 5), 0),
    ((2, 3), (2, 3), (1, 1), (0, 0, 0, 0), (5, 8), 0),
    ((3, 2), (3, 2), (1, 1), (0, 0, 0, 0), (6, 4), 1),
    ((2, 2), (2, 2), (1, 1), (0, 0, 0, 0), (5, 5), 1),
    ((2, 2), (2, 2), (1, 1), (1, 1, 0, 0), (5, 5), 0),
    ((2, 2), (2, 2), (2, 1), (0, 0, 0, 0), (7, 6), 0),
    ((3, 3), (2, 2), (1, 1), (1, 1, 1, 1), (7, 8), 0),
    ((3, 3), (2, 2), (1, 1), (0, 0, 1, 1), (8, 8), 0),
    ((3, 3), (2, 2), (1, 1), (1, 1, 1, 1), (6, 6), 1),
    ((5, 5), (2, 3), (1, 1), (2, 2, 2, 2), (6, 7), 0),
    ((3, 3), (1, 1), (1, 1), (1, 1, 1, 1), (5, 6), 0),
    ((2, 3), (1, 2), (2, 1), (1, 0, 0, 2), (6, 6), 0),
    ((3, 3), (2, 2), (1, 1), (1, 1, 1, 1), (1, 2), 0),
    ((2, 2), (3, 3), (1, 1), (0, 0, 0, 0), (7, 8), 0),
    # One window past the end, as ONNX Runtime counts.
    ((3, 3), (3, 3), (1, 1), (0, 0, 0, 0), (6, 2), 0),
    ((1, 3), (1, 1), (1, 1), (0, 1, 0, 1), (1, 9), 0),
    ((1, 4), (1, 3), (1, 1), (0, 2, 0, 3), (2, 10), 1),
    ((4, 1), (2, 1), (2, 1), (3, 0, 3, 0), (9, 3), 0),
    ((3, 1), (2, 2), (1, 1), (1, 0, 1, 0), (8, 6), 0),
    ((2, 3), (2, 3), (3, 2), (1, 2, 1, 2), (11, 10), 0),
]


def expected(x, ct, kernel_shape, strides, dilations, pads):
    """Each cotangent at the first position of its window that holds the largest element."""
    result = np.zeros_like(x)
    for index in np.ndindex(ct.shape):
        places = []
        for offsets in itertools.product(*map(range, kernel_shape)):
            place = [
                o * s - p + i * d
                for o, s, p, i, d in zip(index[2:], strides, pads, offsets, dilations, strict=False)
            ]
            if all(0 <= p < size for p, size in zip(place, x.shape[2:], strict=True)):
                places.append((*index[:2], *place))
        result[max(places, key=lambda place: x[place])] += ct[index]
    return result


@pytest.mark.parametrize("channels", [3, 16], ids=["few channels", "a block of channels"])
@pytest.mark.parametrize("sizes_known", [True, False], ids=["static", "dynamic"])
@pytest.mark.parametrize(("kernel", "strides", "dilations", "pads", "size", "ceil"), LAYOUTS)
def test_first_winner(kernel, strides, dilations, pads, size, ceil, sizes_known, channels):
    settings = {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "pads": pads}
    x = np.random.default_rng(0).integers(-2, 2, (2, channels, *size)).astype(np.float32)
    shape = ["N", channels, *size] if sizes_known else ["N", channels, "H", "W"]
    pool = node("MaxPool", ["x"], ["y"], ceil_mode=ceil, **settings)
    model = build([pool], {"x": shape}, {"y": ["N", channels, None, None]})
    y = run(model, {"x": x})["y"]
    ct = np.random.default_rng(1).integers(-9, 9, y.shape).astype(np.float32)
    found = run(vjp(model), {"x": x, "y_cotangent": ct})["x_gradient"]
    np.testing.assert_array_equal(found, expected(x, ct, **settings))
