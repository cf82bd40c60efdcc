"""Which function of a SavedModel folder is converted: its signatures, and the Keras model that it remembers."""

import warnings

import numpy as np
import pytest

pytest.importorskip("keras")
import tensorflow as tf
from onnxattr.converters.common.verify import difference
from onnxattr.converters.files import convert_file
from onnxattr.converters.keras import to_onnx
from support.converted import names_of, read_rows, run

from onnxattr.errors import ConversionError

pytestmark = pytest.mark.usefixtures("fresh_keras")
ROWS = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")


class Both(tf.Module):
    """Scores, and the numbers that they are made of."""

    def __init__(self):
        self.weight = tf.Variable(tf.random.normal((6, 3), seed=1))

    @tf.function(input_signature=[tf.TensorSpec((None, 6), tf.float32, name="values")])
    def scores(self, values):
        return {"scores": tf.tanh(values @ self.weight)}

    @tf.function(input_signature=[tf.TensorSpec((None, 6), tf.float32, name="values")])
    def inner(self, values):
        return {"inner": values @ self.weight}


def save_both(folder, *names):
    module = Both()
    tf.saved_model.save(
        module, str(folder), signatures=dict(zip(names, (module.scores, module.inner), strict=True))
    )
    return module


@pytest.mark.parametrize(
    ("names", "asked", "outputs"),
    [
        (("serving_default", "inner"), None, ["scores"]),
        (("serving_default", "inner"), "inner", ["inner"]),
        (("scores", "inner"), "scores", ["scores"]),
    ],
)
def test_signature(tmp_path, names, asked, outputs):
    module = save_both(tmp_path / "both", *names)
    converted = to_onnx(tmp_path / "both", signature=asked)
    assert names_of(converted) == (["values"], outputs)
    expected = getattr(module, outputs[0])(ROWS)[outputs[0]]
    assert difference(run(converted, ROWS)[0], np.asarray(expected)) < 1e-5


def test_signature_that_is_not_said(tmp_path):
    save_both(tmp_path / "both", "scores", "inner")
    with pytest.raises(ConversionError, match=r"several signatures, 'inner', 'scores', .*--signature NAME"):
        to_onnx(tmp_path / "both")
    with pytest.raises(ConversionError, match="no signature 'score'; it has 'inner', 'scores'"):
        convert_file(tmp_path / "both", tmp_path / "both.onnx", signature="score")


@pytest.mark.parametrize("name", ["model.keras", "model.skops"])
def test_signature_of_another_file(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(ConversionError, match="is for SavedModel folders"):
        convert_file(tmp_path / name, tmp_path / "out.onnx", signature="scores", sample=ROWS)


def keras_model(tf_keras):
    first, second = tf_keras.Input((6,), name="features"), tf_keras.Input((6,), name="others")
    hidden = tf_keras.layers.Dense(4, "relu", name="hidden")(first * second)
    return tf_keras.Model({"second": second, "first": first}, [tf_keras.layers.Dense(3)(hidden), hidden])


def served_with(model, change):
    spec = tf.TensorSpec((None, 6), tf.float32)

    @tf.function(input_signature=[spec, spec])
    def serve(features, others):
        return {"scores": model({"first": change(features), "second": others})[0]}

    return serve


@pytest.mark.parametrize("key", ["serving_default", "serve"])
def test_signature_that_preprocesses(tmp_path, key):
    """The numbers are those that the folder serves, not those of the Keras model in it."""
    model = keras_model(pytest.importorskip("tf_keras"))
    serve = served_with(model, lambda x: (x - 100) / 10)
    model.save(tmp_path / "folder", save_format="tf", signatures={key: serve})
    with pytest.warns(UserWarning, match="serves something else than the Keras model in it"):
        converted = to_onnx(tmp_path / "folder")
    assert read_rows(converted) == []
    feeds = {"features": 100 + 10 * ROWS, "others": ROWS + 1}
    inputs = [feeds[name] for name in names_of(converted)[0]]
    assert difference(run(converted, *inputs)[0], np.asarray(serve(**feeds)["scores"])) < 1e-5


def test_signature_that_only_calls_the_model(tmp_path):
    """Layers keep their names where the default signature computes what the Keras model does."""
    model = keras_model(pytest.importorskip("tf_keras"))
    model.save(tmp_path / "folder", save_format="tf")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        converted = to_onnx(tmp_path / "folder")
    assert "hidden" in [row["name"] for row in read_rows(converted)]


def test_graph_to_serve_beside_one_to_train(tmp_path):
    """A folder of TF 1 with two graphs: the one that is tagged "serve"."""
    v1 = tf.compat.v1
    weight = np.random.default_rng(1).normal(size=(6, 3)).astype("float32")
    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, (None, 6), name="x")
        y = tf.tanh(x @ v1.get_variable("w", initializer=weight))
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        with v1.Session(graph=graph) as session:
            session.run(v1.global_variables_initializer())
            builder = v1.saved_model.Builder(str(tmp_path / "old"))
            builder.add_meta_graph_and_variables(session, ["train"], {"training": signature})
            builder.add_meta_graph(["serve"], {"serving_default": signature})
            builder.save()
    converted = to_onnx(tmp_path / "old", trust=True)
    assert difference(run(converted, ROWS)[0], np.tanh(ROWS @ weight)) < 1e-5
