"""The modified Bessel functions of the first kind in Keras models, beside TensorFlow in float64."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")

from onnxattr.converters.keras import to_onnx  # noqa: E402
from support.converted import run  # noqa: E402
from support.taped import taped  # noqa: E402

from onnxattr import GradientInput  # noqa: E402

L = keras.layers
pytestmark = pytest.mark.usefixtures("fresh_keras")
FUNCTIONS = {
    "i0": tf.math.bessel_i0,
    "i0e": tf.math.bessel_i0e,
    "i1": tf.math.bessel_i1,
    "i1e": tf.math.bessel_i1e,
    "mean direction": lambda x: tf.math.bessel_i1e(x) / tf.math.bessel_i0e(x),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name):
    """On both sides of 20, where one series takes over from the other."""
    x = keras.Input((4,))
    model = keras.Model(x, L.Lambda(FUNCTIONS[name])(x))
    rows = np.array([[0.001, -0.1, 0.5, -5], [19.999, 20, -20, -20.001], [35, -60, 80, 1]], np.float32)
    converted = to_onnx(model)
    for row in rows:
        outputs, weights, expected = taped(FUNCTIONS[name], row[None].astype(np.float64))
        np.testing.assert_allclose(run(converted, row[None])[0], outputs, rtol=1e-6)
        maps = GradientInput(converted, reducer=None)(row[None], weights.astype(np.float32))
        np.testing.assert_allclose(maps, expected, atol=2e-6 * np.abs(expected).max())


def test_slope_at_zero():
    """I_1(x) is about x / 2 there."""
    x = keras.Input((1,))
    converted = to_onnx(keras.Model(x, L.Lambda(tf.math.bessel_i1)(x)))
    row, ones = np.array([[1e-30]], np.float32), np.ones((1, 1), np.float32)
    np.testing.assert_allclose(GradientInput(converted, reducer=None)(row, ones), 0.5 * row, rtol=1e-6)
