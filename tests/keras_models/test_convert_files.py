"""Keras files that the converter reads and those it refuses, and the ONNX file it writes."""

import io
import os
import sys
import zipfile

import numpy as np
import onnx
import pytest

keras = pytest.importorskip("keras")
import tensorflow as tf  # noqa: E402
from onnxattr.converters.common.verify import difference  # noqa: E402
from onnxattr.converters.keras import to_onnx  # noqa: E402
from onnxattr.converters.keras.reading import load as keras_loading  # noqa: E402
from support.converted import image, names_of, read_rows, run, small_model  # noqa: E402

from onnxattr.errors import ConversionError  # noqa: E402

L = keras.layers
pytestmark = pytest.mark.usefixtures("fresh_keras")


# Formats --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("suffix", [".keras", ".h5", ".hdf5"])
@pytest.mark.parametrize("as_text", [True, False])
def test_saved_file(tmp_path, suffix, as_text):
    model = small_model()
    file = tmp_path / f"model{suffix}"
    model.save(file)
    converted = to_onnx(str(file) if as_text else file)
    assert difference(run(converted, image())[0], np.asarray(model(image()))) < 1e-5
    assert [row["name"] for row in read_rows(converted)] == [layer.name for layer in model.layers]


def test_saved_model_of_keras_export(tmp_path):
    model = small_model()
    model.export(tmp_path / "exported", verbose=False)
    converted = to_onnx(tmp_path / "exported")
    assert difference(run(converted, image())[0], np.asarray(model(image()))) < 1e-5
    assert converted.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


def test_saved_model_of_tf_keras(tmp_path):
    tf_keras = pytest.importorskip("tf_keras")
    x = tf_keras.Input((6,), name="features")
    hidden = tf_keras.layers.Dense(4, activation="relu")(x)
    model = tf_keras.Model(
        x, {"kind": tf_keras.layers.Dense(3)(hidden), "area": tf_keras.layers.Dense(1)(hidden)}
    )
    model.save(tmp_path / "folder", save_format="tf")
    converted = to_onnx(tmp_path / "folder")
    assert names_of(converted)[0] == ["features"]
    data = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
    expected = model(data)
    # The signature names its outputs after layers, not after the keys.
    results = {array.shape[1]: array for array in run(converted, data)}
    for key, size in (("kind", 3), ("area", 1)):
        assert difference(results[size], np.asarray(expected[key])) < 1e-5


def test_saved_model_of_plain_tensorflow(tmp_path):
    class Scaled(tf.Module):
        def __init__(self):
            self.weight = tf.Variable(tf.random.normal((4, 2), seed=1))

        @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, name="values")])
        def __call__(self, values):
            return {"scaled": tf.nn.relu(values @ self.weight)}

    module = Scaled()
    tf.saved_model.save(module, str(tmp_path / "plain"), signatures=module.__call__)
    converted = to_onnx(tmp_path / "plain")
    assert names_of(converted) == (["values"], ["scaled"])
    data = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
    assert difference(run(converted, data)[0], np.asarray(module(data)["scaled"])) < 1e-5


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_files_of_tf_keras(tmp_path, suffix):
    tf_keras = pytest.importorskip("tf_keras")
    K = tf_keras.layers
    model = tf_keras.Sequential([K.InputLayer((5, 3)), K.LSTM(4), K.Dense(2, activation="softmax")])
    file = tmp_path / f"old{suffix}"
    model.save(file)
    converted = to_onnx(file)
    data = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    assert difference(run(converted, data)[0], np.asarray(model(data))) < 1e-5


def test_loading_passes_models_through():
    model = small_model()
    assert keras_loading.load(model) is model


# Files that are refused -----------------------------------------------------------------------------------------
def write_damaged_zip(path):
    path.write_bytes(b"PK\x03\x04 and then nothing")


