"""Guards around divisions, logarithms and exponentials survive the conversion, and the check visits them."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
import tensorflow as tf  # noqa: E402
from onnxattr.converters.keras import tf2onnx_driver, to_onnx  # noqa: E402
from onnxattr.converters.keras.checking import guard_rows  # noqa: E402
from onnxattr.converters.keras.tracing import inputs as keras_inputs  # noqa: E402
from onnxattr.converters.keras.tracing.trace import trace  # noqa: E402
from onnxattr.converters.keras.translations import handlers as tf2onnx_handlers  # noqa: E402
from onnxattr.converters.keras.translations.nodes import Replacement  # noqa: E402
from support.converted import run  # noqa: E402

from onnxattr import Saliency  # noqa: E402
from onnxattr.errors import ConversionError  # noqa: E402

L, K = keras.layers, keras.ops
pytestmark = pytest.mark.usefixtures("fresh_keras")

# Functions, and a row in which what is not chosen is infinite or NaN.
GUARDED = {
    "safe reciprocal": (lambda z: K.where(K.equal(z, 0.0), K.zeros_like(z), 1 / z), [0, 1, 4]),
    "entropy": (lambda z: K.where(K.equal(z, 0.0), K.zeros_like(z), z * K.log(K.abs(z))), [0, 1, 4]),
    "sinc": (lambda z: K.where(K.equal(z, 0.0), K.ones_like(z), K.sin(z) / z), [0, 1, 4]),
    "softplus": (lambda z: K.where(z > 50.0, z, K.log(1 + K.exp(z))), [0, 60, 200]),
    "nan_to_num": (lambda z: K.nan_to_num(1 / z, posinf=0.0), [0, 1, 4]),
    "sqrt of negatives": (lambda z: tf.where(z > 0, tf.sqrt(z), -z), [-1, 0, 4]),
    "one flag per row": (lambda z: tf.raw_ops.Select(condition=z[:, 0] > 0.5, x=1 / z, y=z), [0, 1, 4]),
    "broadcast condition": (lambda z: tf.where(z[:, :1] > 0, 1 / z, 0.5), [0, 0, 4]),
    "flags": (lambda z: z * tf.cast(tf.where(z > 1, z > 2, z < 1), tf.float32), [0, 1, 4]),
    "small integers": (
        lambda z: z * tf.cast(tf.where(z > 1, tf.cast(z, tf.int8), tf.cast(-z, tf.int8)), tf.float32),
        [0, 1, 4],
    ),
    "multiply_no_nan": (lambda z: tf.math.multiply_no_nan(1 / z, z), [0, 1, 4]),
    "divide_no_nan": (lambda z: tf.math.divide_no_nan(1.0, z), [0, 1, 4]),
    "xlogy": (lambda z: tf.math.xlogy(z, z), [0, 1, 4]),
    "xlog1py": (lambda z: tf.math.xlog1py(z, z - 1), [0, 1, 4]),
    "xdivy": (lambda z: tf.math.xdivy(z, z), [0, 1, 4]),
    "lower triangle": (lambda z: K.tril(1 / z[:, None, :] * K.ones((3, 1))), [1, 4, 0]),
    "band": (lambda z: tf.linalg.band_part(1 / z[:, None, :] * tf.ones((3, 1)), 1, 0), [1, 4, 0]),
}


def model_of(function):
    z = keras.Input((3,))
    return keras.Model(z, L.Lambda(function)(z))


@pytest.mark.parametrize("name", GUARDED)
def test_what_is_not_chosen_does_not_poison(name):
    function, row = GUARDED[name]
    x = np.array([row, [1, 2, 3]], np.float32)
    model = model_of(function)
    want = np.asarray(model(x))
    np.testing.assert_allclose(run(to_onnx(model, verify=False), x)[0], want, rtol=1e-5)
    assert np.isfinite(want[1]).all()


def test_gradient_of_a_guard_is_that_of_the_tape():
    """TensorFlow's tape gives 0 * inf at the guarded point itself; beside it the numbers are equal."""
    x = np.array([[0.5, 1, 4]], np.float32)
    model = model_of(GUARDED["entropy"][0])
    with tf.GradientTape() as tape:
        given = tf.constant(x)
        tape.watch(given)
        score = tf.reduce_sum(model(given))
    found = Saliency(to_onnx(model)).explain(x, np.ones((1, 3), np.float32))
    np.testing.assert_allclose(found, np.abs(tape.gradient(score, given)), rtol=1e-5)


