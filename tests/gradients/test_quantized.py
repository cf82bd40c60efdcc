"""Quantised models: the straight-through estimator in numbers, a real network, and what is refused."""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnxruntime import quantization
from support.small_models import build
from support.tiny_graphs import parse, run

from onnxattr.attributions import GradientInput, Saliency
from onnxattr.compile.gradient import vjp
from onnxattr.errors import UnsupportedOpError

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # models/ is a folder of the repository, not of the installed package

from models import efficientnet_lite0, photos  # noqa: E402

DIGITS = ROOT / "models" / "digits.onnx"
PHOTOS = ("chelsea", "coffee", "flower", "rocket")
X = np.array([[-3.0, -1.6, -1.5, 0.0], [0.26, 1.0, 23.9, 24.1]], np.float32)


def qdq(scale, zero, kind, domain="", opset=18):
    text = f"""agraph (float[2,4] x) => (float[2,4] y)
        <float[{len(scale)}] s = {{{", ".join(map(str, scale))}}},
         {kind}[{len(zero)}] z = {{{", ".join(map(str, zero))}}}> {{
        q = {domain}QuantizeLinear <axis: int = 1> (x, s, z)
        r = Reshape <allowzero: int = 0> (q, shape)
        t = Reshape (r, back)
        y = {domain}DequantizeLinear <axis: int = 1> (t, s, z)
    }}"""
    text = text.replace("z = ", "z = ", 1).replace(
        "> {", ", int64[1] shape = {-1}, int64[2] back = {2, 4}> {", 1
    )
    return parse(text, opset, domains="com.microsoft")


@pytest.mark.parametrize(
    ("scale", "zero", "kind", "low", "high"),
    [
        ([0.1], [16], "uint8", -1.6, 23.9),
        ([0.1], [0], "int8", -12.8, 12.7),
        ([0.00038], [4000], "com.microsoft.uint16", -1.52, 23.38),
        ([0.1, 0.2, 0.1, 0.1], [0, 128, 15, 16], "uint8", [0, -25.6, -1.5, -1.6], [25.5, 25.4, 24.0, 23.9]),
    ],
)
def test_straight_through_inside_the_range_and_zero_outside(scale, zero, kind, low, high):
    ct = np.arange(1, 9, dtype=np.float32).reshape(2, 4)
    domain, _, kind = kind.rpartition(".")
    model = vjp(qdq(scale, zero, kind, f"{domain}." * bool(domain)))
    found = run(model, x=X, y_cotangent=ct)
    tiny = 1e-5
    expected = np.where((np.asarray(low) - tiny <= X) & (np.asarray(high) + tiny >= X), ct, 0)
    assert 0 < np.count_nonzero(expected) < 8
    np.testing.assert_allclose(found["x_gradient"], expected, rtol=1e-6)


def test_scale_gets_the_gradient_of_learned_step_sizes():
    """dy/ds is the rounding error in steps inside the range, and the bound in steps outside."""
    text = """agraph (float[2,4] x, float s) => (float[2,4] y) <int8 z = {0}> {
        q = QuantizeLinear (x, s, z)
        y = DequantizeLinear (q, s, z)
    }"""
    scale = np.array(0.1, np.float32)
    found = run(vjp(parse(text)), x=X, s=scale, y_cotangent=np.ones_like(X))["s_gradient"]
    steps = X / scale
    expected = np.where(steps > 127, 127, np.where(steps < -128, -128, np.round(steps) - steps)).sum()
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_dynamic_range_counts_as_constant():
    text = """agraph (float[2,4] x) => (float[2,4] y) {
        q, s, z = DynamicQuantizeLinear (x)
        y = DequantizeLinear (q, s, z)
    }"""
    ct = np.arange(1, 9, dtype=np.float32).reshape(2, 4)
    np.testing.assert_allclose(run(vjp(parse(text), "x"), x=X, y_cotangent=ct)["x_gradient"], ct, rtol=1e-6)


class _Rows(quantization.CalibrationDataReader):
    def __init__(self, name, rows):
        self.rows = iter([{name: row[None]} for row in rows])

    def get_next(self):
        return next(self.rows, None)


def quantized(model, rows, path, **settings) -> onnx.ModelProto:
    source = path / "float.onnx"
    onnx.save(model, source)
    quantization.shape_inference.quant_pre_process(str(source), str(source), skip_symbolic_shape=True)
    reader = _Rows(onnx.load(source).graph.input[0].name, rows)
    form = {"quant_format": quantization.QuantFormat.QDQ, "per_channel": True} | settings
    quantization.quantize_static(str(source), str(path / "quantized.onnx"), reader, **form)
    return onnx.load(path / "quantized.onnx")


def cosine(a, b):
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