def write_zip_without_model(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no model here")


def write_truncated_hdf5(path):
    small_model().save(path)
    path.write_bytes(path.read_bytes()[:3000])


def write_renamed(path):
    small_model().save(path.with_suffix(".keras"))
    path.write_bytes(path.with_suffix(".keras").read_bytes())


def write_custom_class(path):
    @keras.saving.register_keras_serializable("tests", "Vanishing")
    class Vanishing(L.Layer):
        def call(self, x):
            return x

    keras.Sequential([L.Input((3,)), Vanishing()]).save(path)
    del keras.saving.get_custom_objects()["tests>Vanishing"]


def write_lambda(path):
    keras.Sequential([L.Input((3,)), L.Lambda(lambda t: t * 2)]).save(path)


FILES = {
    "text.keras": (lambda path: path.write_text("hello"), r"no Keras model file.*damaged"),
    "empty.h5": (lambda path: path.write_bytes(b""), r"no Keras model file"),
    "damaged.keras": (write_damaged_zip, r"no Keras model file.*damaged"),
    "other.keras": (write_zip_without_model, r"no Keras model file"),
    "short.h5": (write_truncated_hdf5, r"HDF5 file .* is damaged"),
    "weights.weights.h5": (
        lambda path: small_model().save_weights(path),
        r"holds weights only.*load_weights",
    ),
    "renamed.zip": (write_renamed, r"format .keras; rename it"),
    "custom.keras": (write_custom_class, r"cannot load.*custom_objects"),
    "lambda.keras": (write_lambda, r"Python code \(a Lambda layer\).*safe_mode=False"),
    "lambda.h5": (write_lambda, r"Python code \(a Lambda layer\).*safe_mode=False"),
    "folder": (lambda path: path.mkdir(), r"no SavedModel: it has no saved_model.pb"),
}


@pytest.mark.parametrize("name", FILES)
def test_file_that_is_refused(tmp_path, name):
    write, message = FILES[name]
    write(tmp_path / name)
    with pytest.raises(ConversionError, match=message):
        to_onnx(tmp_path / name)


def test_what_keras_2_misses_in_its_file_is_said_too(tmp_path):
    tf_keras = pytest.importorskip("tf_keras")

    class Own(tf_keras.layers.Layer):
        pass

    x = tf_keras.Input((3,), name="sound/power")  # a name that Keras 3 does not take
    tf_keras.Model(x, Own()(x)).save(tmp_path / "model.h5")
    with pytest.raises(
        ConversionError, match=r"cannot contain.*nor can tf_keras.*Unknown layer: 'Own'.*Load the"
    ):
        to_onnx(tmp_path / "model.h5", trust=True)


class Halved(keras.layers.Layer):
    def call(self, x):
        return x / 2


def halved(x):
    return x / 2


OWN_CODE = {
    "class": ([Halved()], r"the class 'Halved' in it"),
    "class inside": ([keras.Sequential([keras.Input((3,)), Halved()])], r"the class 'Halved' in it"),
    "function": ([keras.layers.Dense(2, activation=halved)], r"the function 'halved' in it"),
}


@pytest.mark.parametrize("name", OWN_CODE)
def test_own_code_that_nothing_has_registered_is_named(tmp_path, name):
    layers, message = OWN_CODE[name]
    keras.Sequential([keras.Input((3,)), *layers]).save(tmp_path / "model.keras")
    with pytest.raises(
        ConversionError, match=message + r" is its author's own.*Import the one.*custom_objects="
    ):
        to_onnx(tmp_path / "model.keras", trust=True)


def test_code_in_a_file_of_tf_keras_is_not_run(tmp_path, monkeypatch):
    tf_keras = pytest.importorskip("tf_keras")
    model = tf_keras.Sequential(
        [tf_keras.layers.InputLayer((3,)), tf_keras.layers.Lambda(lambda t: print("code was run") or t * 2)]
    )
    model.save(tmp_path / "old.h5")
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stdout", shown)
    with pytest.raises(ConversionError, match="Python code"):
        to_onnx(tmp_path / "old.h5")
    assert "code was run" not in shown.getvalue()


def test_layers_of_a_saved_model_of_tf_keras(tmp_path):
    """Its metadata name the layers; a Lambda layer among them leaves the signature alone, and is not run."""
    tf_keras = pytest.importorskip("tf_keras")
    x = tf_keras.Input((4,), name="x")
    hidden = tf_keras.layers.LSTM(3, name="memory")(tf.nn.relu(x * 2)[:, :, None])
    tf_keras.Model(x, tf_keras.layers.Dense(2, name="last")(hidden)).save(tmp_path / "own", save_format="tf")
    assert [row["path"] for row in read_rows(to_onnx(tmp_path / "own"))][-2:] == ["memory", "last"]
    mark = tmp_path / "mark"
    function = eval(f"lambda t: (open({str(mark)!r}, 'w'), t * 2)[1]")
    model = tf_keras.Sequential([tf_keras.layers.InputLayer((3,)), tf_keras.layers.Lambda(function)])
    model.save(tmp_path / "code", save_format="tf")
    mark.unlink()
    converted = to_onnx(tmp_path / "code")
    assert read_rows(converted) == []
    assert not mark.exists()
    data = np.ones((2, 3), "float32")
    np.testing.assert_array_equal(run(converted, data)[0], 2 * data)


def test_saved_model_of_tensorflow_1(tmp_path):
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        weight = v1.get_variable("w", [4, 2])
        y = tf.nn.relu(tf.matmul(x, weight))
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(tmp_path / "old"), {"x": x}, {"y": y})
        data = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
        want = session.run(y, {x: data})
    assert difference(run(to_onnx(tmp_path / "old"), data)[0], want) < 1e-5


def test_saved_model_without_signature(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "bare"))
    with pytest.raises(ConversionError, match="has no signature"):
        to_onnx(tmp_path / "bare")


# The written file -----------------------------------------------------------------------------------------------
def test_written_file_is_complete_and_alone(tmp_path):
    target = tmp_path / "model.onnx"
    converted = to_onnx(small_model(), target)
    assert onnx.load(target) == converted
    assert os.listdir(tmp_path) == ["model.onnx"]


def test_failed_conversion_writes_nothing(tmp_path):
    target = tmp_path / "model.onnx"
    target.write_bytes(b"what was there before")
    model = keras.Sequential([L.Input((4,)), L.Lambda(lambda t: tf.math.special.bessel_j1(t), name="odd")])
    with pytest.raises(ConversionError):
        to_onnx(model, target)
    assert target.read_bytes() == b"what was there before"
    assert os.listdir(tmp_path) == ["model.onnx"]
