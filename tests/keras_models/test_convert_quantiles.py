"""Quantiles of the normal distribution in Keras models, beside TensorFlow in float64."""

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
FUNCTIONS = {
    "ndtri": math.ndtri,
    "erfinv": math.erfinv,
    "ops.erfinv": keras.ops.erfinv,
    "erfcinv": math.erfcinv,
}
#: Probabilities: in the middle and in both tails, on both sides of where the tails begin, tiny ones.
ROWS = {
    "middle": np.linspace(0.01, 0.99, 40),
    "tails": np.concatenate([10.0 ** -np.arange(1, 6), 1 - 10.0 ** -np.arange(1, 6)]),
    "between": np.exp(-2) + np.linspace(-1e-3, 1e-3, 8),
    "tiny": 10.0 ** -np.arange(6, 37, 3),
}
CASES = [
    *((name, rows) for name in FUNCTIONS for rows in ("middle", "tails", "between")),
    ("ndtri", "tiny"),
]


def model_of(function, size):
    x = keras.Input((size,))
    return keras.Model(x, L.Lambda(function)(x))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_function(name, kind):
    rows = ROWS[kind][None].astype(np.float32)
    if "erfinv" in name:
        rows = 2 * rows - 1
    outputs, weights, expected = taped(FUNCTIONS[name], rows.astype(np.float64))
    converted = to_onnx(model_of(FUNCTIONS[name], rows.shape[1]), sample=rows)
    tolerance = 1e-5 if name == "erfcinv" else 1e-6  # which TensorFlow makes of ndtri(x / 2), in float32
    np.testing.assert_allclose(run(converted, rows)[0], outputs, atol=tolerance * np.abs(outputs).max())
    maps = GradientInput(converted, reducer=None)(rows, weights.astype(np.float32))
    np.testing.assert_allclose(maps, expected, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_ends(name):
    row = np.array([[-2, -1, 0, 1, 2, 3]], np.float32)
    model = model_of(FUNCTIONS[name], 6)
    np.testing.assert_allclose(run(to_onnx(model), row)[0], np.asarray(model(row)), atol=1e-6)
