"""Convolutions and pools over series are computed as over images one pixel high: the same numbers, faster."""

import keras
import numpy as np
import onnx
import onnx_ir as ir
import pytest
import tensorflow as tf
from onnxattr.converters.keras import to_onnx
from support.tiny_graphs import parse, run

from onnxattr import Saliency, vjp
from onnxattr.autodiff.standard import STANDARD
from onnxattr.graph.subgraphs import nodes_of
from onnxattr.graph.values import dims_of
from onnxattr.loading.load import clean_part, load
from onnxattr.loading.passes.series import compute_series_as_images
from onnxattr.session import Session
from onnxattr.testing import check_vjp

RNG = np.random.default_rng(0)
SIZES = {
    "w": (16, 3, 5), "v": (16, 16, 3), "each": (16, 1, 3), "back": (16, 4, 3), "bias": (16,), "column": (16, 1),
    "row": (20,), "whole": (1, 16, 20), "number": (), "four": (4, 16, 3), "six": (6, 3, 3),
}  # fmt: skip
WEIGHTS = {name: RNG.normal(size=size).astype(np.float32) for name, size in SIZES.items()}
WEIGHTS |= {name: np.abs(WEIGHTS["bias"]) + 0.5 for name in ("scale", "var")}
NUMBERS = {
    "two": [2], "one": [1], "pads": [0, 0, 2, 0, 0, 1], "from": [-3, 9], "to": [-9, 2], "axes": [-1, -2],
    "three": [3], "four_axis": [3], "zero": [0], "steps": [-1, -2], "first": [1], "last": [18], "behind": [2],
}  # fmt: skip
CONV = "a = Conv<pads = [2, 2]>(x, w, bias)"

#: Nodes from x, (N, 3, 20), to y; how many operators over windows of series are left, and layout operators there are.
NETWORKS = {
    "convolutions": (f"{CONV} b = Relu(a) y = Conv<pads = [1, 1]>(b, v)", 0, 2),
    "strides and dilations": (
        "a = Conv<strides = [2], dilations = [2], pads = [3, 1], kernel_shape = [5]>(x, w) y = Conv(a, v)", 0, 2),
    "groups": (f"{CONV} y = Conv<group = 16, pads = [1, 1]>(a, each)", 0, 2),
    "stated padding": ("a = Conv<auto_pad = \"SAME_LOWER\", strides = [3]>(x, w) y = Conv(a, v)", 0, 2),
    "pools": (
        f"{CONV} b = MaxPool<kernel_shape = [3], strides = [2], pads = [1, 0], ceil_mode = 1>(a) "
        "c = AveragePool<kernel_shape = [3], "
        "pads = [1, 1], count_include_pad = 1>(b) y = LpPool<kernel_shape = [2], p = 2>(c)", 0, 2),
    "global pools": (f"{CONV} b = GlobalAveragePool(a) c = GlobalMaxPool(a) y = Add(b, c)", 0, 2),
    "transposed convolutions": (
        f"{CONV} y = ConvTranspose<strides = [3], output_padding = [1], pads = [1, 1]>(a, back)", 0, 2),
    "transposed convolutions of a stated length": (
        f"{CONV} y = ConvTranspose<strides = [2], output_shape = [41]>(a, back)", 0, 2),
    "element by element": (
        f"{CONV} b = BatchNormalization(a, scale, bias, bias, var) c = Mul(b, column) d = Add(c, whole) "
        "e = Sub(row, d) f = PRelu(e, column) g = Clip(f, number) y = Conv(g, v)", 0, 2),
    "conditions": (f"{CONV} b = Greater(a, column) c = Not(b) d = Where(c, a, number) y = Conv(d, v)", 0, 2),
    "another series": (f"{CONV} b = Softmax<axis = 1>(a) c = Mul(a, b) y = Conv(c, v)", 0, 4),
    "a gate": (f"{CONV} b = ReduceMean<keepdims = 1>(a, behind) c = Mul(a, b) y = Conv(c, v)", 0, 4),
    "channels side by side": (
        f"{CONV} b = Relu(a) c = Concat<axis = -2>(a, b) y = MaxPool<kernel_shape = [2]>(c)", 0, 2),
    "one behind the other": (f"{CONV} b = Concat<axis = -1>(a, a) y = Conv(b, v)", 0, 2),
    "samples": (f"{CONV} b = Concat<axis = 0>(a, a) y = Conv(b, v)", 0, 2),
    "padding": (f"{CONV} b = Pad<mode = \"reflect\">(a, pads) y = Conv(b, v)", 0, 2),
    "a part": (f"{CONV} b = Slice(a, first, last, behind) y = Conv(b, v)", 0, 2),
    "parts from the end": (f"{CONV} b = Slice(a, from, to, axes, steps) y = MaxPool<kernel_shape = [2]>(b)", 0, 2),
    "as Keras has it": (
        f"{CONV} b = Relu(a) c = Transpose<perm = [0, 2, 1]>(b) d = Unsqueeze(c, one) "
        "e = Transpose<perm = [0, 3, 1, 2]>(d) v4 = Unsqueeze(v, two) "
        "f = Conv(e, v4) g = Squeeze(f, two) y = MaxPool<kernel_shape = [2]>(g)", 0, 3),
    "another place": (
        f"{CONV} b = Unsqueeze(a, one) c = Transpose<perm = [0, 2, 1, 3]>(b) d = MaxPool<kernel_shape = [1, 2]>(c) "
        "y = Squeeze(d, two)", 0, 2),
    "turned around": (f"{CONV} b = Transpose<perm = [0, 2, 1]>(a) y = MaxPool<kernel_shape = [1]>(b)", 0, 5),
    "a computed kernel": (f"k = Mul(v, number) {CONV} y = Conv(a, k)", 0, 3),
    "a kernel read by others": (f"{CONV} b = Conv(a, v) s = ReduceSum<keepdims = 0>(v) y = Mul(b, s)", 0, 2),
    "numbers and images beside series": (
        f"{CONV} m = Mul(number, number) i = Unsqueeze(a, four_axis) j = Slice(i, zero, one, three, one) k = Mul(j, m) "
        "l = Concat<axis = 3>(k, k) y = ReduceMean<keepdims = 0>(l, three)", 0, 3),
    "few channels": ("a = Conv(x, six) y = MaxPool<kernel_shape = [2]>(a)", 2, 0),
}  # fmt: skip


