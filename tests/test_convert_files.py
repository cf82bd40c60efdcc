"""Keras files and model kinds that the converter reads, and what it says about those it refuses."""

import io
import os
import sys
import zipfile

import numpy as np
import onnx
import pytest

keras = pytest.importorskip("keras")
import tensorflow as tf  # noqa: E402
import tf2onnx  # noqa: E402
import zoo  # noqa: E402
from converted import read_rows, run  # noqa: E402
from onnxattr.converters import dependencies, keras_check, keras_loading  # noqa: E402
from onnxattr.converters.keras import to_onnx  # noqa: E402
from onnxattr.converters.verify import difference  # noqa: E402

from onnxattr.errors import ConversionError, RuntimeMissingError  # noqa: E402

L = keras.layers
pytestmark = pytest.mark.usefixtures("fresh_keras")


def small_model():
    return keras.Sequential(
        [
            L.Input((8, 8, 1), name="image"),
            L.Conv2D(3, 3, activation="relu", name="conv"),
            L.Flatten(),
            L.Dense(2),
        ]
    )


def image(batch=3):
    return np.random.default_rng(0).normal(size=(batch, 8, 8, 1)).astype("float32")


def names_of(converted):
    return [v.name for v in converted.graph.input], [v.name for v in converted.graph.output]


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


def test_written_file_is_complete_and_alone(tmp_path):
    target = tmp_path / "model.onnx"
    converted = to_onnx(small_model(), target)
    assert onnx.load(target) == converted
    assert os.listdir(tmp_path) == ["model.onnx"]


def test_failed_conversion_writes_nothing(tmp_path):
    target = tmp_path / "model.onnx"
    target.write_bytes(b"what was there before")
    model = keras.Sequential([L.Input((4,)), L.Lambda(lambda t: tf.math.lgamma(t), name="odd")])
    with pytest.raises(ConversionError):
        to_onnx(model, target)
    assert target.read_bytes() == b"what was there before"
    assert os.listdir(tmp_path) == ["model.onnx"]


TF_KERAS = {
    "nested": lambda K, x: K.Sequential([K.layers.Dense(4, activation="relu", name="inner")], name="block")(
        x
    ),
    "two outputs": lambda K, x: [K.layers.Dense(2, name="a")(x), K.layers.Dense(3, name="b")(x)],
    "dict outputs": lambda K, x: {"b": K.layers.Dense(2)(x), "a": K.layers.Dense(3)(x)},
    "tensorflow operations": lambda K, x: K.layers.Dense(2)(tf.nn.relu(x) + x[:, :1]),
    "normalised": lambda K, x: K.layers.Dense(2)(
        K.layers.BatchNormalization()(K.layers.LayerNormalization()(x))
    ),
}


@pytest.mark.parametrize("name", TF_KERAS)
def test_model_of_tf_keras(name):
    tf_keras = pytest.importorskip("tf_keras")
    x = tf_keras.Input((6,), name="features")
    model = tf_keras.Model(x, TF_KERAS[name](tf_keras, x))
    data = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
    expected = model(data)
    expected = [expected[key] for key in sorted(expected)] if isinstance(expected, dict) else expected
    expected = expected if isinstance(expected, list) else [expected]
    converted = to_onnx(model)
    assert names_of(converted)[0] == ["features"]
    for got, want in zip(run(converted, data), expected, strict=True):
        assert difference(got, np.asarray(want)) < 1e-5


