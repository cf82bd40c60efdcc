"""Quotients, remainders and shifts of negative numbers in Keras models, beside TensorFlow and its tape."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")

from onnxattr.converters.keras import to_onnx  # noqa: E402
from support.converted import run  # noqa: E402
from support.taped import check_maps  # noqa: E402

L, ops = keras.layers, keras.ops
pytestmark = pytest.mark.usefixtures("fresh_keras")
SIGNED, UNSIGNED = ("int8", "int32", "int64"), ("uint8",)
OPERATORS = {
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "truncatediv": tf.truncatediv,
    "<<": tf.bitwise.left_shift,
    ">>": tf.bitwise.right_shift,
}


def whole(operator, dtype, b):
    """An operator on integers and a number, as layers compute it: from floats to floats."""

    def compute(z):
        a = tf.cast(tf.clip_by_value(z, -30, 30), dtype)
        return tf.cast(operator(a, tf.constant(b, dtype)), tf.float32)

    return compute


def of_each_other(operator):
    def compute(z):
        a = tf.cast(tf.clip_by_value(z, -30, 30), tf.int32)
        return tf.cast(operator(a, tf.reverse(a, [1]) * 2 + 1), tf.float32)

    return compute


FUNCTIONS = {
    **{
        f"{name} {b} of {dtype}": whole(operator, dtype, b)
        for name, operator in OPERATORS.items()
        for dtype in SIGNED
        for b in ((3, -3) if name[0] not in "<>" else (2,))
    },
    **{
        f"{name} 3 of {dtype}": lambda z, f=operator, dtype=dtype: whole(f, dtype, 3)(abs(z))
        for name, operator in OPERATORS.items()
        for dtype in UNSIGNED
    },
    "// of each other": of_each_other(tf.math.floordiv),
    "% of each other": of_each_other(tf.math.floormod),
    "truncatemod 3 of int32": whole(tf.truncatemod, "int32", 3),
    "Mod, as older graphs have it": whole(lambda a, b: tf.raw_ops.Mod(x=a, y=b), "int32", 3),
    "truncatemod -3 of int64": whole(tf.truncatemod, "int64", -3),
    "the smallest // 3": whole(lambda a, b: (a * 0 - 128) // b, "int8", 3),
    "shift by all bits": whole(tf.bitwise.right_shift, "int64", 63),
    "ops.floor_divide": lambda z: ops.cast(ops.floor_divide(ops.cast(ops.clip(z, -30, 30), "int32"), 3), "float32"),
    "ops.mod": lambda z: ops.cast(ops.mod(ops.cast(ops.clip(z, -30, 30), "int32"), -4), "float32"),
    "ops.right_shift": lambda z: ops.cast(ops.right_shift(ops.cast(ops.clip(z, -30, 30), "int32"), 1), "float32"),
    "frames of a padded row": lambda z: tf.signal.frame(z, 5, 2, pad_end=True),
    "frames of halves": lambda z: tf.signal.frame(z[:, :13], 4, 3, pad_end=True),
    "ops.mod of floats": lambda z: ops.mod(z, 0.7),
    "ops.mod of floats by a negative number": lambda z: ops.mod(z, -0.7),
    "floats % float64": lambda z: tf.cast(tf.cast(z, tf.float64) % 0.7, tf.float32),
    "a number % floats": lambda z: 1.5 % (z + 0.25),
    "truncatemod of floats": lambda z: tf.truncatemod(z, 0.7),
    "truncatediv of floats": lambda z: tf.truncatediv(z, 2.0) + z,
    "floor_divide of floats": lambda z: ops.floor_divide(z, 0.7) + z,
}  # fmt: skip
#: Those with a gradient, in TensorFlow: a tape gives none of truncatemod.
WITH_GRADIENT = [
    name for name in FUNCTIONS if ("float" in name and "truncatemod" not in name) or "frame" in name
]


def rows_of_numbers():
    """Numbers on both sides of 0, whole ones and multiples of 0.7 among them."""
    rows = np.random.default_rng(0).normal(size=(3, 17)).astype(np.float32) * 6
    rows[0] = np.arange(17) - 8
    rows[1] = (np.arange(17) - 8).astype(np.float32) * np.float32(0.7)
    return rows


def model_of(function):
    x = keras.Input((17,))
    return keras.Model(x, L.Lambda(function)(x))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_numbers(name):
    model, rows = model_of(FUNCTIONS[name]), rows_of_numbers()
    np.testing.assert_array_equal(run(to_onnx(model, verify=False), rows)[0], np.asarray(model(rows)))


@pytest.mark.parametrize("name", WITH_GRADIENT)
def test_gradients(name):
    model, rows = model_of(FUNCTIONS[name]), rows_of_numbers()
    check_maps(model, rows)


def test_quotients_of_sizes_are_one_division():
    x = keras.Input((16, 16, 3))
    halves = L.Lambda(lambda z: tf.reshape(z, [-1, tf.shape(z)[1] // 2, 2, tf.shape(z)[2] * 3]), (8, 2, 48))
    converted = to_onnx(keras.Model(x, halves(x)))
    assert "Mod" not in {node.op_type for node in converted.graph.node}
