"""Colours of images in Keras models, beside TensorFlow, its tape, and differences where TensorFlow has no gradient."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")

from onnxattr.converters.keras import to_onnx  # noqa: E402
from support.converted import run  # noqa: E402
from support.taped import check_maps  # noqa: E402

from onnxattr.testing import check_vjp  # noqa: E402

L, image = keras.layers, tf.image
pytestmark = pytest.mark.usefixtures("fresh_keras")
#: Functions of images, and whether TensorFlow has their gradient.
FUNCTIONS = {
    "rgb_to_hsv": (image.rgb_to_hsv, True),
    "ops.rgb_to_hsv": (keras.ops.image.rgb_to_hsv, True),
    "hsv_to_rgb": (image.hsv_to_rgb, False),
    "ops.hsv_to_rgb": (keras.ops.image.hsv_to_rgb, False),
    "less saturation": (lambda z: image.adjust_saturation(z, 0.4), False),
    "more saturation": (lambda z: image.adjust_saturation(z, 3), False),
    "another value": (lambda z: image.hsv_to_rgb(image.rgb_to_hsv(z) * [1, 1, 0.5]), False),
}
#: Each channel as the largest, the middle and the smallest one, equal ones, grey, black, white, and outside 0 to 1.
PIXELS = [
    [0.2, 0.5, 0.3], [0.3, 0.5, 0.2], [0.9, 0.1, 0.4], [0.9, 0.4, 0.1], [0.1, 0.3, 0.8], [0.3, 0.1, 0.8],
    [0.3, 0.3, 0.7], [0.7, 0.3, 0.3], [0.3, 0.7, 0.3], [0.7, 0.7, 0.3], [0.3, 0.7, 0.7], [0.7, 0.3, 0.7],
    [0.5, 0.5, 0.5], [0, 0, 0], [1, 1, 1], [0.99, 1, 1], [1.3, 0.4, -0.2], [-0.5, -0.2, -0.1],
]  # fmt: skip


def model_of(function, size):
    x = keras.Input((*size, 3))
    return keras.Model(x, L.Lambda(function)(x))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_numbers(name):
    model, rows = model_of(FUNCTIONS[name][0], (6, 3)), np.array(PIXELS, np.float32).reshape(1, 6, 3, 3)
    drawn = np.random.default_rng(0).uniform(size=(2, 6, 3, 3)).astype(np.float32)
    for images in (rows, drawn):
        np.testing.assert_allclose(run(to_onnx(model), images)[0], np.asarray(model(images)), atol=1e-6)


@pytest.mark.parametrize("name", [name for name, (_, has) in FUNCTIONS.items() if has])
def test_gradients(name):
    model, rows = model_of(FUNCTIONS[name][0], (4, 4)), np.array(PIXELS[:16], np.float32).reshape(1, 4, 4, 3)
    check_maps(model, rows)


@pytest.mark.parametrize("name", [name for name, (_, has) in FUNCTIONS.items() if not has])
def test_gradients_that_tensorflow_does_not_have(name):
    rows = np.random.default_rng(0).uniform(0.1, 0.9, size=(2, 3, 3, 3)).astype(np.float32)
    converted = to_onnx(model_of(FUNCTIONS[name][0], (3, 3)))
    check_vjp(converted, {converted.graph.input[0].name: rows})
