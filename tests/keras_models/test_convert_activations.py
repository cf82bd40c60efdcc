"""What the layer table says of activations like ReLU, by their formulas."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
import tensorflow as tf  # noqa: E402
from onnxattr.converters.keras import to_onnx  # noqa: E402
from support.converted import by_path, read_rows, values  # noqa: E402
from support.small_keras import image_model  # noqa: E402

L = keras.layers
pytestmark = pytest.mark.usefixtures("fresh_keras")


RELU = {"xplique": True, "max_value": None, "threshold": 0.0, "negative_slope": 0.0}
CONV = {"filters": 4, "kernel_size": 3, "name": "layer"}

# Layers, path of the row with the record, what the record says, operators between its input and output.
RELUS = {
    "layer": (lambda: [L.ReLU(name="layer")], "layer", {**RELU, "kind": "relu"}, ["Relu"]),
    "activation layer": (
        lambda: [L.Activation("relu", name="layer")],
        "layer",
        {**RELU, "kind": "relu"},
        ["Relu"],
    ),
    "activation of tensorflow": (
        lambda: [L.Activation(tf.nn.relu, name="layer")],
        "layer",
        {**RELU, "kind": "relu"},
        ["Relu"],
    ),
    "in a convolution": (
        lambda: [L.Conv2D(**CONV, activation="relu")],
        "layer",
        {**RELU, "kind": "relu"},
        ["Relu"],
    ),
    "in a dense layer": (
        lambda: [L.Dense(4, activation="relu", name="layer")],
        "layer",
        {**RELU, "kind": "relu"},
        ["Relu"],
    ),
    "limited to 6": (
        lambda: [L.ReLU(max_value=6, name="layer")],
        "layer",
        {**RELU, "kind": "relu6", "max_value": 6.0},
        ["Clip"],
    ),
    "limited to 2": (
        lambda: [L.ReLU(max_value=2, name="layer")],
        "layer",
        {**RELU, "kind": "relu_max", "max_value": 2.0},
        ["Relu", "Min", "Max"],
    ),
    "threshold": (
        lambda: [L.ReLU(threshold=0.5, name="layer")],
        "layer",
        {**RELU, "kind": "relu_threshold", "threshold": 0.5},
        None,
    ),
    "negative slope": (
        lambda: [L.ReLU(negative_slope=0.25, name="layer")],
        "layer",
        {**RELU, "kind": "leaky_relu", "negative_slope": 0.25},
        ["LeakyRelu"],
    ),
    "relu6 activation": (
        lambda: [L.Conv2D(**CONV, activation="relu6")],
        "layer",
        {**RELU, "kind": "relu6", "max_value": 6.0, "xplique": False},
        ["Clip"],
    ),
    "leaky layer": (
        lambda: [L.LeakyReLU(0.25, name="layer")],
        "layer",
        {**RELU, "kind": "leaky_relu", "negative_slope": 0.25, "xplique": False},
        ["LeakyRelu"],
    ),
    "leaky activation": (
        lambda: [L.Dense(4, activation="leaky_relu", name="layer")],
        "layer",
        {**RELU, "kind": "leaky_relu", "negative_slope": pytest.approx(0.2), "xplique": False},
        ["LeakyRelu"],
    ),
    "learnt slope": (
        lambda: [L.PReLU(name="layer", alpha_initializer="random_uniform")],
        "layer",
        {**RELU, "kind": "prelu", "negative_slope": None, "xplique": False},
        ["Neg", "Relu", "Mul", "Relu", "Add"],
    ),
    "hard sigmoid": (
        lambda: [L.Activation("hard_sigmoid", name="layer")],
        "layer",
        {**RELU, "kind": "hard_sigmoid", "max_value": 6.0, "xplique": False},
        None,
    ),
    "hard swish": (
        lambda: [L.Activation("hard_silu", name="layer")],
        "layer",
        {**RELU, "kind": "hard_sigmoid", "max_value": 6.0, "xplique": False},
        None,
    ),
    "celu": (
        lambda: [L.Dense(3, activation="celu", name="layer")],
        "layer",
        {**RELU, "kind": "celu", "negative_slope": None, "xplique": False},
        ["Max"],
    ),
    "lambda": (
        lambda: [L.Lambda(tf.nn.relu, name="layer")],
        "layer",
        {**RELU, "kind": "relu", "xplique": False},
        ["Relu"],
    ),
    "nested": (
        lambda: [keras.Sequential([L.Input((12, 12, 3)), L.ReLU(name="inner")], name="layer")],
        "layer/inner",
        {**RELU, "kind": "relu", "xplique": False},
        ["Relu"],
    ),
    "wrapped": (
        lambda: [L.TimeDistributed(L.Dense(4, activation="relu", name="inner"), name="layer")],
        "layer",  # the wrapper calls the inner layer behind Keras' back
        {**RELU, "kind": "relu", "xplique": False},
        None,
    ),
}

FORMULAS = {
    "relu": lambda x, record: np.maximum(x, 0),
    "relu6": lambda x, record: np.clip(x, 0, 6),
    "relu_max": lambda x, record: np.clip(x, 0, record["max_value"]),
    "relu_threshold": lambda x, record: np.where(x > record["threshold"], x, 0),
    "leaky_relu": lambda x, record: np.where(x > 0, x, record["negative_slope"] * x),
    "hard_sigmoid": lambda x, record: np.clip(x + 3, 0, 6) / 6,
}


@pytest.mark.parametrize("name", RELUS)
def test_relu_like_functions(name):
    make, path, expected, operators = RELUS[name]
    model = image_model(*make(), L.Flatten(), L.Dense(2))
    converted = to_onnx(model)
    record = by_path(converted)[path]["relu"]
    if isinstance(record, list):  # once per time step of a wrapper
        assert all(
            item.items() >= {k: v for k, v in expected.items() if v is not None}.items() for item in record
        )
        record = record[0]
    assert {key: record[key] for key in expected} == expected
    nodes = {node.name: node for node in converted.graph.node}
    if operators is not None:
        assert sorted(nodes[n].op_type for n in record["nodes"]) == sorted(operators)
    assert record["output"] in nodes[record["nodes"][-1]].output
    assert any(record["input"] in nodes[n].input for n in record["nodes"])
    if record["kind"] in FORMULAS:
        x = 4 * np.random.default_rng(0).normal(size=(2, 12, 12, 3)).astype("float32")
        before, after = values(converted, [record["input"], record["output"]], [x])
        assert before.min() < 0 < before.max()
        np.testing.assert_allclose(after, FORMULAS[record["kind"]](before, record), atol=1e-6)


@pytest.mark.parametrize("activation", ["gelu", "tanh", "softmax", "swish", "elu", "linear"])
def test_other_activations_have_no_record(activation):
    converted = to_onnx(image_model(L.Dense(3, activation=activation, name="layer"), L.Flatten()))
    assert by_path(converted)["layer"]["relu"] is None


def test_relu_of_keras_operations_gets_a_row_of_its_own():
    x = keras.Input((5,))
    converted = to_onnx(keras.Model(x, L.Dense(2)(keras.ops.relu(L.Dense(4)(x)))))
    bare = [row for row in read_rows(converted) if row["class"] == "Relu"]
    assert [row["index"] for row in bare] == [None]
    assert bare[0]["relu"]["kind"] == "relu"
    assert bare[0]["relu"]["xplique"] is False
