"""Transposed convolutions whose kernels leave gaps have zeros there, as in Keras: tf2onnx writes negative pads."""

import numpy as np
import pytest
from support.small_models import build, node

pytest.importorskip("tensorflow")
from onnxattr.converters.keras.transposed_pads import fill_gaps

from onnxattr import GradientInput


@pytest.mark.parametrize("pads", [[0, 0, -1, -2], [-1, 0, 0, -2], [0, 1, -1, 0]])
def test_gaps(pads):
    """Of one pixel comes a kernel (2, 2) on axes of 2 - pads: zeros behind it, or its start cut off."""
    kernel = np.arange(1, 5, dtype=np.float32).reshape(1, 1, 2, 2)
    sizes = [2 - pads[axis] - pads[axis + 2] for axis in range(2)]
    upper = node("ConvTranspose", ["x", "k"], ["t"], strides=[3, 4], pads=pads, kernel_shape=[2, 2])
    model = build(
        [upper, node("Flatten", ["t"], ["y"])],
        {"x": ["N", 1, 1, 1]}, {"y": ["N", sizes[0] * sizes[1]]}, {"k": kernel},
    )  # fmt: skip
    fill_gaps(model)
    whole = np.zeros((4, 5), np.float32)
    whole[:2, :2] = kernel[0, 0]
    starts = [max(pads[axis], 0) for axis in range(2)]
    expected = whole[starts[0] : starts[0] + sizes[0], starts[1] : starts[1] + sizes[1]].reshape(-1)
    method, x = GradientInput(model, reducer=None), np.full((1, 1, 1, 1), 2, np.float32)
    np.testing.assert_array_equal(method.predict(x)[0], 2 * expected)
    for place, slope in enumerate(expected):
        assert method.explain(x, [place]).item() == 2 * slope