def model_of(nodes: str, before: str = "", length: str = "20") -> onnx.ModelProto:
    """The nodes before a product, so that the result of the last is no output."""
    model = parse(f"g (float[N,3,{length}] x) => (float z) {{ {before} {nodes} z = Mul(y, y) }}")
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return with_weights(model)


def with_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    arrays = WEIGHTS | {name: np.array(value, np.int64) for name, value in NUMBERS.items()}
    read = {name for node in model.graph.node for name in node.input}
    read |= {name for node in model.graph.node for a in node.attribute for n in a.g.node for name in n.input}
    for name in sorted(read & arrays.keys()):
        model.graph.initializer.append(onnx.numpy_helper.from_array(arrays[name], name))
    return model


def left(model: ir.Model) -> tuple[int, int]:
    """How many operators over windows of series are left, and layout operators there are."""
    windows = [
        node for node in nodes_of(model.graph) if node.op_type.endswith(("Pool", "Conv", "ConvTranspose"))
    ]
    layouts = [
        node for node in nodes_of(model.graph) if node.op_type in ("Squeeze", "Transpose", "Unsqueeze")
    ]
    return sum(len(dims_of(node.inputs[0])) == 3 for node in windows), len(layouts)


def agree(model: onnx.ModelProto, written: ir.Model, **feeds: np.ndarray) -> None:
    expected, found = run(model, **feeds), run(ir.serde.serialize_model(written), **feeds)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=4e-6 * np.abs(array).max(initial=1))


@pytest.mark.parametrize("length", ["20", "L"])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name, length):
    nodes, *expected = NETWORKS[name]
    model, x = model_of(nodes, length=length), RNG.normal(size=(3, 3, 20)).astype(np.float32)
    loaded = load(model)
    assert compute_series_as_images(loaded, []) == (expected[0] == 0)
    assert left(loaded) == tuple(expected)
    for rows in (0, 1, 3):
        agree(model, loaded, x=x[:rows])
    check_vjp(model, {"x": x})


@pytest.mark.parametrize("name", ["x", "a", "b", "c", "d"])
def test_values_that_are_asked_for_stay(name):
    nodes = f"{CONV} b = Relu(a) c = Conv<pads = [1, 1]>(b, v) d = Sigmoid(c) y = Conv(d, v)"
    model, x = model_of(nodes), RNG.normal(size=(2, 3, 20)).astype(np.float32)
    found = run(vjp(model, wrt=sorted({"x", name})), x=x, z_cotangent=np.ones((2, 16, 18), np.float32))
    behind = nodes.split(f"{name} = ")[-1].split(")", 1)[1] if name != "x" else nodes
    shown = onnx.ModelProto.FromString(model.SerializeToString())
    shown.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    value = x if name == "x" else run(shown, x=x)[name]
    rest = with_weights(
        parse(f"g (float[N,{value.shape[1]},20] {name}) => (float[N,16,18] z) {{ {behind} z = Mul(y, y) }}")
    )
    expected = run(vjp(rest), **{name: value, "z_cotangent": np.ones((2, 16, 18), np.float32)})[
        f"{name}_gradient"
    ]
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(
        found[f"{name}_gradient"], expected, rtol=0, atol=1e-5 * np.abs(expected).max()
    )