# The check ------------------------------------------------------------------------------------------------------
def poisoning(ctx, node, name, args):
    """Select as c * a + (1 - c) * b."""
    condition, a, b = node.input
    w = Replacement(ctx, node)
    chosen = w.op("Cast", condition, to=w.dtype)
    w.end("Add", w.op("Mul", chosen, a), w.op("Mul", w.op("Sub", w.const(1), chosen), b))


@pytest.mark.parametrize(
    ("name", "row"),
    [("safe reciprocal", "zeros"), ("entropy", "zeros"), ("sinc", "zeros"), ("softplus", "large")],
)
def test_the_check_finds_a_guard_that_is_lost(name, row, monkeypatch):
    handlers = {**tf2onnx_handlers.BASIC_HANDLERS, "SelectV2": (poisoning, [])}
    monkeypatch.setattr(tf2onnx_driver, "BASIC_HANDLERS", handlers)
    with pytest.raises(ConversionError, match=f"not finite where the original is, in a row of {row}.*lambda"):
        to_onnx(model_of(GUARDED[name][0]))


def shifted(ctx, node, name, args):
    """Erfc, wrong by 1 where its argument is above 50."""
    (x,), w = node.input, Replacement(ctx, node)
    step = w.op("Where", w.op("Greater", x, w.const(50), dtype=9), w.const(1), w.const(0))
    w.end("Add", step, w.op("Sub", w.const(1), w.op("Erf", x)))


def test_the_check_visits_the_range_of_the_training_data(monkeypatch):
    """Around the mean 10000 the model is wrong: no random or special row comes near."""
    layer = L.Normalization(mean=[10000.0, 5.0, 0.0], variance=[400.0, 1.0, 1.0])
    z = keras.Input((3,))
    model = keras.Model(z, L.Lambda(lambda t: tf.math.erfc(t / 100))(z) + 0 * layer(z))
    to_onnx(model)
    monkeypatch.setattr(
        tf2onnx_driver, "BASIC_HANDLERS", {**tf2onnx_handlers.BASIC_HANDLERS, "Erfc": (shifted, [])}
    )
    with pytest.raises(ConversionError, match=r"in a row of mean .* of the training data"):
        to_onnx(model)


@pytest.mark.parametrize("kind", ["Normalization", "BatchNormalization"])
def test_rows_of_the_training_data(kind):
    layer = L.Normalization() if kind == "Normalization" else L.BatchNormalization()
    z = keras.Input((4, 3))
    model = keras.Model(z, L.Dense(2)(layer(z)))
    mean, variance = np.array([3.0, -7.0, 50.0]), np.array([4.0, 1.0, 100.0])
    if kind == "Normalization":
        layer.adapt(np.stack([mean - np.sqrt(variance), mean + np.sqrt(variance)])[None])
    else:
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance)
    inputs = keras_inputs.model_inputs(model)
    drawn = [np.zeros((2, 4, 3), np.float32)]
    traced = trace(model, inputs, lambda calls, outputs: {})
    found = {
        name: row
        for names, arrays in guard_rows.guard_batches(inputs, drawn, traced, low=False)
        for name, row in zip(names, arrays[0], strict=True)
    }
    for deviation in (-2, 0, 2):
        name = f"mean {deviation:+g} standard deviations of the training data"
        np.testing.assert_allclose(
            found[name], np.tile(mean + deviation * np.sqrt(variance), (4, 1)), rtol=1e-6
        )
    assert {"zeros", "ones", "large", "negative large", "small", "mixed"} < set(found)


@pytest.mark.parametrize(
    ("make", "fixed"),
    [
        (lambda: keras.Sequential([L.Input(batch_shape=(4, 6)), L.Dense(2)]), 4),
        (lambda: keras.Sequential([L.Input((6,), dtype="int32"), L.Embedding(9, 3)]), None),
        # LayerNormalization of a constant row divides rounding errors by the root of epsilon.
        (lambda: keras.Sequential([L.Input((6,)), L.Dense(5), L.LayerNormalization(epsilon=1e-7)]), None),
        (lambda: keras.Sequential([L.Input((6,)), L.Dense(5), L.Lambda(K.sin)]), None),
        (lambda: keras.Sequential([L.Input((6,)), L.Dense(9), L.Softmax()]), None),
        (lambda: keras.Sequential([L.Input((6,)), L.Lambda(lambda t: K.log(t))]), None),
    ],
    ids=[
        "fixed batch",
        "integers",
        "constant rows",
        "sine of large values",
        "softmax",
        "not finite in Keras",
    ],
)
def test_special_rows_do_not_refuse_what_is_right(make, fixed):
    assert to_onnx(make()).graph.node
