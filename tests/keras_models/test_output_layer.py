"""output_layer really cuts a converted model: the same numbers as the Keras model cut at that layer."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
import tensorflow as tf  # noqa: E402
from onnxattr.converters.keras import to_onnx  # noqa: E402
from support.small_keras import seeded, with_a_backbone  # noqa: E402
from support.small_models import rows  # noqa: E402

from onnxattr.attributions import GradientInput, IntegratedGradients, Saliency  # noqa: E402
from onnxattr.errors import ModelError  # noqa: E402

L = keras.layers
IMAGES = rows(4, 8, 8, 3)
BEFORE = "hidden/before_activation"


@pytest.fixture(scope="module")
def functional():
    return with_a_backbone()


@pytest.fixture(scope="module")
def converted(functional):
    return to_onnx(functional)


def at_layer(model, **which):
    return keras.Model(model.inputs, model.get_layer(**which).output)


def at_nested(model, name):
    backbone = model.get_layer("backbone")
    inner = keras.Model(backbone.inputs, backbone.get_layer(name).output)
    before = at_layer(model, name="relu")
    return lambda x: inner(before(x))


def before_activation(model):
    hidden, before = model.get_layer("hidden"), at_layer(model, name="drop")
    return lambda x: before(x) @ hidden.kernel + hidden.bias


def reference(function, x, targets):
    """Output and x times gradient of sum(output * targets), by TensorFlow."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        output = function(x)
        score = tf.reduce_sum(output * targets(output.shape))
    return output.numpy(), (x * tape.gradient(score, x)).numpy()


def weights_like(shape):
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


def check(function, model, output_layer, x=IMAGES):
    prediction, expected = reference(function, x, weights_like)
    method = GradientInput(model, output_layer=output_layer)
    found = method.predict(x)
    assert found.shape == prediction.shape
    np.testing.assert_allclose(found, prediction, rtol=1e-5, atol=1e-5 * np.abs(prediction).max())
    maps = method.explain(x, weights_like(prediction.shape))
    assert np.abs(maps - expected).max() <= 1e-5 * np.abs(expected).max()


LAYERS = ["conv", "bn", "relu", "backbone", "mean", "drop", "hidden", "logits", "probabilities"]


@pytest.mark.parametrize("name", LAYERS)
def test_layer_names(functional, converted, name):
    check(at_layer(functional, name=name), converted, name)


@pytest.mark.parametrize("index", [2, 3, 5, 8, 10, -1, -2, -3, -6, np.int64(-2)])
def test_layer_indices(functional, converted, index):
    check(at_layer(functional, index=index), converted, index)


@pytest.mark.parametrize(
    "path", ["backbone/inner_conv", "backbone/inner_relu", "backbone/inner_pool", "inner_conv"]
)
def test_layers_of_a_nested_model(functional, converted, path):
    check(at_nested(functional, path.split("/")[-1]), converted, path)


def test_value_names(functional, converted):
    check(before_activation(functional), converted, BEFORE)


def test_node_names(functional, converted):
    node = next(node for node in converted.graph.node if BEFORE in node.output)
    assert node.name not in {name for node in converted.graph.node for name in node.output}
    check(before_activation(functional), converted, node.name)


def test_a_path_wins_over_a_deeper_layer_of_the_same_name():
    inner = keras.Sequential([keras.Input((6,)), L.Dense(5, activation="tanh", name="twin")], name="inner")
    model = seeded(
        keras.Sequential([keras.Input((6,)), inner, L.Dense(4, name="twin"), L.Softmax(name="end")])
    )
    converted, x = to_onnx(model), rows(6, 6)
    check(at_layer(model, name="twin"), converted, "twin", x)
    check(at_layer(model, name="inner"), converted, "inner/twin", x)


def test_indices_of_a_sequential_model_count_no_input_layer():
    layers = [L.Dense(5, activation="tanh", name="a"), L.Dense(4, name="b"), L.Softmax(name="c")]
    model = seeded(keras.Sequential([keras.Input((6,)), *layers]))
    converted, x = to_onnx(model), rows(6, 6)
    for index in (0, 1, 2, -1, -2, -3):
        check(at_layer(model, index=index), converted, index, x)
    with pytest.raises(ModelError, match="0 to 2"):
        Saliency(converted, output_layer=3)


def test_a_folded_layer_says_which_option_keeps_it():
    """A convolution without bias goes into the BatchNormalization after it."""
    layers = [
        L.Conv2D(4, 3, use_bias=False, name="conv"),
        L.BatchNormalization(name="bn"),
        L.Flatten(),
        L.Dense(3),
    ]
    model = seeded(keras.Sequential([keras.Input((8, 8, 3)), *layers]))
    converted = to_onnx(model)
    for output_layer in ("conv", 0):
        with pytest.raises(ModelError, match=r"'conv'.*folded into .*'bn'.*keep_layers=\['conv'\]"):
            Saliency(converted, output_layer=output_layer)
    check(at_layer(model, name="bn"), converted, "bn")
    check(at_layer(model, name="conv"), to_onnx(model, keep_layers=["conv"]), "conv")


def test_a_layer_without_a_value_is_named_too():
    """Padding becomes an attribute of the convolution."""
    model = keras.Sequential([keras.Input((8, 8, 3)), L.ZeroPadding2D(1, name="pad"), L.Conv2D(2, 3)])
    with pytest.raises(ModelError, match="'pad' is not in the converted model"):
        Saliency(to_onnx(model), output_layer="pad")


def test_a_layer_used_twice_stands_for_its_first_use_as_in_keras():
    x = keras.Input((6,), name="x")
    shared = L.Dense(6, activation="tanh", name="shared")
    model = seeded(keras.Model(x, L.Dense(3, name="out")(shared(shared(x)))))
    converted = to_onnx(model)
    for name in ("shared", 1, "shared#1"):
        check(keras.Model(x, shared.output), converted, name, rows(6, 6))
    check(lambda x: shared(shared(x)), converted, "shared#2", rows(6, 6))


@pytest.mark.parametrize("output_layer", [None, "logits", -2])
def test_labels_choose_a_class_of_the_cut(functional, converted, output_layer):
    """The cut is real: probabilities and logits of one class have different maps."""
    layer = "logits" if output_layer else "probabilities"
    labels = np.array([3, 0, 1])
    _, expected = reference(
        at_layer(functional, name=layer), IMAGES, lambda shape: np.eye(4, dtype=np.float32)[labels]
    )
    maps = GradientInput(converted, output_layer, operator="classification").explain(IMAGES, labels)
    assert np.abs(maps - expected).max() <= 1e-5 * np.abs(expected).max()


def test_completeness_holds_at_the_cut(converted):
    method = IntegratedGradients(converted, "logits", steps=500, reducer=None)
    labels = np.array([3, 0, 1])
    scores = method.predict(IMAGES)[np.arange(3), labels], method.predict(0 * IMAGES)[np.arange(3), labels]
    sums = method.explain(IMAGES, labels).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(sums, scores[0] - scores[1], atol=5e-3 * np.abs(scores[0]).max())
