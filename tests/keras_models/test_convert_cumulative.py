"""Keras models with products and logarithms of sums up to each element, beside a TensorFlow tape."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")

from onnxattr.converters.keras import to_onnx  # noqa: E402
from support.converted import run  # noqa: E402
from support.taped import taped  # noqa: E402

from onnxattr import GradientInput  # noqa: E402

L, math = keras.layers, tf.math
pytestmark = pytest.mark.usefixtures("fresh_keras")

#: The last rows: zeros, of which a product has several; equal numbers; numbers far apart.
ROWS = np.concatenate(
    [
        np.random.default_rng(0).normal(size=(4, 5)),
        [[0, 1, 2, 0, 3], [2, 2, 2, 2, 2], [-90, 80, 0, 90, -80]],
    ]
).astype(np.float32)
FUNCTIONS = {
    "product": lambda z: math.cumprod(z, axis=-1),
    "product before each": lambda z: math.cumprod(z, axis=1, exclusive=True),
    "product from the end": lambda z: math.cumprod(z, axis=-1, reverse=True),
    "product after each": lambda z: math.cumprod(z, axis=-1, exclusive=True, reverse=True),
    "product along an axis between": lambda z: math.cumprod(tf.stack([z, z + 1, z * z], 1), axis=1),
    "keras.ops.cumprod": lambda z: keras.ops.cumprod(z, axis=1),
    "stick breaking": lambda z: tf.sigmoid(z) * math.cumprod(1 - tf.sigmoid(z), axis=-1, exclusive=True),
    "logarithm": lambda z: math.cumulative_logsumexp(z, axis=-1),
    "logarithm from the end": lambda z: math.cumulative_logsumexp(z, axis=-1, reverse=True),
    "logarithm before each": lambda z: math.cumulative_logsumexp(z, axis=-1, exclusive=True)[:, 1:],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_beside_tensorflow(name):
    function = FUNCTIONS[name]
    outputs, weights, expected = taped(function, ROWS.astype(np.float64))
    x = keras.Input((ROWS.shape[1],))
    converted = to_onnx(keras.Model(x, L.Lambda(function)(x)))
    np.testing.assert_allclose(run(converted, ROWS)[0], outputs, rtol=1e-5, atol=1e-6)
    maps = GradientInput(converted, reducer=None)(ROWS, weights.astype(np.float32))
    np.testing.assert_allclose(maps, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("dtype", ["float16", "int32"])
def test_other_types(dtype):
    data = np.array([[1, 2, 3, 4]], dtype)
    x = keras.Input((4,), dtype=dtype)
    converted = to_onnx(keras.Model(x, L.Lambda(lambda z: math.cumprod(z, axis=-1), dtype=dtype)(x)))
    np.testing.assert_array_equal(run(converted, data)[0], [[1, 2, 6, 24]])
