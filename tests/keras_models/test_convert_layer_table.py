"""The layer table of converted Keras models: names, indices, folded layers, and what is a ReLU to whom."""

import json

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from onnxattr.converters.common.verify import difference  # noqa: E402
from onnxattr.converters.keras import to_onnx  # noqa: E402
from support.converted import by_path, run, values  # noqa: E402
from support.small_keras import image_model  # noqa: E402

from onnxattr.errors import ConversionError  # noqa: E402

L = keras.layers
pytestmark = pytest.mark.usefixtures("fresh_keras")


def folding_model():
    x = keras.Input((12, 12, 3), name="image")
    y = L.Conv2D(4, 3, use_bias=False, name="conv")(x)
    y = L.ReLU(name="relu")(L.BatchNormalization(name="bn")(y))
    y = L.DepthwiseConv2D(3, use_bias=False, name="depthwise")(y)
    y = L.BatchNormalization(name="bn2")(y)
    model = keras.Model(x, L.GlobalAveragePooling2D(name="pool")(y))
    for weight in model.weights:
        weight.assign(np.random.default_rng(0).uniform(0.5, 1.5, weight.shape))
    return model


def convolutions(model):
    return [len(node.input) for node in model.graph.node if node.op_type == "Conv"]


def test_layer_folded_into_batch_normalisation_is_named_as_such():
    converted = to_onnx(folding_model())
    rows = by_path(converted)
    assert rows["conv"]["output"] is None
    assert "'bn'" in rows["conv"]["folded"]
    assert "keep_layers=['conv']" in rows["conv"]["folded"]
    assert convolutions(converted)[0] == 3  # the convolution took the normalisation as its bias
    assert all(
        rows[name]["output"] and not rows[name]["folded"] for name in ("bn", "relu", "depthwise", "bn2")
    )


@pytest.mark.parametrize("keep", ["conv", ["conv"], "all", ["all"], ["relu", "conv"]])
def test_kept_layer_has_a_value(keep):
    model = folding_model()
    converted = to_onnx(model, keep_layers=keep)
    row = by_path(converted)["conv"]
    assert row["folded"] is None
    x = np.random.default_rng(0).normal(size=(2, 12, 12, 3)).astype("float32")
    expected = np.asarray(model.get_layer("conv")(x))
    assert difference(values(converted, [row["output"]], [x])[0], expected) < 1e-5
    assert convolutions(converted)[0] == 2


PADDINGS = {
    "1d": (L.ZeroPadding1D, L.Conv1D, (12, 3)),
    "2d": (L.ZeroPadding2D, L.Conv2D, (12, 12, 3)),
    "3d": (L.ZeroPadding3D, L.Conv3D, (6, 6, 6, 3)),
}


@pytest.mark.parametrize("kind", PADDINGS)
def test_padding_is_named_with_what_keeps_it_apart_from_its_convolution(kind):
    padding, convolution, shape = PADDINGS[kind]
    model = keras.Sequential([L.Input(shape), padding(1, name="pad"), convolution(4, 3), L.Flatten()])
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    row = by_path(to_onnx(model))["pad"]
    assert row["output"] or "keep_layers=['pad']" in row["folded"]
    for keep in ("pad", "all"):
        converted = to_onnx(model, keep_layers=keep)
        row = by_path(converted)["pad"]
        expected = np.asarray(model.get_layer("pad")(x))
        np.testing.assert_array_equal(values(converted, [row["output"]], [x])[0], expected)
        assert row["output"] in {name for node in converted.graph.node for name in node.input}


def test_unknown_kept_layer_is_an_error_with_suggestions():
    with pytest.raises(ConversionError, match=r"'cnov'.*did you mean.*'conv'"):
        to_onnx(folding_model(), keep_layers=["cnov"])


