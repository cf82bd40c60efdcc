"""Layers whose loops and conditions on tensors are written in Python, which AutoGraph makes operators of."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
tf_keras = pytest.importorskip("tf_keras")

from onnxattr.converters.keras import to_onnx  # noqa: E402
from support.converted import run  # noqa: E402
from support.taped import taped  # noqa: E402

from onnxattr import GradientInput  # noqa: E402

pytestmark = pytest.mark.usefixtures("fresh_keras")


def counted(x):
    y = tf.zeros_like(x)
    for step in tf.range(3):
        y = tf.tanh(y + x * tf.cast(step, tf.float32))
    return y


def written(x):
    results, y = tf.TensorArray(tf.float32, 6), tf.zeros_like(x[:, 0])
    for step in tf.range(6):
        y = tf.tanh(y + x[:, step])
        results = results.write(step, y)
    return tf.transpose(results.stack())


def until(x):
    step = tf.constant(0.0)
    while step < 2.0:
        step += 1.0
        x = tf.sin(x) + step * x
    return x


def chosen(x):
    return 2.0 * x if tf.shape(x)[1] > 5 else tf.sin(x)


FUNCTIONS = {"counted": counted, "written": written, "until": until, "chosen": chosen}


def layer(package, function, decorate):
    """A layer that computes a function, as its call or as a function that its call uses."""

    class Own(package.layers.Layer):
        def call(self, inputs):
            return function(inputs)

        def compute_output_shape(self, shape):
            return shape

    class OfAGraph(Own):
        @tf.function
        def call(self, inputs):
            return function(inputs)

    return {"call": OfAGraph, "plain": Own}[decorate]()


def around(package, inner):
    """A layer that calls another in a function of TensorFlow."""

    class Around(package.layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = inner

        @tf.function
        def call(self, inputs):
            for _ in tf.range(2):
                inputs = self.inner(inputs) * 0.5
            return inputs

    return Around()


def models():
    for name, function in FUNCTIONS.items():
        yield f"keras, call, {name}", lambda f=function: layer(keras, f, "call"), keras
        yield f"keras, function, {name}", lambda f=function: layer(keras, tf.function(f), "plain"), keras
        yield f"tf_keras, {name}", lambda f=function: layer(tf_keras, f, "plain"), tf_keras
    for package in (keras, tf_keras):
        name, dense = package.__name__, package.layers.Dense
        yield f"{name}, a layer inside", lambda p=package, d=dense: around(p, d(6, "tanh")), package
    yield "tf_keras, loops in loops", lambda: around(tf_keras, layer(tf_keras, counted, "plain")), tf_keras


MODELS = {name: (make, package) for name, make, package in models()}


@pytest.mark.parametrize("name", MODELS)
def test_loops_and_conditions_of_python(name):
    make, package = MODELS[name]
    x = package.Input((6,))
    model = package.Model(x, package.layers.Dense(6)(make()(x)))
    rows = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    outputs, weights, expected = taped(model, rows)
    converted = to_onnx(model)
    np.testing.assert_allclose(run(converted, rows)[0], outputs, atol=1e-5 * np.abs(outputs).max())
    maps = GradientInput(converted, reducer=None)(rows, weights)
    np.testing.assert_allclose(maps, expected, atol=1e-5 * np.abs(expected).max())


def test_autograph_leaves_no_trace():
    from tensorflow.python.autograph.core import ag_ctx
    from tensorflow.python.eager.polymorphic_function.polymorphic_function import Function

    before = (Function.__call__, ag_ctx.control_status_ctx().status)
    make, package = MODELS["keras, call, counted"]
    x = package.Input((6,))
    to_onnx(package.Model(x, make()(x)))
    assert (Function.__call__, ag_ctx.control_status_ctx().status) == before
