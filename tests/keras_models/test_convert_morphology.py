"""Dilations and erosions of images in Keras models, and the sum of squares, beside TensorFlow and its tape."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")

from onnxattr.converters.keras import to_onnx  # noqa: E402
from support.converted import run  # noqa: E402
from support.taped import taped  # noqa: E402

from onnxattr import GradientInput  # noqa: E402
from onnxattr.errors import ConversionError  # noqa: E402

L = keras.layers
pytestmark = pytest.mark.usefixtures("fresh_keras")
KERNEL = np.random.default_rng(3).normal(size=(3, 2, 2)).astype(np.float32)


def dilation(padding="SAME", strides=(1, 1), rates=(1, 1), kernel=KERNEL):
    return lambda z: tf.nn.dilation2d(z, kernel, [1, *strides, 1], padding, "NHWC", [1, *rates, 1])


def erosion(padding="SAME", strides=(1, 1), rates=(1, 1)):
    return lambda z: tf.nn.erosion2d(z, KERNEL, [1, *strides, 1], padding, "NHWC", [1, *rates, 1])


#: Functions of images, (rows, 9, 8, 2).
FUNCTIONS = {
    "dilation": dilation(),
    "dilation inside": dilation("VALID"),
    "dilation of each second": dilation(strides=(2, 3)),
    "dilation inside, of each second": dilation("VALID", strides=(2, 2)),
    "dilation over holes": dilation(rates=(2, 3)),
    "dilation inside, over holes": dilation("VALID", rates=(2, 3)),
    "flat dilation of equal numbers": lambda z: dilation(kernel=KERNEL * 0)(tf.nn.relu(z)),
    "erosion": erosion(),
    "erosion inside, of each second": erosion("VALID", strides=(2, 2)),
    "opening": lambda z: dilation()(erosion()(z)),
    "kernel of the image": lambda z: tf.nn.dilation2d(z, z[0, :2, :2], [1] * 4, "SAME", "NHWC", [1] * 4),
    "sum of squares": lambda z: z * tf.nn.l2_loss(z),
}


CASES = [
    *((name, 17) for name in FUNCTIONS),
    *((name, opset) for name in ("dilation", "sum of squares") for opset in (13, 18)),
]


@pytest.mark.filterwarnings("ignore:The samples of a batch")
@pytest.mark.parametrize(("name", "opset"), CASES)
def test_function(name, opset):
    x = keras.Input((9, 8, 2))
    model = keras.Model(x, L.Lambda(FUNCTIONS[name])(x))
    rows = np.random.default_rng(0).normal(size=(1, 9, 8, 2)).astype(np.float32)
    outputs, weights, expected = taped(model, rows)
    converted = to_onnx(model, opset=opset)
    np.testing.assert_allclose(run(converted, rows)[0], outputs, rtol=1e-6, atol=1e-6)
    maps = GradientInput(converted, reducer=None)(rows, weights)
    np.testing.assert_allclose(maps, expected, atol=1e-6 * np.abs(expected).max())


def test_images_of_open_sizes_are_refused():
    x = keras.Input((None, 8, 2))
    with pytest.raises(ConversionError, match="Dilation2D"):
        to_onnx(keras.Model(x, L.Lambda(dilation())(x)))