def test_taps_leave_the_main_path_alone():
    def operators(model):
        needed, wanted = set(), [value.name for value in model.graph.output]
        producers = {name: node for node in model.graph.node for name in node.output}
        while wanted:
            node = producers.get(wanted.pop())
            if node is not None and node.name not in needed:
                needed.add(node.name)
                wanted.extend(node.input)
        return sorted(node.op_type for node in model.graph.node if node.name in needed)

    layers = [
        L.Conv2D(4, 3, activation="relu"),
        L.MaxPooling2D(),
        L.Conv2D(4, 3, padding="same"),
        L.ReLU(),
        L.GlobalAveragePooling2D(),
    ]
    expected = [
        "Conv",
        "Conv",
        "GlobalAveragePool",
        "MatMul",
        "MaxPool",
        "Relu",
        "Relu",
        "Squeeze",
        "Transpose",
    ]
    assert operators(to_onnx(image_model(*layers, L.Dense(2)))) == expected


def test_rows_follow_the_model():
    inner = keras.Sequential(
        [L.Input((6,)), L.Dense(6, name="inner_dense"), L.ReLU(name="inner_relu")], name="inner"
    )
    x = keras.Input((6,), name="features")
    shared = L.Dense(6, activation="relu", name="shared")
    y = L.Dense(2, name="head")(inner(shared(shared(x))))
    model = keras.Model(x, y)
    unused = keras.Model(x, L.Dense(3, name="unused")(x))
    converted = to_onnx(model)
    table = json.loads({entry.key: entry.value for entry in converted.metadata_props}["onnxattr.layers"])
    assert (table["version"], table["framework"]) == (1, "keras")
    found = [(row["index"], row["path"], row["class"], row.get("calls")) for row in table["layers"]]
    assert found == [
        (0, "features", "InputLayer", None),
        (1, "shared", "Dense", 2),
        (None, "shared#2", "Dense", 2),
        (2, "inner", "Sequential", None),
        (None, "inner/inner_dense", "Dense", None),
        (None, "inner/inner_relu", "ReLU", None),
        (3, "head", "Dense", None),
    ]
    rows = by_path(converted)
    assert rows["features"]["output"] == "features"
    assert rows["head"]["output"] == converted.graph.output[0].name == "head"
    assert len(rows["shared"]["relu"]) == 2
    data = np.random.default_rng(0).normal(size=(3, 6)).astype("float32")
    once, twice = values(converted, [rows[name]["output"] for name in ("shared", "shared#2")], [data])
    assert difference(once, np.asarray(keras.Model(x, shared.output)(data))) < 1e-6
    assert difference(twice, np.asarray(shared(shared(data)))) < 1e-6
    assert len(unused.layers) == 2


def test_layer_with_several_outputs_lists_them():
    x = keras.Input((5, 3), name="x")
    _, h, c = L.LSTM(4, return_state=True, name="lstm")(x)
    model = keras.Model(x, L.Add(name="sum")([h, c]))
    converted = to_onnx(model)
    names = by_path(converted)["lstm"]["output"]
    data = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    for got, want in zip(values(converted, names, [data]), model.get_layer("lstm")(data), strict=True):
        assert difference(got, np.asarray(want)) < 1e-5


def test_dropout_shares_the_value_before_it():
    converted = to_onnx(
        keras.Sequential([L.Input((4,)), L.Dense(3, name="a"), L.Dropout(0.5, name="b"), L.Dense(2)])
    )
    rows = by_path(converted)
    assert rows["a"]["output"] == rows["b"]["output"]


def test_layer_outputs_keep_the_layout_of_keras():
    model = image_model(
        L.Conv2D(4, 3, name="conv"), L.ReLU(name="relu"), L.MaxPooling2D(name="pool"), size=10
    )
    converted = to_onnx(model)
    rows = by_path(converted)
    x = np.random.default_rng(0).normal(size=(2, 10, 10, 3)).astype("float32")
    shapes = [
        value.shape for value in values(converted, [rows[n]["output"] for n in ("conv", "relu", "pool")], [x])
    ]
    assert shapes == [(2, 8, 8, 4), (2, 8, 8, 4), (2, 4, 4, 4)]


