"""What the converter says about models it refuses, missing packages and failures inside; it leaves no trace."""

import os
import sys

import numpy as np
import pytest

keras = pytest.importorskip("keras")
import tensorflow as tf  # noqa: E402
import tf2onnx  # noqa: E402
import zoo  # noqa: E402
from onnxattr.converters.common import dependencies  # noqa: E402
from onnxattr.converters.keras import to_onnx  # noqa: E402
from onnxattr.converters.keras.tracing.trace import LayerRecorder  # noqa: E402
from support.converted import image, read_rows, small_model  # noqa: E402

from onnxattr.errors import ConversionError, RuntimeMissingError  # noqa: E402

L = keras.layers
pytestmark = pytest.mark.usefixtures("fresh_keras")


def in_float8():
    model = keras.Sequential([L.Input((4,)), L.Dense(3)])
    model.quantize("float8")
    return model


def drawn():
    generator = keras.random.SeedGenerator(0)
    noise = L.Lambda(lambda t: t + keras.random.normal(keras.ops.shape(t), seed=generator), name="noise")
    return keras.Sequential([L.Input((4,)), L.Dense(3, name="mean"), noise])


def text_model():
    text = keras.Input((1,), dtype="string", name="text")
    return keras.Model(text, L.Lambda(tf.strings.length, output_shape=(1,), dtype="int32")(text))


def of_any_size(interpolation):
    """Images of any size, which Keras 3 makes larger by other than `nearest` only where it knows their size."""
    return keras.Sequential(
        [L.Input((None, None, 2), name="x"), L.UpSampling2D(2, interpolation=interpolation)]
    )


class FirstEight(keras.Model):
    def call(self, x):
        return x[:, :8] if keras.ops.shape(x)[1] > 8 else x


REFUSED = {
    "not a model": (lambda: {"model": 3}, {}, r"model or the path of one is needed, got builtins.dict"),
    "a layer": (lambda: L.Dense(3), {}, r"layer \(Dense\) was given.*keras.Sequential"),
    "no file": (lambda: "there/is/none.keras", {}, r"no file or folder 'there/is/none.keras'"),
    "no folder to write to": (small_model, {"path": "there/is/none.onnx"}, r"folder of 'there/is/none.onnx'"),
    "opset": (small_model, {"opset": 19}, r"unsupported opset=19; supported: 13 to 18"),
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
        lambda: keras.Sequential(
            [L.Input((4,)), L.Lambda(lambda t: tf.math.special.bessel_j1(t), name="odd")]
        ),
        {},
        r"BesselJ1 \(node .*, layer 'odd'\)\. Write .* other operations, or convert the model up to .* explain that\.$",
    ),
    "operator of a higher opset": (
        lambda: keras.Sequential(
            [
                L.Input((4,)),
                L.Lambda(lambda t: tf.cast(tf.bitwise.bitwise_and(tf.cast(t, tf.int32), 6), "float32")),
            ]
        ),
        {"opset": 17},
        r"BitwiseAnd \(node .*other operations, or try a higher opset \(tf2onnx goes up to 18\)",
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
        # Keras writes its part of the message in bold, and over several lines.
        r"cannot be traced in layer 'eager': AttributeError: Exception encountered when [^\x1b\n]*$",
    ),
    "enlarged from any size": (
        lambda: of_any_size("bilinear"),
        {},
        r"in layer 'up_sampling2d\S*': .*'x' has axes of any size, \(None, None, None, 2\).*input_signature=",
    ),
    "decides by a size": (
        FirstEight,
        {"input_signature": tf.TensorSpec((None, None, 3), name="x")},
        r"'x' has axes of any size, \(None, None, 3\)\. .*'float32'\), a list of these for several inputs",
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
        r"differs from the Keras model.*first layer whose output differs is 'wild'.*numbers are drawn in .'wild'",
    ),
    "chaotic": (
        lambda: keras.Sequential([L.Input((64,)), L.Dense(64, "tanh"), L.Lambda(lambda t: tf.sin(1e8 * t))]),
        {},
        r"differs from the Keras model.*itself changes by \d\S* where the inputs of this check.*last digit.*sample=",
    ),
    "drawn by a generator": (
        drawn,
        {},
        r"Normal\S* \(node .*, layer 'noise'\)\. .*Random numbers are drawn.*keras.Model\(model.inputs",
    ),
    "float8": (in_float8, {}, r"Layers compute in float8_e4m3fn, .*without it, with the same kernels"),
    "text": (text_model, {}, r"StringLength"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusal_says_what_and_why(name):
    make, options, message = REFUSED[name]
    with pytest.raises(ConversionError, match=message):
        to_onnx(make(), **options)


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
    monkeypatch.setattr("onnxattr.converters.keras.convert._PROTOBUF_LIMIT_BYTES", 100)
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
    inputs = LayerRecorder.recording

    def altered(recorder):
        context = inputs(recorder)
        recorder.calls = _Doubling("conv")
        return context

    monkeypatch.setattr(LayerRecorder, "recording", altered)
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
