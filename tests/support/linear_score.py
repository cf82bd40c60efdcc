"""A linear model, of which metrics have closed forms, and its inputs."""

import numpy as np

from onnxattr.attributions import SmoothGrad
from support.small_models import build, node

W = np.random.default_rng(7).normal(size=(6, 1)).astype(np.float32)
X = np.random.default_rng(8).normal(size=(4, 6)).astype(np.float32)
ONES = np.ones((4, 1), np.float32)
LINEAR = build([node("MatMul", ["x", "w"], ["y"])], {"x": ["N", 6]}, {"y": ["N", 1]}, {"w": W})
#: What each feature adds to the score above a baseline of 0, and of 0.5.
PARTS, ABOVE = X * W[:, 0], (X - 0.5) * W[:, 0]


def gradient(model, **options):
    """The plain gradient."""
    return SmoothGrad(model, noise=0.0, reducer=None, **options)
