"""Keras' interpolation of images: predictions and gradients are those of TensorFlow, to float32's rounding."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
import tensorflow as tf  # noqa: E402
from onnxattr.converters.keras import to_onnx  # noqa: E402

from onnxattr import GradientInput  # noqa: E402

pytestmark = pytest.mark.usefixtures("fresh_keras")
CASES = [
    ((480, 640), (224, 224), {}),
    ((20, 30), (9, 9), {}),
    ((20, 30), (32, 41), {}),
    ((24, 24), (48, 96), {}),
    ((20, 30), (9, 13), {"crop_to_aspect_ratio": True}),
    ((20, 30), (9, 13), {"pad_to_aspect_ratio": True}),
    ((20, 30), (9, 41), {"interpolation": "bicubic"}),
    ((20, 30), (41, 77), {"interpolation": "nearest"}),
    ((24, 24), (12, 9), {"interpolation": "nearest"}),
]
#: Scales that ONNX Runtime and ONNX's inference round otherwise, with nothing but Transposes around.
ALONE = [((6, 6), (4, 5), "bilinear"), ((6, 6), (4, 5), "nearest"), ((20, 20), (9, 41), "bilinear")]


def network(size, target, settings):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((*size, 3))
    resized = keras.layers.Resizing(*target, **settings)(inputs)
    seen = keras.layers.Conv2D(4, 3, strides=max(target[0] // 8, 1))(resized)
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(keras.activations.tanh(seen))))


@pytest.mark.parametrize(("size", "target", "settings"), CASES)
def test_resizing(size, target, settings):
    compare(network(size, target, settings), size)


@pytest.mark.parametrize(("size", "target", "interpolation"), ALONE)
def test_resizing_alone(size, target, interpolation):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((*size, 3))
    resized = keras.layers.Resizing(*target, interpolation=interpolation)(inputs)
    compare(keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(resized))), size)


@pytest.mark.parametrize("first", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("behind", ["nearest", "bilinear", "bicubic", "skip"])
def test_resizing_to_a_size_that_the_next_layer_insists_on(first, behind):
    """6 * float32(7 / 6) is 7 in ONNX Runtime and 6 in ONNX's inference, which a layer of the size 7 contradicts."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 3))
    x = keras.layers.Resizing(7, 5, interpolation=first)(keras.layers.Conv2D(3, 1)(inputs))
    if behind == "skip":
        weights = keras.layers.Embedding(7 * 5, 3)(np.arange(35)[None])
        x = x * keras.ops.reshape(weights, (1, 7, 5, 3))
    else:
        x = keras.layers.Resizing(6, 4, interpolation=behind)(x)
    compare(keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x))), (6, 6))


def compare(model, size):
    """The prediction and GradientInput are TensorFlow's."""
    images = np.random.default_rng(1).normal(size=(2, *size, 3)).astype(np.float32)
    variable = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        output = model(variable)
        score = tf.reduce_sum(output * tf.one_hot([0, 2], 3))
    right = images * tape.gradient(score, variable).numpy()
    method = GradientInput(model, reducer=None)
    np.testing.assert_allclose(method.predict(images), output.numpy(), atol=2e-6 * np.abs(output).max())
    np.testing.assert_allclose(method.explain(images, [0, 2]), right, atol=2e-6 * np.abs(right).max())


@pytest.mark.parametrize(("target", "resizes"), [((48, 96), 1), ((32, 41), 0)])
def test_resize_stays_where_the_weights_are_tensorflows(target, resizes):
    converted = to_onnx(network((24, 24), target, {}))
    nodes = [node.op_type for node in getattr(converted, "model", converted).graph.node]
    assert nodes.count("Resize") == resizes