@pytest.mark.slow
def test_gradients_of_a_quantized_network_point_where_the_float_networks_do(tmp_path):
    rows = efficientnet_lite0.preprocess(np.stack([photos.centre_crop(name) for name in PHOTOS]))
    model = efficientnet_lite0.build()
    # Of 7 bits, as the sums of products of 8 saturate on processors without VNNI.
    bits = {"activation_type": quantization.QuantType.QUInt8, "reduce_range": True}
    small = quantized(model, rows, tmp_path, **bits)
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in small.graph.node}
    whole, cut = Saliency(model, reducer=None), Saliency(small, reducer=None)
    labels = np.argmax(whole.predict(rows), axis=1)
    np.testing.assert_array_equal(np.argmax(cut.predict(rows), axis=1), labels)
    maps = [method.explain(rows, labels) for method in (whole, cut)]
    # Measured: 0.71, 0.67, 0.70, 0.67; a hundred ReLU6 kinks of few bits lie on the way.
    assert min(cosine(a, b) for a, b in zip(*maps, strict=True)) > 0.65


def digits():
    """The digits CNN and sixteen pictures of its kind: strokes on black."""
    rng = np.random.default_rng(0)
    rows = np.zeros((16, 28, 28, 1), np.float32)
    for row in rows:
        place = rng.integers(4, 18, 2)
        row[place[0] : place[0] + 8, place[1] : place[1] + 3] = rng.uniform(0.5, 1)
        row[place[0] : place[0] + 3, place[1] : place[1] + 8] = rng.uniform(0.5, 1)
    return onnx.load(DIGITS), rows


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
@pytest.mark.parametrize("bits", ["QUInt8", "QInt8"])
def test_gradients_of_a_small_quantized_network(tmp_path, bits, form):
    model, rows = digits()
    small = quantized(
        model,
        rows,
        tmp_path,
        activation_type=quantization.QuantType[bits],
        quant_format=quantization.QuantFormat[form],
    )
    maps = [GradientInput(m, reducer=None).explain(rows, np.zeros(16, int)) for m in (model, small)]
    assert cosine(*maps) > 0.99  # measured: 0.9957


@pytest.mark.parametrize("symmetric", [True, False])
def test_weights_of_four_bits(symmetric):
    """By ONNX Runtime's own tool, in blocks: y = tanh(x w1) w2 with the weights that its scales stand for."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    rng = np.random.default_rng(0)
    weights = [rng.normal(size=shape).astype(np.float32) / 10 for shape in ((96, 128), (128, 5))]
    model = parse("g (float[N,96] x) => (float[N,5] y) { h = MatMul(x, w1) t = Tanh(h) y = MatMul(t, w2) }")
    for name, array in zip(("w1", "w2"), weights, strict=True):
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    tool = MatMulNBitsQuantizer(model, block_size=32, is_symmetric=symmetric)
    tool.process()
    small = tool.model.model
    assert [node.op_type for node in small.graph.node] == ["MatMulNBits", "Tanh", "MatMulNBits"]
    x, ct = (rng.normal(size=(3, count)).astype(np.float32) for count in (96, 5))
    found = run(vjp(small), x=x, y_cotangent=ct)
    np.testing.assert_allclose(found["y"], run(small, x=x)["y"], rtol=0, atol=1e-6)
    # The product with the identity gives the weights of one node after the other.
    first, second = (run(only(small, k), x=np.eye(n, dtype=np.float32))["y"] for k, n in ((0, 96), (2, 128)))
    assert cosine(first, weights[0]) > 0.98
    slope = 1 - np.tanh(x @ first) ** 2
    np.testing.assert_allclose(found["x_gradient"], ((ct @ second.T) * slope) @ first.T, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", [0, 1])
def test_weights_in_the_numbers_of_bitsandbytes(kind):
    """FP4 and NF4 by ONNX Runtime's own tool: the gradient is that of the weights that the product stands for."""
    from onnxruntime.quantization.matmul_bnb4_quantizer import MatMulBnb4Quantizer

    rng = np.random.default_rng(0)
    weights = rng.normal(size=(96, 24)).astype(np.float32) / 10
    model = parse("g (float[N,96] x) => (float[N,24] y) { h = MatMul(x, w) y = Tanh(h) }")
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    tool = MatMulBnb4Quantizer(model, quant_type=kind, block_size=64)
    tool.process()
    small = tool.model.model
    assert [node.op_type for node in small.graph.node] == ["MatMulBnb4", "Tanh"]
    x, ct = (rng.normal(size=(3, count)).astype(np.float32) for count in (96, 24))
    found = run(vjp(small), x=x, y_cotangent=ct)
    np.testing.assert_allclose(found["y"], run(small, x=x)["y"], rtol=0, atol=1e-6)
    real = run(only(small, 0), x=np.eye(96, dtype=np.float32))["y"]
    assert cosine(real, weights) > 0.98
    expected = (ct * (1 - np.tanh(x @ real) ** 2)) @ real.T
    np.testing.assert_allclose(found["x_gradient"], expected, rtol=0, atol=1e-6)


