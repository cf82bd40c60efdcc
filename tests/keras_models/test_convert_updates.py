"""Boxes that Keras' `slice_update` writes into a value, whose gradient TensorFlow lacks, beside an equal sum."""

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


def stepwise(x):
    """Each step is a function of the one before."""

    def body(k, y):
        before = ops.slice(y, (0, k - 1, 0), (ops.shape(y)[0], 1, 4))
        return k + 1, ops.slice_update(y, (0, k, 0), ops.tanh(before) * 2)

    return ops.while_loop(lambda k, _: k < 5, body, (1, x))[1]


def stepwise_of(x):
    steps = [x[:, 0]]
    for _ in range(4):
        steps.append(2 * tf.tanh(steps[-1]))
    return tf.stack(steps, axis=1)


def place(x):
    """1 where the sum of all is above 0, else 0; a number of the graph."""
    return ops.cast(ops.sum(x) > 0, "int32")


#: Of values (rows, 5, 4): what `slice_update` computes, and the same with TensorFlow's gradient.
UPDATES = {
    "rows between": (
        lambda x: ops.slice_update(x, (0, 1, 0), 3 * ops.tanh(x[:, :2])),
        lambda x: tf.concat([x[:, :1], 3 * tf.tanh(x[:, :2]), x[:, 3:]], 1),
    ),
    "a box": (
        lambda x: ops.slice_update(ops.ones_like(x), (0, 1, 2), x[:, :2, :2] * x[:, 1:3, :2]),
        lambda x: tf.pad(x[:, :2, :2] * x[:, 1:3, :2] - 1, [[0, 0], [1, 2], [2, 0]]) + 1,
    ),
    "a box beyond the end": (
        lambda x: ops.slice_update(x, (0, 4, 9), ops.sin(x[:, :2, :3])),
        lambda x: tf.concat(
            [x[:, :3], tf.concat([x[:, 3:, :1], tf.sin(x[:, :2, :3])], axis=2)], axis=1
        ),
    ),
    "a box before the start": (
        lambda x: ops.slice_update(x, (0, -3, 0), ops.sin(x[:, 3:])),
        lambda x: tf.concat([tf.sin(x[:, 3:]), x[:, 2:]], axis=1),
    ),
    "all": (lambda x: ops.slice_update(x, (0, 0, 0), ops.sin(x)), tf.sin),
    "one row of the batch": (
        lambda x: ops.slice_update(x, (1, 0, 0), ops.exp(x[:1])),
        lambda x: tf.concat([x[:1], tf.exp(x[:1]), x[2:]], axis=0),
    ),
    "a computed place": (
        lambda x: ops.slice_update(x, ops.stack([0, 3 - 2 * place(x), 0]), ops.sin(x[:, 1:3])),
        lambda x: tf.concat([x[:, :1], tf.sin(x[:, 1:3]), x[:, 3:]], axis=1)
        if place(x)
        else tf.concat([x[:, :3], tf.sin(x[:, 1:3])], axis=1),
    ),
    "in a loop": (stepwise, stepwise_of),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:The samples of a batch are not computed independently")
@pytest.mark.parametrize("name", UPDATES)
def test_slice_update(name):
    updated, same = UPDATES[name]
    x = keras.Input((5, 4))
    model = keras.Model(x, L.Lambda(updated, output_shape=(5, 4))(x))
    for sign in (1, -1):
        rows = sign * np.abs(np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32))
        outputs, weights, expected = taped(same, rows)
        np.testing.assert_allclose(model(rows), outputs, rtol=1e-6)
        converted = to_onnx(model)
        np.testing.assert_allclose(run(converted, rows)[0], outputs, rtol=1e-6, atol=1e-6)
        maps = GradientInput(converted, reducer=None)(rows, weights)
        np.testing.assert_allclose(maps, expected, atol=1e-6 * np.abs(expected).max())


def counted(x):
    """Squares of numbers, added up by the whole number below them."""
    bins = tf.cast(tf.clip_by_value(tf.floor(x), 0.0, 4.0), tf.int32)
    samples = tf.repeat(tf.range(tf.shape(x)[0])[:, None], 3, axis=1)
    return tf.scatter_nd(tf.stack([samples, bins], axis=-1), x * x, [tf.shape(x)[0], 5])


def test_sums_at_places_that_repeat_in_other_rows_than_the_sample():
    x = keras.Input((3,))
    model = keras.Model(x, L.Lambda(counted, output_shape=(5,))(x))
    apart = np.array([[0.5, 1.5, 2.5], [3.5, 2.2, 0.1]], np.float32)
    rows = np.array([[0.5, 0.4, 2.5], [1.1, 1.2, 1.9]], np.float32)
    converted = to_onnx(model, sample=apart)
    outputs, weights, expected = taped(counted, rows)
    np.testing.assert_allclose(run(converted, rows)[0], outputs, rtol=1e-6)
    maps = GradientInput(converted, reducer=None)(rows, weights)
    np.testing.assert_allclose(maps, expected, rtol=1e-5)
    with pytest.raises(ConversionError, match="No ONNX operator of opset 13 computes: ScatterNd"):
        to_onnx(model, opset=13)
