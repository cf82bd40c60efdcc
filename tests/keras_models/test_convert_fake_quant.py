"""Numbers rounded to few bits, as training for quantised inference has them, beside TensorFlow."""

import warnings

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")

from onnxattr.converters.common.verify import Session  # noqa: E402
from onnxattr.converters.keras import to_onnx  # noqa: E402
from support.converted import run  # noqa: E402
from support.taped import taped  # noqa: E402

from onnxattr import GradientInput  # noqa: E402
from onnxattr.errors import ConversionError  # noqa: E402

L, q = keras.layers, tf.quantization
pytestmark = pytest.mark.usefixtures("fresh_keras")
LOW, HIGH = np.float32([-1, -0.6, 0.1, -2]), np.float32([1.5, 0.4, 0.9, -0.3])


def by_channel(x, low=LOW, high=HIGH, **keywords):
    return q.fake_quant_with_min_max_vars_per_channel(x, low, high, **keywords)


#: Of values (rows, 5, 6, 4): as tf2onnx has it; ranges without 0, of fewer bits or without the lowest number; with
#: channels, also behind layers along which tf2onnx moves the roundings.
ROUNDINGS = {
    "8 bits": lambda x: q.fake_quant_with_min_max_args(x, -1.37, 2.2),
    "above 0": lambda x: q.fake_quant_with_min_max_args(x, 0.2, 1.1),
    "below 0": lambda x: q.fake_quant_with_min_max_vars(x, -1.1, -0.2),
    "narrow": lambda x: q.fake_quant_with_min_max_vars(x, -1.0, 2.0, narrow_range=True),
    "4 bits": lambda x: q.fake_quant_with_min_max_args(x, -1.0, 2.0, num_bits=4),
    "2 bits, narrow": lambda x: q.fake_quant_with_min_max_vars(
        x, -1.0, 2.0, num_bits=2, narrow_range=True
    ),
    "channels": by_channel,
    "channels, narrow": lambda x: by_channel(x, num_bits=4, narrow_range=True),
    "channels, flattened": lambda x: tf.reshape(by_channel(x), (-1, 120)) ** 2,
    "channels, moved": lambda x: tf.transpose(by_channel(tf.tanh(x)), (0, 3, 1, 2)) ** 2,
    "channels, pooled": lambda x: tf.nn.max_pool2d(by_channel(x), 2, 2, "VALID"),
    "channels, padded": lambda x: tf.pad(by_channel(x), [[0, 0], [1, 1], [0, 2], [0, 0]]),
}  # fmt: skip


@pytest.mark.parametrize("name", ROUNDINGS)
def test_rounding(name):
    x = keras.Input((5, 6, 4))
    model = keras.Model(x, L.Lambda(ROUNDINGS[name])(x))
    rows = np.random.default_rng(0).normal(size=(3, 5, 6, 4)).astype(np.float32)
    outputs, weights, expected = taped(ROUNDINGS[name], rows)
    assert 0 < np.count_nonzero(expected) < expected.size  # inside and outside the ranges
    converted = to_onnx(model, sample=rows)
    np.testing.assert_allclose(run(converted, rows)[0], outputs, atol=1e-6)
    maps = GradientInput(converted, reducer=None)(rows, weights)
    np.testing.assert_allclose(maps, expected, atol=1e-6 * np.abs(expected).max())


class Rounded(L.Layer):
    """A dense layer of rounded weights, as tfmot wraps one."""

    def __init__(self, size):
        super().__init__()
        self.size = size

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.size))
        self.bias = self.add_weight(shape=(self.size,), initializer="normal")

    def call(self, x):
        weights = q.fake_quant_with_min_max_args(self.kernel, -1.0, 1.0, narrow_range=True)
        return tf.nn.bias_add(tf.matmul(x, weights), self.bias)


@pytest.mark.parametrize("verify", [True, False])
def test_products_that_the_runtime_computes_in_integers(verify):
    """They are off by a step of the output's scale, 2 / 255 * 2."""
    keras.utils.set_random_seed(0)
    rounded = L.Lambda(lambda x: q.fake_quant_with_min_max_args(x, -2.0, 2.0))
    x = keras.Input((8,))
    model = keras.Model(x, rounded(Rounded(3)(rounded(Rounded(4)(rounded(x))))))
    rows = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
    with warnings.catch_warnings(record=True) as said:
        converted = to_onnx(model, sample=rows, verify=verify)
    assert [w.filename for w in said if "off by up to 0.016" in str(w.message)] == [__file__] * verify
    expected = model.predict(rows, verbose=0)
    session = Session(converted, in_reals=True)
    np.testing.assert_allclose(session.run({converted.graph.input[0].name: rows})[0], expected, atol=1e-6)
    assert np.abs(run(converted, rows)[0] - expected).max() == pytest.approx(4 / 255 * 2, rel=1e-3)


def test_a_range_that_was_never_found():
    x = keras.Input((4,))
    model = keras.Model(x, L.Lambda(lambda x: q.fake_quant_with_min_max_vars(x, 0.0, 0.0), name="q")(x))
    with pytest.raises(ConversionError, match=r"q.*between 0 and 0, which is no range.*Fit it"):
        to_onnx(model)