def test_tf_keras_layers_have_rows():
    tf_keras = pytest.importorskip("tf_keras")
    K = tf_keras.layers
    model = tf_keras.Sequential(
        [
            K.InputLayer((12, 12, 3)),
            K.Conv2D(4, 3, use_bias=False, name="conv"),
            K.BatchNormalization(name="bn"),
            K.ReLU(6.0, name="relu"),
            K.Conv2D(2, 3, activation="relu", name="last"),
            K.Flatten(name="flat"),
        ]
    )
    converted = to_onnx(model)
    rows = by_path(converted)
    assert [rows[n]["index"] for n in ("conv", "bn", "relu", "last", "flat")] == [0, 1, 2, 3, 4]
    assert rows["conv"]["folded"]
    assert (rows["relu"]["relu"]["kind"], rows["relu"]["relu"]["xplique"]) == ("relu6", True)
    assert (rows["last"]["relu"]["kind"], rows["last"]["relu"]["xplique"]) == ("relu", True)
    x = np.random.default_rng(0).normal(size=(2, 12, 12, 3)).astype("float32")
    wanted = tf_keras.Model(model.inputs, [model.get_layer(n).output for n in ("bn", "relu", "last")])(x)
    found = values(converted, [rows[n]["output"] for n in ("bn", "relu", "last")], [x])
    assert max(difference(got, np.asarray(want)) for got, want in zip(found, wanted, strict=True)) < 1e-5


@pytest.mark.parametrize("kind", ["subclassed", "wide and deep"])
def test_layers_that_tf_keras_builds_anew(kind):
    """A Sequential of no declared shape is built once more for a batch of any size."""
    tf_keras = pytest.importorskip("tf_keras")
    layers = [tf_keras.layers.Dense(3, "relu", name="hidden"), tf_keras.layers.Dense(1, name="last")]
    net = tf_keras.Sequential(layers, name="net")

    class Net(tf_keras.Model):
        def __init__(self):
            super().__init__()
            self.net = net

        def call(self, x):
            return self.net(x)

    rows = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    made = {
        "subclassed": (Net, rows),
        "wide and deep": (
            lambda: tf_keras.experimental.WideDeepModel(tf_keras.experimental.LinearModel(), net),
            [rows, 2 * rows],
        ),
    }
    make, sample = made[kind]
    model = make()
    with pytest.raises(ConversionError, match=r"has no weights yet: .*Call it on a batch"):
        to_onnx(model, sample=sample)
    expected = model(sample).numpy()
    converted = to_onnx(model, sample=sample)
    given = sample if isinstance(sample, list) else [sample]
    np.testing.assert_allclose(run(converted, *given)[0], expected, atol=1e-6)
    found = by_path(converted)
    assert [path for path in found if path.startswith("net")] == ["net", "net/hidden", "net/last"]


def test_hard_sigmoid_of_tf_keras_is_no_relu():
    tf_keras = pytest.importorskip("tf_keras")
    layers = [
        tf_keras.layers.InputLayer((4,)),
        tf_keras.layers.Dense(3, activation="hard_sigmoid", name="gate"),
    ]
    converted = to_onnx(tf_keras.Sequential(layers))
    record = by_path(converted)["gate"]["relu"]
    assert (record["kind"], record["xplique"], record["max_value"]) == ("hard_sigmoid", False, 1.0)
    before, after = values(converted, [record["input"], record["output"]], [np.float32([[9, -9, 3, 1]])])
    np.testing.assert_allclose(after, np.clip(0.2 * before + 0.5, 0, 1), atol=1e-6)


@pytest.mark.parametrize("opset", [13, 15, 17, 18])
def test_table_at_every_opset(opset):
    model = image_model(
        L.Conv2D(4, 3, activation="relu", name="conv"), L.GlobalAveragePooling2D(), L.Dense(2)
    )
    converted = to_onnx(model, opset=opset)
    assert {entry.domain: entry.version for entry in converted.opset_import}[""] == opset
    row = by_path(converted)["conv"]
    x = np.random.default_rng(0).normal(size=(2, 12, 12, 3)).astype("float32")
    assert difference(values(converted, [row["output"]], [x])[0], np.asarray(model.layers[0](x))) < 1e-5
    assert row["relu"]["kind"] == "relu"
    versions = json.loads({e.key: e.value for e in converted.metadata_props}["onnxattr.converter"])
    assert versions["opset"] == opset
    assert versions.keys() == {"onnxattr", "tf2onnx", "tensorflow", "keras", "opset"}
