"""GridSample's slopes exactly at elements and at the image's ends, where it has a kink."""

import numpy as np
import onnxruntime
import pytest
from support.small_models import build, node

from onnxattr.compile.gradient import vjp

IMAGE = [1, 2, 4, 8, 16]
#: The elements themselves, and beyond both ends.
POSITIONS = [-1, -0.5, 0, 0.5, 1, 1.5, -1.5]
#: What torch.nn.functional.grid_sample of PyTorch 2.13 gives, with align_corners=True. The last two of "reflection"
#: are left out: there PyTorch takes the slope to the left, which is the one to the right after folding.
SLOPES = {
    ("zeros", "bilinear"): [2, 4, 8, 16, -32, 0, 2],
    ("zeros", "bicubic"): [3, 4.5, 9, 18, -12, -24, 1.5],
    ("border", "bilinear"): [0, 4, 8, 16, 0, 0, 0],
    ("border", "bicubic"): [1.5, 4.5, 9, 18, 12, 0, 0],
    ("reflection", "bilinear"): [0, 4, 8, 16, 0],
    ("reflection", "bicubic"): [0, 4.5, 9, 18, 0, -18, -4.5],
    ("zeros", "nearest"): [0] * 7,
}


@pytest.mark.parametrize(("padding", "mode"), SLOPES)
def test_slopes_are_those_of_pytorch(padding, mode):
    expected = SLOPES[padding, mode]
    grid = np.zeros((1, 1, len(expected), 2), np.float32)
    grid[..., 0] = POSITIONS[: len(expected)]
    sample = node("GridSample", ["x", "grid"], ["y"], mode=mode, padding_mode=padding, align_corners=1)
    model = build([sample], {"x": [1, 1, 1, 5], "grid": list(grid.shape)}, {"y": [1, 1, 1, len(expected)]})
    session = onnxruntime.InferenceSession(
        vjp(model, "grid").SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feeds = {"x": np.array(IMAGE, np.float32).reshape(1, 1, 1, 5), "grid": grid}
    feeds["y_cotangent"] = np.ones((1, 1, 1, len(expected)), np.float32)
    (found,) = session.run(["grid_gradient"], feeds)
    np.testing.assert_allclose(found[0, 0, :, 0], expected, atol=1e-5)
    np.testing.assert_array_equal(found[..., 1], 0)
