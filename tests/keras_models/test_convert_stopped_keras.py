"""Keras models whose own gradient is not that of what they compute: the converter compares, and says so."""

import re
import warnings

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
import keras  # noqa: E402
from keras import layers, ops  # noqa: E402
from onnxattr.converters.keras import to_onnx  # noqa: E402

from onnxattr import GradientInput  # noqa: E402


@tf.custom_gradient
def reversed_gradient(x):
    return tf.identity(x), lambda ct: -ct


def beside(x):
    ops.stop_gradient(x)
    return ops.relu(x)


def greedy(x):
    """The score of the likeliest text of two steps."""
    steps = tf.stack([x, x * x])
    return tf.nn.ctc_greedy_decoder(steps, tf.fill([tf.shape(x)[0]], 2))[1]


def entropy(x, labels):
    return tf.nn.softmax_cross_entropy_with_logits(tf.zeros_like(x) + labels, x)[:, None]


def updated(x, columns):
    columns = [[column] for column in columns]
    return ops.transpose(ops.scatter_update(ops.transpose(x), columns, ops.transpose(x * x)[:3]))


class Between(layers.Layer):
    """A function as a layer."""

    def __init__(self, function):
        super().__init__(name="between")
        self._function = function

    def call(self, x):
        return self._function(x)


#: What lies between two layers, by name, and what is said of it; None where the gradients are the same.
CASES = {
    "straight through": (lambda x: x + ops.stop_gradient(ops.round(x) - x), "by 1 of the largest"),
    "gated": (lambda x: x * ops.stop_gradient(ops.sigmoid(x)), r"by 0\.\d+ of the largest"),
    "reversed": (reversed_gradient, "by 2 of the largest"),
    "read from texts": (greedy, r"by 1 of the largest"),
    "colours": (lambda x: tf.image.hsv_to_rgb(tf.sigmoid(x[:, :3])), "by 1 of the largest"),
    "one of a number and 0": (
        lambda x: x * tf.one_hot(1, 5, tf.reduce_max(x), 0.0),
        r"by [01]\.?\d* of the largest",
    ),
    "several classes": (lambda x: entropy(x, [1.0, 0, 1, 0, 0]), r"by 0\.\d+ of the largest"),
    "two updates of one place": (lambda x: updated(x, [1, 1, 2]), r"by [01]\.?\d* of the largest"),
    "updates of three places": (lambda x: updated(x, [1, 0, 2]), None),
    "one class": (lambda x: entropy(x, [0.0, 0, 1, 0, 0]), None),
    "one of two constants": (lambda x: x * tf.one_hot(1, 5), None),
    "noted beside": (beside, None),
    "swish": (tf.nn.silu, None),
    "variance": (lambda x: x - tf.nn.moments(x, [1], keepdims=True)[1], None),
}


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_of_the_file_is_compared(case):
    between, said = CASES[case]
    keras.utils.set_random_seed(0)
    given = keras.Input((4,))
    model = keras.Model(given, layers.Dense(3)(Between(between)(layers.Dense(5)(given))))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        converted = to_onnx(model)
    caught = [w for w in caught if "ONNX has no sign" in str(w.message)]
    told = [str(w.message) for w in caught]
    assert {w.filename for w in caught} <= {__file__}  # the line that called the converter
    assert len(told) == (said is not None)
    assert said is None or re.search(f"layer 'between'.*TensorFlow's {said}", told[0])
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    leaf = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(leaf)
        score = model(leaf)[:, 1]
    theirs = tape.gradient(score, leaf, unconnected_gradients="zero").numpy() * x
    ours = GradientInput(converted).explain(x, np.eye(3, dtype=np.float32)[[1, 1, 1]])
    assert (np.abs(ours - theirs).max() < 1e-5 * np.abs(ours).max()) == (said is None)


def test_functions_of_a_saved_model_are_looked_at(tmp_path):
    given = keras.Input((4,))
    model = keras.Model(given, layers.Dense(3)(Between(CASES["straight through"][0])(layers.Dense(5)(given))))
    model.export(tmp_path / "saved", verbose=False)
    with pytest.warns(UserWarning, match="stops gradients, or has its own, at .*by 1 of the largest"):
        to_onnx(tmp_path / "saved")


def test_layers_in_8_bits_are_explained_straight_through():
    """Keras' own gradient takes the scale that it measures for a constant; the file's sees the rounding errors."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((32,)), layers.Dense(24), layers.Dense(3)])
    model.quantize("int8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converted = to_onnx(model)
    x = np.random.default_rng(0).normal(size=(4, 32)).astype(np.float32)
    leaf = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(leaf)
        score = tf.reduce_sum(model(leaf)[:, 1])
    expected = np.asarray(tape.gradient(score, leaf)) * x
    found = GradientInput(converted).explain(x, [1] * 4)
    np.testing.assert_allclose(found, expected, atol=0.03 * np.abs(expected).max())
