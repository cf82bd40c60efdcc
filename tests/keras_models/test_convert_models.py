"""Kinds of models that the converter reads: their names, shapes and operations survive."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
import tensorflow as tf  # noqa: E402
import zoo  # noqa: E402
from onnxattr.converters.common.verify import difference  # noqa: E402
from onnxattr.converters.keras import to_onnx  # noqa: E402
from support.converted import names_of, read_rows, run  # noqa: E402

from onnxattr.errors import ConversionError  # noqa: E402

L = keras.layers
pytestmark = pytest.mark.usefixtures("fresh_keras")

# Models of tf_keras ---------------------------------------------------------------------------------------------
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


# Inputs that are floats for Keras, as they are unless it is told otherwise, and looked up in an embedding.
LOOKED_UP = {
    "ids": lambda K, ids, _: K.layers.Flatten()(K.layers.Embedding(3, 4)(ids)),
    "reshaped": lambda K, ids, _: K.layers.Flatten()(K.layers.Embedding(3, 4)(K.layers.Reshape((3, 2))(ids))),
    "masked": lambda K, ids, _: K.layers.LSTM(3)(K.layers.Embedding(3, 4, mask_zero=True)(ids)),
    "beside numbers": lambda K, ids, x: K.layers.Concatenate()(
        [K.layers.Flatten()(K.layers.Embedding(3, 4)(ids)), x]
    ),
}


@pytest.mark.parametrize("package", ["keras", "tf_keras"])
@pytest.mark.parametrize("name", LOOKED_UP)
def test_ids_that_are_declared_as_floats(name, package):
    K = pytest.importorskip(package)
    inputs = [K.Input((6,), name="ids"), K.Input((2,), name="x")]
    output = K.layers.Dense(2)(LOOKED_UP[name](K, *inputs))
    model = K.Model(inputs if name == "beside numbers" else inputs[0], output)
    generator = np.random.default_rng(0)
    data = [
        generator.integers(0, 3, (4, 6)).astype("float32"),
        generator.normal(size=(4, 2)).astype("float32"),
    ]
    data = data[: len(model.inputs)]
    got = run(to_onnx(model), *data)[0]
    assert difference(got, np.asarray(model(data if len(data) > 1 else data[0]))) < 1e-5


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


def test_layer_of_a_constant_that_another_holds():
    class WithPlaces(L.Layer):
        def build(self, shape):
            self.table, self.places = L.Embedding(3, 4), keras.ops.arange(3)

        def call(self, x):
            return x + self.table(self.places)

    x = keras.Input((3, 4))
    model = keras.Model(x, L.Dense(2)(WithPlaces()(x)))
    data = np.ones((2, 3, 4), "float32")
    assert difference(run(to_onnx(model), data)[0], np.asarray(model(data))) < 1e-6


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
    "log1p of small numbers": lambda x: keras.ops.log1p(x * 1e-6) * 1e6,
    "expm1": keras.ops.expm1,
    "expm1 of small numbers": lambda x: keras.ops.expm1(x * 1e-6) * 1e6,
    "erfc": lambda x: L.Lambda(tf.math.erfc)(x),
    "flip": lambda x: keras.ops.flip(x, axis=(1, 2)),
    "sort": keras.ops.sort,
    "roll": lambda x: keras.ops.roll(x, (1, -2), (1, 2)),
    "roll by a list of one": lambda x: keras.ops.roll(x, (2,), (1,)),
    "roll further than the axis is long": lambda x: L.Lambda(lambda z: tf.roll(z, [-7], [-1]))(x),
    "einsum over any axes": lambda x: keras.ops.einsum("...a,a->...a", x, np.arange(4, dtype="float32")),
    "einsum of letters in both sizes": lambda x: L.Lambda(lambda z: tf.einsum("bij,bIj->biI", z, z))(x),
    "einsum of a diagonal": lambda x: L.Lambda(lambda z: tf.einsum("bii->bi", z[:, :4]))(x),
    "einsum that repeats an axis": lambda x: L.Lambda(
        lambda z: tf.einsum("...ij,...kj->...ik", z[:, None], tf.stack([z, 2 * z], 1))
    )(x),
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


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 1e-3), ("float64", 1e-12)])
def test_logarithm_in_its_own_type(dtype, tolerance):
    x = keras.Input((4,), dtype=dtype)
    model = keras.Model(x, L.Lambda(lambda z: tf.math.log(tf.abs(z) + 1), dtype=dtype)(x))
    data = np.random.default_rng(0).normal(size=(2, 4)).astype(dtype)
    assert difference(run(to_onnx(model), data)[0], np.asarray(model(data))) < tolerance


#: What tf2onnx refuses or mistypes in float16.
HALF = {
    "finite": (lambda z: tf.where(tf.math.is_finite(z), z, 0), (4,)),
    "infinite": (lambda z: tf.where(tf.math.is_inf(z), tf.zeros_like(z), z), (4,)),
    "logarithm of a sum": (lambda z: tf.reduce_logsumexp(z, axis=1, keepdims=True), (4,)),
    "upsampling": (L.UpSampling2D(interpolation="bilinear", dtype="float16"), (4, 4, 2)),
    "resizing": (L.Resizing(5, 7, dtype="float16"), (4, 4, 2)),
    "image.resize": (lambda z: tf.image.resize(z, (8, 8)), (4, 4, 2)),
}


@pytest.mark.parametrize("name", HALF)
def test_half_precision(name):
    function, shape = HALF[name]
    x = keras.Input(shape, dtype="float16")
    called = function(x) if isinstance(function, L.Layer) else L.Lambda(function, dtype="float16")(x)
    model = keras.Model(x, called)
    data = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float16)
    data.flat[:2] = (np.inf, np.nan) if "inite" in name else data.flat[:2]
    np.testing.assert_allclose(run(to_onnx(model), data)[0], np.asarray(model(data)), rtol=2e-3, atol=2e-3)


def test_sample_is_what_the_outputs_are_compared_on():
    model = keras.Sequential([L.Input((None, 4)), L.Reshape((6, 2)), L.Dense(2)])
    with pytest.raises(ConversionError, match="sample"):
        to_onnx(model)
    converted = to_onnx(model, sample=np.ones((2, 3, 4), "float32"))
    assert run(converted, np.ones((5, 3, 4), "float32"))[0].shape == (5, 6, 2)


class Counting(L.Layer):
    """Counts its calls in a variable."""

    def build(self, shape):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        self.calls.assign_add(1.0)
        return 2 * x


@pytest.mark.parametrize("recurrent", [False, True])
def test_variables_that_a_model_writes_stay_as_they_were(recurrent):
    layers = [L.Reshape((3, 2)), L.LSTM(4)] if recurrent else []
    model = keras.Sequential([keras.Input((6,)), Counting(), *layers, L.Dense(2)])
    to_onnx(model)
    assert float(model.layers[0].calls) == 0


@pytest.mark.parametrize("mode", ["int", "one_hot", "multi_hot", "count"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_numbers_in_bins(mode, dtype):
    """At a boundary the bin above it begins; NaN is in the last bin, as in TensorFlow."""
    x = keras.Input((1,), dtype=dtype)
    bins = L.Discretization(bin_boundaries=[-1.0, 0.1, 2.0], output_mode=mode)(x)
    model = keras.Model(x, keras.ops.cast(bins, "float32"))
    rows = np.array([[-5], [-1], [0.1], [np.float32(0.1)], [0], [2], [7], [np.nan]])
    rows = rows[:-1].astype(dtype) if dtype == "int32" else rows.astype(dtype)
    np.testing.assert_array_equal(run(to_onnx(model), rows)[0], np.asarray(model(rows)))