def test_subclassed_model_of_tf_keras():
    tf_keras = pytest.importorskip("tf_keras")

    class Net(tf_keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden = tf_keras.layers.Dense(4, activation="relu", name="hidden")

        def call(self, inputs):
            return self.hidden(inputs) * 2.0

    model = Net()
    data = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
    converted = to_onnx(model, sample=data)
    assert difference(run(converted, data)[0], np.asarray(model(data))) < 1e-5
    assert [row["path"] for row in read_rows(converted)] == ["hidden"]


# Kinds of models ------------------------------------------------------------------------------------------------
class TwoArguments(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = L.Dense(3, name="dense")

    def call(self, left, right):
        return {"sum": self.dense(left) + right, "left": left * 1.0}


class DictArgument(keras.Model):
    def call(self, inputs):
        return inputs["b"] + 2.0 * inputs["a"]


SUBCLASSED = {
    "sample": (zoo.Residual, {"sample": np.zeros((1, 8), "float32")}, ["x"], [(8,)]),
    "signature": (zoo.Residual, {"input_signature": tf.TensorSpec((None, 8), name="row")}, ["row"], [(8,)]),
    "signature list": (zoo.Residual, {"input_signature": [tf.TensorSpec((None, 8))]}, ["x"], [(8,)]),
    "two arguments": (
        TwoArguments,
        {"sample": [np.zeros((2, 4), "float32"), np.zeros((2, 3), "float32")]},
        ["left", "right"],
        [(4,), (3,)],
    ),
    "dict argument": (
        DictArgument,
        {"sample": {"b": np.zeros((2, 4), "float32"), "a": np.zeros((2, 4), "float32")}},
        ["a", "b"],
        [(4,), (4,)],
    ),
}


@pytest.mark.parametrize("name", SUBCLASSED)
def test_subclassed_model(name):
    kind, given, inputs, shapes = SUBCLASSED[name]
    model = kind()
    converted = to_onnx(model, **given)
    assert names_of(converted)[0] == inputs
    generator = np.random.default_rng(0)
    arrays = [generator.normal(size=(5, *shape)).astype("float32") for shape in shapes]
    structure = dict(zip(inputs, arrays, strict=True)) if name == "dict argument" else arrays
    expected = model(*arrays) if name != "dict argument" else model(structure)
    expected = [expected[key] for key in sorted(expected)] if isinstance(expected, dict) else [expected]
    for got, want in zip(run(converted, *arrays), expected, strict=True):
        assert difference(got, np.asarray(want)) < 1e-5


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("two inputs", ["table", "image"], ["dense_1"]),
        ("dict inputs", ["ant", "zebra"], ["dense"]),
        ("list outputs", ["x"], ["kind", "size"]),
        ("dict outputs", ["x"], ["area", "kind"]),
        ("mlp", ["keras_tensor"], ["head"]),
    ],
)
def test_names_survive(name, inputs, outputs):
    assert names_of(to_onnx(zoo.CASES[name].model())) == (inputs, outputs)


def test_output_that_is_an_input_and_input_that_nothing_reads():
    x, spare = keras.Input((4,), name="x"), keras.Input((2,), name="spare")
    converted = to_onnx(keras.Model([x, spare], [x, L.Dense(3, name="head")(x)]))
    inputs, outputs = names_of(converted)
    assert inputs == ["x", "spare"]
    data = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    np.testing.assert_array_equal(run(converted, data, np.zeros((3, 2), "float32"))[0], data)
    assert len(set(inputs + outputs)) == 4


def test_captured_tensor_becomes_a_constant():
    offset = tf.constant([[1.0, 2.0, 3.0]])

    class Shifted(keras.layers.Layer):
        def call(self, x):
            return x + offset

    x = keras.Input((3,))
    model = keras.Model(x, L.Dense(2)(Shifted()(x)))
    converted = to_onnx(model)
    assert len(converted.graph.input) == 1
    data = np.ones((2, 3), "float32")
    assert difference(run(converted, data)[0], np.asarray(model(data))) < 1e-6


def test_declared_batch_size_becomes_dynamic():
    model = keras.Sequential([L.Input(batch_shape=(4, 6)), L.Dense(3, activation="relu"), L.Dense(2)])
    converted = to_onnx(model)
    assert converted.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    data = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
    assert difference(run(converted, data[:1])[0], np.asarray(model(data))[:1]) < 1e-6


def test_output_that_merges_the_batch_with_another_axis_has_no_batch_symbol():
    x = keras.Input((3, 4), name="x")
    flat = L.Lambda(lambda t: tf.reshape(t, (-1, 4)), output_shape=(4,))(x)
    converted = to_onnx(keras.Model(x, L.Dense(2)(flat)))
    dims = converted.graph.output[0].type.tensor_type.shape.dim
    assert not dims[0].dim_param
    assert dims[1].dim_value == 2


def test_shapes_are_known_behind_reshapes():
    converted = to_onnx(zoo.CASES["cnn"].model())
    known = {
        v.name: v.type.tensor_type.shape.dim for v in (*converted.graph.value_info, *converted.graph.output)
    }
    values = [name for node in converted.graph.node for name in node.output]
    assert set(values) <= set(known)
    batch = [name for name in values if any(dim.dim_param == "N" for dim in known[name])]
    assert len(batch) > 10
    assert all(dim.dim_value or dim.dim_param == "N" for name in values for dim in known[name])


