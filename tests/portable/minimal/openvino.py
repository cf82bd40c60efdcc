"""Minimal files for OpenVINO."""

import numpy as np
from support.small_models import build, node

#: On both sides of the step.
SIGNS = np.float32([[-3, -1e-3, 0, 1e-3, 0.5, 3]])


def hard_sigmoid():
    """The step at 0 as HardSigmoid with beta = 0."""
    model = build([node("HardSigmoid", ["x"], ["y"], alpha=2.0**126, beta=0.0)], {"x": [1, 6]}, {"y": [1, 6]})
    return model, {"x": SIGNS}


def shared_kernel():
    """A convolution and a transposed one with one kernel, 32 channels each."""
    rng = np.random.default_rng(0)
    settings = {"strides": [2, 2], "pads": [1, 1, 1, 1]}
    nodes = [
        node("Conv", ["x", "w"], ["c"], **settings),
        node("ConvTranspose", ["u", "w"], ["y"], **settings),
    ]
    feeds = {
        name: rng.standard_normal((2, 32, size, size)).astype(np.float32)
        for name, size in (("x", 15), ("u", 8))
    }
    kernel = rng.standard_normal((32, 32, 3, 3)).astype(np.float32)
    shapes = {name: ["N", *array.shape[1:]] for name, array in feeds.items()}
    return build(nodes, shapes, {"c": ["N", 32, 8, 8], "y": ["N", 32, 15, 15]}, {"w": kernel}), feeds


MINIMAL = {"hard_sigmoid": hard_sigmoid, "shared_kernel": shared_kernel}