def test_rules_of_the_caller_stay():
    nodes = NETWORKS["convolutions"][0]
    override = STANDARD | {"Conv": lambda op, node, ct: STANDARD["Conv"](op, node, ct)}
    assert not compute_series_as_images(load(model_of(nodes)), [], override)
    loaded = load(model_of(nodes))
    assert compute_series_as_images(loaded, [], STANDARD | {"Relu": override["Conv"]})
    assert left(loaded) == (0, 4)


def test_inside_bodies():
    """A body reads a series of the graph around it, and its own."""
    then = "b = Relu(a) d = Conv<pads = [1, 1]>(b, v) o = Add(d, a)"
    branches = (
        f"then_branch = p () => (float[N,16,20] o) {{ {then} }}, "
        "else_branch = q () => (float[N,16,20] r) { r = Neg(a) }"
    )
    model = with_weights(
        parse(f"g (float[N,3,20] x, bool c) => (float[N,16,20] z) {{ {CONV} z = If<{branches}>(c) }}")
    )
    loaded = load(model)
    assert compute_series_as_images(loaded, [])
    assert left(loaded)[0] == 0
    x = RNG.normal(size=(2, 3, 20)).astype(np.float32)
    for c in (True, False):
        agree(model, loaded, x=x, c=np.array(c))
        check_vjp(model, {"x": x, "c": np.array(c)}, wrt=["x"])


def test_names_of_the_model_stay_free():
    """A model may have a value of the name that a kernel over images would get."""
    model = model_of(f"{CONV} b = Relu(a) c = Conv<pads = [1, 1]>(b, v) y = Add(c, other)")
    model.graph.node[0].name = "first"
    model.graph.node[-2].input[1] = "w/image"
    model.graph.initializer.append(onnx.numpy_helper.from_array(WEIGHTS["column"], "w/image"))
    loaded, x = load(model), RNG.normal(size=(2, 3, 20)).astype(np.float32)
    assert compute_series_as_images(loaded, [])
    assert "first" in [node.name for node in loaded.graph if node.op_type == "Conv"]
    agree(model, loaded, x=x)


def test_quantized_convolutions_stay():
    """Between DequantizeLinear and QuantizeLinear a runtime computes them in integers."""
    kernel = np.clip(WEIGHTS["v"] * 40, -128, 127).astype(np.int8)
    nodes = f"{CONV} k = DequantizeLinear(q, number) y = Conv(a, k)"
    model = model_of(nodes)
    model.graph.initializer.append(onnx.numpy_helper.from_array(kernel, "q"))
    loaded = load(model)
    assert compute_series_as_images(loaded, [])
    assert left(loaded)[0] == 1


def test_weights_stay_in_their_file(tmp_path):
    path, kernel = tmp_path / "model.onnx", RNG.normal(size=(32, 16, 7)).astype(np.float32)
    model = model_of(f"{CONV} b = Relu(a) y = Conv(b, kernel)")
    model.graph.initializer.append(onnx.numpy_helper.from_array(kernel, "kernel"))
    onnx.save(model, path, save_as_external_data=True, size_threshold=0, location="model.data")
    loaded = load(path)
    assert compute_series_as_images(loaded, [])
    written = loaded.graph.initializers["kernel/image"].const_value
    assert isinstance(written, ir.ExternalTensor)
    np.testing.assert_array_equal(written.numpy()[:, :, 0], kernel)
    x = RNG.normal(size=(2, 3, 20)).astype(np.float32)
    feeds = {"x": x, "z_cotangent": np.ones((2, 32, 14), np.float32)}
    sessions = [Session(vjp(source), folder=tmp_path) for source in (path, onnx.load(path))]
    found, expected = (dict(zip(session.outputs, session.run(feeds), strict=True)) for session in sessions)
    np.testing.assert_array_equal(found["x_gradient"], expected["x_gradient"])


def test_blocks_of_keras():
    """Layout operators are left at the input and the output alone."""
    keras.utils.set_random_seed(0)
    layers, x = keras.layers, (series := keras.Input((32, 1)))
    for _ in range(2):
        narrow = layers.Conv1D(16, 1)(x)
        parts = [layers.Conv1D(16, size, padding="same")(narrow) for size in (8, 3)]
        parts.append(layers.Conv1D(16, 1)(layers.MaxPooling1D(3, 1, padding="same")(x)))
        x = layers.ReLU()(layers.BatchNormalization()(layers.Concatenate()(parts)))
    network = keras.Model(series, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))
    model, x = to_onnx(network), RNG.normal(size=(2, 32, 1)).astype(np.float32)
    loaded = load(model)
    before = left(loaded)
    clean_part(loaded, [])
    assert before == (1, 33)
    assert left(loaded) == (0, 6)  # Keras turns the input around by Reshapes
    agree(model, loaded, **{model.graph.input[0].name: x})
    with tf.GradientTape() as tape:
        tape.watch(given := tf.constant(x))
        scores = network(given)[:, 1]
    expected = np.abs(tape.gradient(scores, given)[..., 0].numpy())
    found = Saliency(model).explain(x, targets=np.array([1, 1]))
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=0, atol=1e-5 * expected.max())
