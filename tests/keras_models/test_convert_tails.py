"""Keras models with the complementary error function or cross-entropies, beside TensorFlow in float64 in the tails."""

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


def below(z):
    """The probability that a normal number is below z."""
    return 0.5 * math.erfc(-z * np.sqrt(0.5))


#: Function -> the largest number whose erfc is no denormal number of float32.
FUNCTIONS = {
    "erfc": (math.erfc, 8.5),
    "log(erfc)": (lambda z: math.log(math.erfc(z)), 8.5),
    "log of a probability": (lambda z: math.log(below(z)), 12),
    "log of a mixture": (lambda z: math.log(tf.sigmoid(z) * below(z) + tf.sigmoid(-z) * below(z / 2)), 12),
    "hazard": (lambda z: tf.exp(-z * z / 2) / below(-z), 12),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_number_of_the_tails(name):
    function, end = FUNCTIONS[name]
    rows = np.concatenate([np.linspace(-end, end, 69), np.linspace(-0.71, 0.71, 9)])[None].astype(np.float32)
    outputs, weights, expected = taped(function, rows.astype(np.float64))
    x = keras.Input((rows.shape[1],))
    converted = to_onnx(keras.Model(x, L.Lambda(function)(x)))
    np.testing.assert_allclose(run(converted, rows)[0], outputs, rtol=1e-5, atol=1e-7 * ("log" in name))
    maps = GradientInput(converted, reducer=None)(rows, weights.astype(np.float32))
    np.testing.assert_allclose(maps, expected, rtol=3e-5, atol=2e-6)


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4)])
def test_unlikely_classes(shape):
    """The entropy of a class whose probability is rounded to 0."""

    def entropy(z):
        labels = keras.ops.argmax(z, axis=-1) * 0 + 1
        return keras.losses.sparse_categorical_crossentropy(labels, z, from_logits=True)

    rows = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    rows[..., 1] -= 150
    outputs, weights, expected = taped(entropy, rows.astype(np.float64))
    x = keras.Input(shape[1:])
    converted = to_onnx(keras.Model(x, L.Lambda(entropy)(x)))
    np.testing.assert_allclose(run(converted, rows)[0], outputs, rtol=1e-6)
    explainer = GradientInput(converted, reducer=None)
    np.testing.assert_allclose(explainer(rows, weights.astype(np.float32)), expected, rtol=3e-5, atol=2e-6)


def test_ends():
    row = np.array([[-np.inf, -30, 30, np.inf]], np.float32)
    x = keras.Input((4,))
    converted = to_onnx(keras.Model(x, L.Lambda(math.erfc)(x)))
    np.testing.assert_array_equal(run(converted, row)[0], [[2, 2, 0, 0]])


def test_a_gelu_is_computed_in_its_own_type():
    x = keras.Input((4,))
    converted = to_onnx(keras.Model(x, L.Lambda(lambda z: tf.nn.gelu(z))(L.Dense(3)(x))))
    assert {"Erf"} <= {node.op_type for node in converted.graph.node}.difference({"Cast"})
    assert not [node for node in converted.graph.node if node.op_type == "Cast"]