#: How a weight of 64 x 48 is read: the form of the product, and the numbers that the scales stand for.
WEIGHTS = {
    "one scale": ("int8", "", np.full((1, 1), 0.01)),
    "one scale, opset 13": ("int8", "", np.full((1, 1), 0.01)),
    "a scale a column": ("int8", "axis: int = 1", np.linspace(0.005, 0.02, 48)[None]),
    "a scale a row": ("uint8", "axis: int = 0", np.linspace(0.005, 0.02, 64)[:, None]),
    "a scale a block of 16": (
        "int8",
        "axis: int = 0, block_size: int = 16",
        np.linspace(0.005, 0.02, 192).reshape(4, 48),
    ),
    "4 bits": ("int4", "axis: int = 0, block_size: int = 32", np.linspace(0.005, 0.02, 96).reshape(2, 48)),
    "4 bits, one scale": ("uint4", "", np.full((1, 1), 0.01)),
    "4 bits, opset 17": ("int4", "", np.full((1, 1), 0.01)),
    "16 bits, a scale a column, opset 17": ("int16", "axis: int = 1", np.linspace(5e-5, 2e-4, 48)[None]),
}
PRODUCTS = {
    "MatMul": ("y = MatMul (x, w)", 64),
    "MatMul of a transposed weight": ("t = Transpose <perm: ints = [1, 0]> (w) y = MatMul (x, t)", 48),
    "Gemm": ("y = Gemm (x, w)", 64),
    "Gemm of a transposed weight": ("y = Gemm <transB: int = 1> (x, w)", 48),
    "MatMul of a weight in another shape": ("t = Reshape (w, s) y = MatMul (x, t)", 48),
}


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("weight", WEIGHTS)
def test_cotangents_meet_quantised_weights_in_floats(product, weight):
    """ONNX Runtime multiplies quantised weights with rounded activations, in error by 5e-3; no gradient is rounded."""
    (kind, attributes, scale), (body, columns) = WEIGHTS[weight], PRODUCTS[product]
    rng, bits = np.random.default_rng(0), int(kind.lstrip("uint"))
    low = 0 if kind[0] == "u" else -(2 ** (bits - 1))
    numbers, zero = rng.integers(low, low + 2**bits, (64, 48)), low + 3
    blocks = [n // k for n, k in zip((64, 48), scale.shape, strict=True)]
    real = (numbers - zero) * np.kron(scale, np.ones(blocks)).astype(np.float32)
    domain, opset = "", int(weight.partition("opset ")[2] or 21)
    if bits != 8 and opset < 21:
        domain = "com.microsoft."
    read = f"w = {domain}DequantizeLinear <{attributes}> (q, d, z)".replace(" <>", "")
    text = f"g (float[N,{columns}] x) => (float[N,M] y) <int64[2] s = {{48, 64}}> {{ {read} {body} }}"
    model = parse(text, opset, domains="com.microsoft")
    squeezed = scale if "block_size" in attributes else scale.ravel() if attributes else scale.ravel()[0]
    element = onnx.TensorProto.DataType.Value(kind.upper())
    model.graph.initializer.append(onnx.helper.make_tensor("q", element, (64, 48), numbers.ravel()))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(squeezed, np.float32), "d"))
    zeros = np.full(np.shape(squeezed), zero)
    model.graph.initializer.append(onnx.helper.make_tensor("z", element, zeros.shape, zeros.ravel()))
    forward = {"Transpose": real.T, "Gemm <": real.T, "Reshape": real.reshape(48, 64)}
    matrix = next((array for name, array in forward.items() if name in body), real)
    x, ct = (rng.normal(size=(3, count)).astype(np.float32) for count in matrix.shape)
    expected = ct @ matrix.T
    found = run(vjp(model), x=x, y_cotangent=ct)
    np.testing.assert_allclose(found["x_gradient"], expected, rtol=0, atol=1e-6 * np.abs(expected).max())
    np.testing.assert_allclose(found["y"], run(model, x=x)["y"], rtol=0, atol=1e-5)
    driven = Saliency(model, output_layer="y", reducer=None).explain(x, ct)
    np.testing.assert_allclose(driven, np.abs(expected), rtol=0, atol=1e-6 * np.abs(expected).max())


def only(model, index):
    """The model of one node of another, by ONNX Runtime's own kernel."""
    node = onnx.NodeProto()
    node.CopyFrom(model.graph.node[index])
    node.input[0], node.output[0] = "x", "y"
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    return build([node], {"x": [None] * 2}, {"y": [None] * 2}, weights, opset_imports=model.opset_import)


def refused(model, match):
    with pytest.raises(UnsupportedOpError, match=match):
        vjp(model)


def test_operators_on_integers_without_a_kernel_are_refused_with_advice():
    text = (
        "g (float[N,4,8] x, uint8[8] w) => (float[N,4,8] y) <float s = {0.1}, uint8 z = {0}> {"
        " q = QuantizeLinear(x, s, z) p = com.microsoft.MulInteger(q, z, w, z) y = Cast<to=1>(p) }"
    )
    refused(parse(text, 17, domains="com.microsoft"), "MulInteger.*QDQ form")


def test_files_for_one_processor_are_refused_with_advice(tmp_path):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath = str(tmp_path / "layout.onnx")
    ort.InferenceSession(efficientnet_lite0.build().SerializeToString(), options)
    refused(tmp_path / "layout.onnx", "ORT_ENABLE_EXTENDED")