OPERATIONS = {
    "argmax": lambda x: keras.ops.argmax(x, axis=-1),
    "log1p": lambda x: keras.ops.log1p(keras.ops.abs(x)),
    "expm1": keras.ops.expm1,
    "erfc": lambda x: L.Lambda(tf.math.erfc)(x),
    "flip": lambda x: keras.ops.flip(x, axis=(1, 2)),
    "sort": keras.ops.sort,
    "standard deviation": lambda x: keras.ops.std(x, axis=1),
    "gather": lambda x: keras.ops.take_along_axis(x, keras.ops.argsort(x), axis=-1),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_outside_layers(name):
    x = keras.Input((5, 4))
    model = keras.Model(x, OPERATIONS[name](x))
    data = np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32")
    data[0, 0] = [-0.0, 0.0, -0.0, 0.0]
    assert difference(run(to_onnx(model), data)[0], np.asarray(model(data))) < 1e-5


def test_sample_is_what_the_outputs_are_compared_on():
    model = keras.Sequential([L.Input((None, 4)), L.Reshape((6, 2)), L.Dense(2)])
    with pytest.raises(ConversionError, match="sample"):
        to_onnx(model)
    converted = to_onnx(model, sample=np.ones((2, 3, 4), "float32"))
    assert run(converted, np.ones((5, 3, 4), "float32"))[0].shape == (5, 6, 2)


# Refusals -------------------------------------------------------------------------------------------------------
def random_layer():
    return keras.Sequential(
        [L.Input((4,)), L.Dense(3, name="calm"), L.Lambda(tf.random.shuffle, name="shuffles")]
    )


def text_model():
    text = keras.Input((1,), dtype="string", name="text")
    return keras.Model(text, L.Lambda(tf.strings.length, output_shape=(1,), dtype="int32")(text))


REFUSED = {
    "not a model": (lambda: {"model": 3}, {}, r"model or the path of one is needed, got builtins.dict"),
    "a layer": (lambda: L.Dense(3), {}, r"layer \(Dense\) was given.*keras.Sequential"),
    "no file": (lambda: "there/is/none.keras", {}, r"no file or folder 'there/is/none.keras'"),
    "no folder to write to": (small_model, {"path": "there/is/none.onnx"}, r"folder of 'there/is/none.onnx'"),
    "opset": (small_model, {"opset": 19}, r"opset=19 was asked for, 13 to 18"),
    "no inputs": (zoo.Residual, {}, r"input_signature=tf.TensorSpec.*sample"),
    "wrong signature": (
        zoo.Residual,
        {"input_signature": "float32"},
        r"arrays of numbers, got 'float32'",
    ),
    "wrong sample size": (
        small_model,
        {"sample": np.zeros((1, 9, 8, 1))},
        r"shape \(1, 9, 8, 1\) for input 'image'",
    ),
    "wrong sample count": (
        small_model,
        {"sample": [np.zeros((1, 8, 8, 1))] * 2},
        r"sample holds 2 arrays.*1 inputs \['image'\]",
    ),
    "unknown operator": (
        lambda: keras.Sequential([L.Input((4,)), L.Lambda(lambda t: tf.math.lgamma(t), name="odd")]),
        {},
        r"Lgamma \(node .*, layer 'odd'\)",
    ),
    "python function": (
        lambda: keras.Sequential(
            [
                L.Input((4,)),
                L.Lambda(lambda t: tf.ensure_shape(tf.numpy_function(np.sin, [t], t.dtype), t.shape)),
            ]
        ),
        {},
        r"PyFunc \(node .*, layer 'lambda'\)",
    ),
    "does not run": (
        lambda: keras.Sequential(
            [L.Input((4,)), L.Lambda(lambda t: t.numpy(), output_shape=(4,), name="eager")]
        ),
        {},
        r"cannot be traced in layer 'eager'",
    ),
    "random": (
        lambda: keras.Sequential(
            [
                L.Input((4,)),
                L.Dense(3, name="calm"),
                L.Lambda(lambda t: t * tf.random.uniform((1, 3)), name="wild"),
            ]
        ),
        {},
        r"differs from the Keras model.*first layer whose output differs is 'wild'.*sample=",
    ),
    "text": (text_model, {}, r"StringLength"),
    "batch in the computation": (
        lambda: keras.Sequential(
            [
                L.Input(batch_shape=(4, 6)),
                L.Lambda(lambda t: tf.reshape(t, (2, 12)) * 1.0, output_shape=(12,)),
            ]
        ),
        {},
        r"batches of 4 rows only",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusal_says_what_and_why(name):
    make, options, message = REFUSED[name]
    with pytest.raises(ConversionError, match=message):
        to_onnx(make(), **options)


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


def test_saved_model_without_signature(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "bare"))
    with pytest.raises(ConversionError, match="has no signature"):
        to_onnx(tmp_path / "bare")


@pytest.mark.parametrize("package", ["tensorflow", "keras", "tf2onnx"])
def test_missing_package_is_named_with_the_install_line(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConversionError, match=rf"'{package}'.*pip install 'onnxattr\[keras\]'"):
        getattr(dependencies, package)()


def test_missing_onnx_runtime_is_named_with_the_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RuntimeMissingError, match=r"onnxattr\[cpu\].*verify=False"):
        to_onnx(small_model())
    assert to_onnx(small_model(), verify=False).graph.node


def test_other_tf2onnx_is_named(monkeypatch):
    monkeypatch.delattr(tf2onnx.tf_loader, "from_function")
    with pytest.raises(ConversionError, match=r"has no tf2onnx.tf_loader.from_function.*tf2onnx==1.17.0"):
        to_onnx(small_model())


def test_other_keras_backend_is_named(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ConversionError, match=r"'jax' backend.*KERAS_BACKEND=tensorflow"):
        to_onnx(small_model())


def test_too_many_weights_are_refused_before_the_conversion(monkeypatch):
    model = keras.Sequential([L.Input((8,)), L.Dense(4, name="wide")])
    monkeypatch.setattr("onnxattr.converters.keras._PROTOBUF_LIMIT_BYTES", 100)
    with pytest.raises(ConversionError, match="less than 2 GiB"):
        to_onnx(model)


def test_failure_inside_tf2onnx_is_a_conversion_error(monkeypatch):
    def fail(*args, **kwargs):
        raise KeyError("some_tensor:0")

    monkeypatch.setattr(tf2onnx.convert, "process_tf_graph", fail)
    with pytest.raises(ConversionError, match=r"tf2onnx fails.*KeyError: 'some_tensor:0'"):
        to_onnx(small_model())


def test_wrong_layer_value_is_crossed_out_of_the_table(monkeypatch):
    """A table row is only kept if the value in the graph equals what the layer returns."""
    model = small_model()
    inputs = keras_check.LayerRecorder.recording

    def altered(recorder):
        context = inputs(recorder)
        recorder.calls = _Doubling("conv")
        return context

    monkeypatch.setattr(keras_check.LayerRecorder, "recording", altered)
    converted = to_onnx(model)
    rows = {row["name"]: row for row in read_rows(converted)}
    assert rows["conv"]["output"] is None
    assert "does not equal" in rows["conv"]["folded"]


class _Doubling(list):
    """Layer calls where one layer seems to have returned twice its output."""

    def __init__(self, path):
        super().__init__()
        self._path = path

    def append(self, call):
        if call.path == self._path and tf.executing_eagerly():
            call.outputs = [2 * tensor for tensor in call.outputs]
        super().append(call)


def test_conversion_leaves_no_trace(tmp_path):
    """Patches of Keras, tf2onnx, numpy and the environment are undone, also after a failure."""
    model = small_model()
    watched = [
        lambda: keras.layers.Layer.__call__,
        lambda: tf2onnx.graph.Node.update_proto,
        lambda: tf2onnx.graph.Graph.extract_sub_graph_nodes,
        lambda: tf.config.functions_run_eagerly(),
        lambda: dict(os.environ),
        lambda: hasattr(np, "product"),
        lambda: np.asarray(model(image())).tolist(),
    ]
    before = [look() for look in watched]
    to_onnx(model)
    assert [look() for look in watched] == before
    for name in ("unknown operator", "does not run", "random"):
        with pytest.raises(ConversionError):
            to_onnx(REFUSED[name][0]())
    assert [look() for look in watched] == before


def test_loading_passes_models_through():
    model = small_model()
    assert keras_loading.load(model) is model
