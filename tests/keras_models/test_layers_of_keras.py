"""Layers as what is explained: maps in the layer's own layout, with TensorFlow's gradient of the layer's output."""

import warnings

import numpy as np
import pytest

keras = pytest.importorskip("keras")
import tensorflow as tf  # noqa: E402
from onnxattr.converters.common.verify import values  # noqa: E402
from onnxattr.converters.keras import to_onnx  # noqa: E402
from support.small_keras import seeded, with_a_backbone  # noqa: E402
from support.small_models import rows  # noqa: E402

import onnxattr  # noqa: E402
from onnxattr import GradientInput  # noqa: E402
from onnxattr.errors import ModelError  # noqa: E402
from onnxattr.inspection import inspect  # noqa: E402
from onnxattr.loading.landmarks import embeddings, last_convolution  # noqa: E402
from onnxattr.loading.prepared import prepare  # noqa: E402

L = keras.layers
IMAGES, LABELS = rows(4, 8, 8, 3), np.array([2, 0, 1])


def branching():
    """A convolution whose output the graph reads in both layouts: another convolution, and a Flatten beside it."""
    image = keras.Input((6, 6, 3), name="image")
    x = L.Conv2D(4, 3, activation="tanh", name="conv")(image)
    deeper = L.Conv2D(4, 3, padding="same", activation="tanh", name="deeper")(x)
    both = L.Concatenate(name="both")(
        [L.Flatten(name="flat")(x), L.GlobalAveragePooling2D(name="mean")(deeper)]
    )
    return seeded(keras.Model(image, L.Dense(3, name="logits")(both)))


def series():
    steps = keras.Input((12, 2), name="series")
    x = L.Conv1D(4, 3, activation="relu", name="conv")(steps)
    x = L.SeparableConv1D(5, 3, name="separable")(x)
    return seeded(keras.Model(steps, L.Dense(3, name="logits")(L.GlobalMaxPooling1D(name="max")(x))))


def volume():
    voxels = keras.Input((5, 5, 5, 1), name="voxels")
    x = L.Conv3D(3, 2, activation="relu", name="conv")(voxels)
    x = L.Conv3DTranspose(2, 2, name="up")(x)
    return seeded(keras.Model(voxels, L.Dense(3, name="logits")(L.Flatten(name="flat")(x))))


def shared():
    """A layer that is called twice."""
    features = keras.Input((6,), name="features")
    twice = L.Dense(6, activation="tanh", name="twice")
    x = twice(twice(features))
    return seeded(keras.Model(features, L.Dense(3, name="logits")(x)))


def text():
    """Words and positions; a mask of floats beside them."""
    words = keras.Input((7,), dtype="int32", name="words")
    kinds = keras.Input((7,), dtype="int32", name="kinds")
    x = L.Embedding(20, 5, name="word")(words) + L.Embedding(2, 5, name="kind")(kinds)
    x = L.Dense(5, activation="tanh", name="dense")(x)
    return seeded(keras.Model([kinds, words], L.Dense(3, name="logits")(L.GlobalAveragePooling1D()(x))))


TEXT = [np.tile([[0, 0, 0, 1, 1, 1, 1]], (3, 1)), np.arange(21).reshape(3, 7) % 20]
MODELS = {
    "branching": (branching, rows(1, 6, 6, 3)),
    "series": (series, rows(2, 12, 2)),
    "volume": (volume, rows(3, 5, 5, 5, 1)),
    "shared": (shared, rows(4, 6)),
    "text": (text, TEXT),
}


@pytest.fixture(scope="module")
def models():
    made = {name: (make(), inputs) for name, (make, inputs) in MODELS.items()}
    return {name: (model, to_onnx(model), inputs) for name, (model, inputs) in made.items()}


def tape(model, outputs, x):
    """The activation of an inner tensor and the gradient of the chosen logits there."""
    inner = keras.Model(model.inputs, [outputs, model.outputs[0]])
    arrays = [tf.constant(array) for array in (x if isinstance(x, list) else [x])]
    with tf.GradientTape() as watched:
        found, logits = inner(arrays)
        score = tf.reduce_sum(logits * tf.one_hot(LABELS, logits.shape[-1]))
    return found.numpy(), watched.gradient(score, found).numpy()


def close(found, expected):
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


ROWS = [
    ("branching", "conv"), ("branching", "deeper"), ("branching", "flat"), ("branching", 1), ("branching", "mean"),
    ("series", "conv"), ("series", "separable"), ("series", -3),
    ("volume", "conv"), ("volume", "up"), ("volume", "flat"),
    ("text", "word"), ("text", "kind"), ("text", "dense"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "layer"), ROWS)
