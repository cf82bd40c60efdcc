"""Images that TensorFlow resizes with a filter or cuts into patches: maps are those of its tape."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")

from onnxattr.converters.keras import to_onnx  # noqa: E402
from support.converted import run  # noqa: E402
from support.taped import check_maps  # noqa: E402

from onnxattr import GradientInput  # noqa: E402
from onnxattr.errors import ConversionError  # noqa: E402

L, image = keras.layers, tf.image
pytestmark = pytest.mark.usefixtures("fresh_keras")
SIZE = (9, 10, 3)


def resized(method, size, antialias):
    return lambda z: image.resize(z, size, method=method, antialias=antialias)


def patches(kernel, strides, rates, padding):
    return lambda z: image.extract_patches(z, [1, *kernel, 1], [1, *strides, 1], [1, *rates, 1], padding)


def moved(z):
    given = {"scale": [0.8, 1.3], "translation": [1.0, -0.5], "kernel_type": "triangle", "antialias": True}
    return tf.raw_ops.ScaleAndTranslate(images=z, size=[7, 8], **given)


def squares(z):
    """The patches of a vision transformer, (rows, 9, 27)."""
    cut = patches((3, 3), (3, 3), (1, 1), "VALID")(z)
    return tf.reshape(cut, [tf.shape(z)[0], -1, cut.shape[-1]])


FUNCTIONS = {
    **{
        f"{method}, antialias={antialias}, {size}": resized(method, size, antialias)
        for method, antialias in (
            ("bilinear", True),
            ("bicubic", True),
            ("lanczos3", False),
            ("gaussian", True),
        )
        for size in ((6, 7), (4, 20))
    },
    "preserve_aspect_ratio": lambda z: image.resize(z, (5, 6), preserve_aspect_ratio=True, antialias=True),
    "resize_with_pad": lambda z: image.resize_with_pad(z, 5, 6, antialias=True),
    "ops.image.resize": lambda z: keras.ops.image.resize(z, (5, 6), antialias=True),
    "scale and translation": moved,
    "patches of a vision transformer": squares,
    **{
        f"patches {arguments}": patches(*arguments)
        for arguments in (
            ((3, 3), (2, 3), (1, 1), "SAME"),
            ((2, 5), (1, 1), (2, 1), "SAME"),
            ((3, 2), (4, 2), (1, 2), "VALID"),
        )
    },
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name):
    model, rows = model_of(FUNCTIONS[name]), images()
    check_maps(model, rows)


@pytest.mark.parametrize("size", [(6, 7), (13, 17), (3, 5)])
def test_area(size):
    """TensorFlow has no gradient of it; it is linear."""
    model, rows = model_of(resized("area", size, False)), images()
    converted = to_onnx(model)
    outputs = model(rows).numpy()
    np.testing.assert_allclose(run(converted, rows)[0], outputs, atol=1e-6)
    weights = np.random.default_rng(1).normal(size=outputs.shape).astype(np.float32)
    sums = GradientInput(converted, reducer=None)(rows, weights).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(sums, (outputs * weights).sum(axis=(1, 2, 3)), rtol=1e-5)


def test_sizes_that_a_run_decides_are_refused():
    x = keras.Input((None, None, 3))
    model = keras.Model(x, L.Lambda(lambda z: image.resize(z, (5, 6), antialias=True))(x))
    with pytest.raises(ConversionError, match="ScaleAndTranslate"):
        to_onnx(model)


def model_of(function):
    x = keras.Input(SIZE)
    return keras.Model(x, L.Lambda(function)(x))


def images():
    return np.random.default_rng(0).uniform(0.05, 0.95, size=(3, *SIZE)).astype(np.float32)
