"""The gamma function's logarithm and derivative in Keras models, beside TensorFlow in float64."""

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


def negative_binomial(z):
    """The logarithm of its probabilities of 3, up to what the parameter z does not change."""
    return math.lgamma(z + 3) - math.lgamma(z) - 3 * math.log(z + 1)


FUNCTIONS = {
    "lgamma": math.lgamma,
    "digamma": math.digamma,
    "lbeta": lambda z: math.lbeta(z)[:, None],
    "negative binomial": negative_binomial,
}
ROWS = {
    "small": lambda rng: rng.uniform(0.01, 4, (3, 20)),
    "large": lambda rng: np.exp(rng.uniform(-3, 8, (3, 20))),
    "beside the zeros of lgamma": lambda rng: rng.choice([1, 2], (3, 20)) + rng.normal(size=(3, 20)) / 1000,
    "negative": lambda rng: np.floor(rng.uniform(-6, 6, (3, 20))) + rng.uniform(0.1, 0.9, (3, 20)),
}
CASES = [
    *((name, rows) for name in ("lgamma", "digamma") for rows in ROWS),
    ("lbeta", "small"),
    ("negative binomial", "small"),
]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_function(name, kind):
    x = keras.Input((20,))
    model = keras.Model(x, L.Lambda(FUNCTIONS[name])(x))
    rows = ROWS[kind](np.random.default_rng(0)).astype(np.float32)
    outputs, weights, expected = taped(FUNCTIONS[name], rows.astype(np.float64))
    converted = to_onnx(model)
    np.testing.assert_allclose(run(converted, rows)[0], outputs, atol=1e-6 * np.abs(outputs).max())
    maps = GradientInput(converted, reducer=None)(rows, weights.astype(np.float32))
    np.testing.assert_allclose(maps, expected, atol=1e-6 * np.abs(expected).max())


def test_poles():
    x = keras.Input((4,))
    row = np.array([[0, -1, -3, 2]], np.float32)
    converted = to_onnx(keras.Model(x, L.Lambda(math.lgamma)(x)))
    np.testing.assert_allclose(run(converted, row)[0], [[np.inf, np.inf, np.inf, 0]], atol=1e-12)
