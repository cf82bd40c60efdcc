"""Keras models that compute something else in predict than when called: the file does as predict, which is said."""

import warnings

import numpy as np
import pytest

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

from onnxattr.converters.keras import to_onnx  # noqa: E402
from support.converted import run  # noqa: E402

from onnxattr.errors import ConversionError  # noqa: E402

L = keras.layers
pytestmark = pytest.mark.usefixtures("fresh_keras")


def around(*middle, training=True, after=()):
    """A model of layers between two others, the first called as in training or not."""
    x = keras.Input((5,))
    y = L.Dense(4)(x)
    for layer in middle:
        y = layer(y, training=training)
    for layer in after:
        y = layer(y)
    return keras.Model(x, L.Dense(2)(y))


def inner():
    """A model with a layer called as in training, within another."""
    x = keras.Input((4,))
    return keras.Model(x, L.BatchNormalization(name="deep")(x, training=True), name="inner")


def outer(model):
    """A model around another, which is called without a word on training."""
    x = keras.Input((5,))
    return keras.Model(x, model(L.Dense(4)(x)))


def images(*layers):
    """A model with layers for images, which Keras calls as in training unless it is told otherwise."""
    x = keras.Input((5,))
    y = L.Reshape((2, 2, 1))(L.Dense(4)(x))
    for layer in layers:
        y = layer(y)
    return keras.Model(x, L.Flatten()(y))


class Wrapped(L.Layer):
    """A layer without a training argument, around one that has it."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.within = L.Dropout(0.5)

    def call(self, x):
        return self.within(x)


class Resized(L.Layer):
    """A layer that makes the one it calls when it is called."""

    def call(self, x):
        return L.Resizing(3, 3)(x)


#: Models, and the layers that are named.
MODELS = {
    "normalisation": (lambda: around(L.BatchNormalization(name="bn")), ["bn"]),
    "dropout": (lambda: around(L.Dropout(0.5, name="drop"), L.GaussianNoise(1.0, name="noise")), ["drop", "noise"]),
    "in a model within": (lambda: outer(inner()), ["deep"]),
    "a model within": (lambda: around(keras.Sequential([L.Dropout(0.5)], name="head")), ["head"]),
    "a model within that has none": (lambda: around(keras.Sequential([L.Dense(3), L.ReLU()])), []),
    "a dense layer": (lambda: around(L.Dense(3)), []),
    "within a layer": (lambda: around(Wrapped(name="wrapped")), ["wrapped"]),
    "resized images": (lambda: images(L.Resizing(3, 3)), []),
    "cropped images": (lambda: images(L.CenterCrop(1, 1)), []),
    "images of full contrast": (lambda: images(L.AutoContrast(value_range=(0, 1))), []),
    "normalisation behind resized images": (lambda: images(L.Resizing(3, 3), L.BatchNormalization(name="bn")), ["bn"]),
    "dropout behind cropped images": (
        lambda: images(L.CenterCrop(1, 1), keras.Sequential([L.Dropout(0.5, name="drop")])), ["drop"]
    ),
    "normalisation behind an image resized within a layer": (
        lambda: images(Resized(), L.BatchNormalization(name="bn")), ["bn"]
    ),
    "normalisation behind dropout in training": (
        lambda: around(L.Dropout(0.5, name="drop"), after=[L.BatchNormalization(name="bn")]), ["drop", "bn"]
    ),
    "nothing that minds behind resized images": (
        lambda: images(L.BatchNormalization(), L.Resizing(3, 3), L.Conv2D(1, 1), L.Dropout(0.0)), []
    ),
    "images that are turned": (lambda: images(L.RandomFlip(name="flip")), ["flip"]),
    "False": (lambda: around(L.BatchNormalization(), L.Dropout(0.5), training=False), []),
    "nothing said": (lambda: around(L.BatchNormalization(), L.Dropout(0.5), training=None), []),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_layers_called_as_in_training_are_named(name):
    make, named = MODELS[name]
    model, rows = make(), np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        converted = to_onnx(model)
    np.testing.assert_allclose(run(converted, rows)[0], model.predict(rows, verbose=0), atol=1e-6)
    if named != ["flip"]:  # whose draws may change nothing
        same = np.allclose(model(rows), model.predict(rows, verbose=0), atol=1e-6)
        assert same == (not named)
    told = [w for w in caught if "training=True" in str(w.message)]
    assert len(told) == bool(named)
    for w in told:
        assert w.filename == __file__  # the line that called the converter
        assert all(repr(layer) in str(w.message) for layer in named)


@pytest.mark.parametrize(
    ("layer", "own"), [("RandomFlip", True), ("RandomContrast", True), ("Dropout", False)]
)
def test_what_is_kerass_own_default_is_said_so(layer, own):
    """Every model that augments its images has such layers, and its author has said nothing of training."""
    settings = {"RandomFlip": {}, "RandomContrast": {"factor": 0.2}, "Dropout": {"rate": 0.5}}[layer]
    made = getattr(L, layer)(name="this", **settings)
    model = images(made) if own else around(made)
    with pytest.warns(UserWarning, match="with training=True: 'this'") as heard:
        to_onnx(model)
    said = "That is Keras's own default for 'this'"
    assert any(said in str(warning.message) for warning in heard) == own


def entropy(of, function, *options):
    """A loss behind probabilities, whose logits it takes where TensorFlow compiles the model."""

    def score(x):
        classes = tf.zeros_like(x) + tf.one_hot(3, 4)
        given = classes if of != "sparse_categorical_crossentropy" else tf.argmax(classes, -1)
        return getattr(keras.losses, of)(given, function(4 * x), *options)[:, None]

    return score


#: What a layer computes, and whether it is something else where TensorFlow compiles it.
COMPILED = {
    "sigmoid": (entropy("binary_crossentropy", tf.sigmoid), True),
    "softmax": (entropy("categorical_crossentropy", tf.nn.softmax), True),
    "sparse": (entropy("sparse_categorical_crossentropy", tf.nn.softmax), True),
    "logits": (entropy("categorical_crossentropy", tf.identity, True), False),
    "softmax of Keras": (entropy("categorical_crossentropy", keras.ops.softmax), False),
    "asked": (lambda x: x * (2.0 if tf.executing_eagerly() else 3.0), True),
}


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("name", COMPILED)
def test_what_is_compiled_is_converted(name, given):
    function, other = COMPILED[name]
    rows = 8 * np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    x = keras.Input((4,))
    model = keras.Model(x, L.Lambda(function)(x))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        converted = to_onnx(model, sample=rows if given else None)
    np.testing.assert_allclose(run(converted, rows)[0], model.predict(rows, verbose=0), rtol=1e-6)
    told = [w for w in caught if "where it is called, model(x)" in str(w.message)]
    assert [w.filename for w in told] == [__file__] * other


def test_a_model_that_predicts_uncompiled_is_not_compiled():
    x = keras.Input((4,))
    model = keras.Model(x, L.Lambda(COMPILED["asked"][0])(x))
    model.run_eagerly = True
    with pytest.raises(ConversionError, match=r"differs from the Keras model by 0\.5"):
        to_onnx(model)
