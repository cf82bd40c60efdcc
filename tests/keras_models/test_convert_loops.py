"""Scans, loops and branches of TensorFlow and of `keras.ops` in Keras models, beside TensorFlow."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")

from onnxattr.converters.keras import to_onnx  # noqa: E402
from support.converted import run  # noqa: E402
from support.taped import taped  # noqa: E402

from onnxattr import GradientInput  # noqa: E402
from onnxattr.errors import ConversionError  # noqa: E402

L, ops = keras.layers, keras.ops
pytestmark = pytest.mark.usefixtures("fresh_keras")


def step(carry, x):
    carry = ops.tanh(0.5 * carry + x)
    return carry, carry * x


def steps(carry, x):
    first, second = ops.tanh(carry[0] + x["a"]), 0.9 * carry[1] + x["b"]
    return (first, second), (first * second, second)


def scanned_structures(x):
    zeros = ops.zeros_like(x[:, 0])
    carry, found = ops.scan(steps, (zeros, zeros), {"a": ops.transpose(x), "b": ops.transpose(ops.sin(x))})
    return ops.transpose(found[0]) + carry[1][:, None]


def moved(state, x):
    return tf.tanh(0.5 * state + x)


def both(state, x):
    return 0.5 * state[0] + x[0], state[1] * x[1]


def index(x):
    return tf.cast(2 * tf.reduce_max(x), tf.int32)


def branches(x):
    return [lambda: 3.0 * x, lambda: tf.sin(x), lambda: tf.exp(x)]


FUNCTIONS = {
    "ops.scan": lambda x: ops.transpose(ops.scan(step, x[:, 0], ops.transpose(x))[1]),
    "ops.scan, last state": lambda x: ops.scan(step, x[:, 0], ops.transpose(x))[0][:, None] * x,
    "ops.scan, backwards": lambda x: ops.transpose(
        ops.scan(step, x[:, 0], ops.transpose(x), reverse=True)[1]
    ),
    "ops.scan, structures": scanned_structures,
    "ops.scan, nothing to read": lambda x: ops.scan(lambda c, _: (ops.sin(c) + x, None), x, length=3)[0],
    "scan": lambda x: tf.transpose(tf.scan(moved, tf.transpose(x))),
    "scan, backwards": lambda x: tf.transpose(tf.scan(moved, tf.transpose(x), reverse=True)),
    "scan, backwards, from a state": lambda x: tf.transpose(
        tf.scan(moved, tf.transpose(x), x[:, 0], reverse=True)
    ),
    "scan, structures": lambda x: tf.transpose(tf.scan(both, (tf.transpose(x), tf.transpose(tf.sin(x))))[1]),
    "switch_case": lambda x: tf.switch_case(index(x) - 2, branches(x)),
    "switch_case, default": lambda x: tf.switch_case(index(x) + 7, branches(x), default=lambda: -x),
    "switch_case, below 0": lambda x: tf.switch_case(index(x) - 30, branches(x)),
    "switch_case, one branch": lambda x: tf.switch_case(index(x), branches(x)[1:2]),
    "ops.switch": lambda x: ops.switch(index(x) - 3, [ops.sin, lambda y: 2 * y, ops.exp], x),
}


@pytest.mark.filterwarnings("ignore:The samples of a batch are not computed independently")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name):
    x = keras.Input((6,))
    model = keras.Model(x, L.Lambda(FUNCTIONS[name], output_shape=(6,))(x))
    rows = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    outputs, weights, expected = taped(FUNCTIONS[name], rows)
    converted = to_onnx(model)
    np.testing.assert_allclose(run(converted, rows)[0], outputs, atol=1e-6 * np.abs(outputs).max())
    maps = GradientInput(converted, reducer=None)(rows, weights)
    np.testing.assert_allclose(maps, expected, atol=2e-6 * np.abs(expected).max())


class Loss(L.Layer):
    """The loss that Keras' example of a reader of texts adds while it is trained."""

    def call(self, texts, scores):
        ones = ops.ones((ops.shape(texts)[0],), "int32")
        lengths = ones * ops.shape(scores)[1], ones * ops.shape(texts)[1]
        self.add_loss(ops.mean(ops.ctc_loss(texts, scores, lengths[1], lengths[0])))
        return scores


def test_loops_of_a_loss_that_no_output_needs(caplog):
    images, texts = keras.Input((8, 4), name="images"), keras.Input((3,), dtype="int32", name="texts")
    model = keras.Model([images, texts], Loss()(texts, L.Dense(5)(images)))
    rows = np.random.default_rng(0).normal(size=(2, 8, 4)).astype(np.float32)
    words = np.array([[1, 2, 3], [2, 1, 1]], np.int32)
    converted = to_onnx(model)
    np.testing.assert_allclose(run(converted, rows, words)[0], model([rows, words]), atol=1e-6)
    assert not {node.op_type for node in converted.graph.node} & {"Loop", "If", "Scan"}
    assert not caplog.records


def test_list_that_begins_with_a_result_is_said():
    def written(x):
        first = tf.TensorArray(tf.float32, 6).write(0, x[:, 0])
        _, found = tf.while_loop(
            lambda step, _: step < 6,
            lambda step, a: (step + 1, a.write(step, tf.sin(a.read(step - 1)))),
            (1, first),
        )
        return tf.transpose(found.stack())

    x = keras.Input((6,))
    with pytest.raises(
        ConversionError, match=r"list of results beside adding one.*TensorArray that begins empty"
    ):
        to_onnx(keras.Model(x, L.Lambda(written, output_shape=(6,))(x)))
