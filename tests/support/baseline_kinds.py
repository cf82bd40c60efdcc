"""Baselines of each kind by their definitions."""

import numpy as np
from scipy.ndimage import gaussian_filter

from onnxattr import IntegratedGradients
from support.small_models import elementwise, rows

SIGMA = 1.5
IMAGE, SERIES, TABLE = (5, 6, 3), (7, 2), (6,)
X = {shape: rows(3, *shape).astype(np.float64) for shape in (IMAGE, SERIES, TABLE)}
OTHER = {shape: rows(4, *shape) for shape in X}
SPACE = {IMAGE: (1, 2), SERIES: (1,), TABLE: (1,)}


def blurred(x, sigma=SIGMA):
    space = SPACE[x.shape[1:]]
    return gaussian_filter(x, [sigma if axis in space else 0 for axis in range(x.ndim)])


def cubic(x, b):
    """f = x^3: with two points Integrated Gradients is (x - b) (3 x^2 + 3 b^2) / 2."""
    return (x - b) * 1.5 * (x**2 + b**2)


def make(shape, **options):
    return IntegratedGradients(elementwise(shape), steps=2, reducer=None, sigma=SIGMA, **options)


def close(found, expected, tolerance=3e-6):
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())