def test_gradient_times_activation(models, name, layer):
    model, converted, x = models[name]
    which = {"name": layer} if isinstance(layer, str) else {"index": layer}
    activation, gradient = tape(model, model.get_layer(**which).output, x)
    method = GradientInput(converted, wrt=layer, reducer=None)
    close(method.explain(x, LABELS), activation * gradient)
    assert method.explained == (model.get_layer(**which).name,)


def test_calls_of_a_shared_layer(models):
    model, converted, x = models["shared"]
    first, second = (node.outputs[0] for node in model.get_layer("twice")._inbound_nodes)
    for path, output in (("twice", first), ("twice#1", first), ("twice#2", second)):
        activation, gradient = tape(model, output, x)
        with warnings.catch_warnings(record=True) as said:
            method = GradientInput(converted, wrt=path)
        close(method.explain(x, LABELS), activation * gradient)
        assert len(said) == (path == "twice")


@pytest.mark.parametrize(
    "ask",
    [
        lambda converted: GradientInput(converted, wrt="twice"),
        lambda converted: GradientInput(converted, wrt=1),
        lambda converted: GradientInput(converted, output_layer="twice"),
        lambda converted: onnxattr.vjp(converted, wrt="twice"),
    ],
)
def test_the_first_of_several_calls_is_said(models, ask):
    with pytest.warns(UserWarning, match="is a layer that is called 2 times.*'twice#1'.*'twice#2'"):
        ask(models["shared"][1])


def tied():
    """Words whose table computes the logits too, behind a model that looks them up."""
    words = keras.Input((7,), dtype="int32", name="words")
    table = Tied(name="table")
    x = L.Dense(5, activation="tanh", name="dense")(table(words))
    inner = keras.Model(words, x, name="inner")
    return seeded(keras.Model(words, table(inner(words), reverse=True)))


class Tied(L.Layer):
    def build(self, _):
        self.table = self.add_weight(shape=(20, 5))

    def call(self, x, reverse=False):
        return tf.matmul(x, self.table, transpose_b=True) if reverse else tf.gather(self.table, x)


def test_a_layer_that_is_also_called_inside_another_is_asked_for():
    model, words = tied(), np.arange(21).reshape(3, 7) % 20
    converted = to_onnx(model)
    (logits,) = [value.name for value in converted.graph.output]
    for ask in (
        lambda: onnxattr.vjp(converted, wrt="table"),
        lambda: GradientInput(converted, wrt="table").explain(words),
        lambda: GradientInput(converted, output_layer="table"),
    ):
        with pytest.raises(ModelError, match=r"several places: \['inner/table', 'table#1'\]"):
            ask()
    weights = rows(2, 7, 20)
    dense = model.get_layer("inner").get_layer("dense")
    with tf.GradientTape() as watched:
        found = model.get_layer("table")(tf.constant(words))
        watched.watch(found)
        score = tf.reduce_sum(model.get_layer("table")(dense(found), reverse=True) * weights)
    gradient = onnxattr.vjp(converted, wrt="inner/table")
    feeds = {"words": words.astype(np.int32), f"{logits}_cotangent": weights}
    (name,) = [value.name for value in gradient.graph.output if value.name.endswith("_gradient")]
    close(values(gradient, [name], feeds)[name], watched.gradient(score, found).numpy())


LAST = {"branching": "deeper", "series": "separable", "volume": "up"}


@pytest.mark.parametrize("name", LAST)
def test_last_convolution(models, name):
    prepared = prepare(models[name][1], wrt=last_convolution)
    assert prepared.asked == (LAST[name],)
    assert last_convolution(prepared) == prepared.wrt[0]


def test_last_convolution_of_a_nested_model():
    assert prepare(to_onnx(with_a_backbone()), wrt=last_convolution).asked == ("backbone/inner_conv",)


def test_embeddings_words_first(models):
    prepared = prepare(models["text"][1], wrt=embeddings)
    assert prepared.asked == embeddings(prepared) == ("word", "kind")


def test_inspect_lists_layers_with_shapes_and_marks(models):
    text = inspect(models["branching"][1])
    assert "   1  conv  (Conv2D)  (N, 4, 4, 4)\n" in text
    assert "   2  deeper  (Conv2D)  (N, 4, 4, 4)   last convolution\n" in text
    assert "  word  (Embedding)  (N, 7, 5)   embedding\n" in inspect(models["text"][1])
