"""Operators that compute in integers: gradients straight through them, and the runtime's own predictions."""

import json
import warnings

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from onnxruntime import quantization
from support.integer_models import STATIC, static
from support.tiny_graphs import parse, run

from onnxattr import Explainer, IntegratedGradients, vjp
from onnxattr.inspection import inspect, inspect_json
from onnxattr.running.saturation import saturates

RNG = np.random.default_rng(0)


def with_weights(text, **shapes):
    model = parse(text, 17)
    rng = np.random.default_rng(1)
    for name, shape in shapes.items():
        array = (rng.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return model


def dynamic(model, folder, **options):
    """A model as ONNX Runtime's tool quantises it, scales of activations computed in each run."""
    onnx.save(model, folder / "float.onnx")
    quantization.quantize_dynamic(folder / "float.onnx", folder / "dynamic.onnx", **options)
    return onnx.load(folder / "dynamic.onnx")


def with_real_weights(model, small):
    """The float model with the weights that the quantised ones stand for."""
    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in small.graph.initializer}
    real = onnx.ModelProto.FromString(model.SerializeToString())
    for tensor in real.graph.initializer:
        name = tensor.name
        if f"{name}_quantized" in held:
            scale, zero = held[f"{name}_scale"], held[f"{name}_zero_point"].astype(np.float32)
            tall = [-1] + [1] * (len(tensor.dims) - 1) if len(tensor.dims) == 4 and scale.ndim else [-1]
            scale, zero = (part.reshape(tall) if part.ndim else part for part in (scale, zero))
            array = (held[f"{name}_quantized"].astype(np.float32) - zero) * scale
            tensor.CopyFrom(onnx.numpy_helper.from_array(array.astype(np.float32), name))
    return real


#: Linear models: where nothing is cut off, the gradient straight through is that of the real weights.
DYNAMIC = {
    "matrices": with_weights(
        "g (float[N,32] x) => (float[N,5] y) { a = MatMul(x, w1) b = Add(a, b1) y = MatMul(b, w2) }",
        w1=(32, 24), b1=(24,), w2=(24, 5),
    ),
    "matrices of several axes": with_weights(
        "g (float[N,6,16] x) => (float[N,6,5] y) { a = MatMul(x, w1) y = MatMul(a, w2) }", w1=(16, 9), w2=(9, 5)
    ),
    "convolutions": with_weights(
        "g (float[N,3,9,8] x) => (float[N,4,M,L] y) { a = Conv<pads=[1,1,1,1]>(x, w1, b1)"
        " b = Conv<strides=[2,2], dilations=[1,2], group=8>(a, w2) y = Conv(b, w3) }",
        w1=(8, 3, 3, 3), b1=(8,), w2=(8, 1, 3, 3), w3=(4, 8, 1, 1),
    ),
}  # fmt: skip
OPTIONS = {
    "int8": {},
    "uint8": {"weight_type": quantization.QuantType.QUInt8},
    "per channel": {"per_channel": True},
}
#: Without VNNI, ONNX Runtime's products of attention saturate at 16 bits, which weights of 7 bits do not reach.
NARROW = {"reduce_range": True}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", DYNAMIC)
def test_dynamic_quantisation_is_differentiated_straight_through(name, options, tmp_path):
    model = DYNAMIC[name]
    small = dynamic(model, tmp_path, **OPTIONS[options])
    assert {node.op_type for node in small.graph.node} & {"MatMulInteger", "ConvInteger"}
    shape = [dim.dim_value or 2 for dim in model.graph.input[0].type.tensor_type.shape.dim]
    x = RNG.normal(size=shape).astype(np.float32)
    y = run(small, x=x)["y"]
    ct = RNG.normal(size=y.shape).astype(np.float32)
    found = run(vjp(small), x=x, y_cotangent=ct)
    np.testing.assert_array_equal(found["y"], y)
    expected = run(vjp(with_real_weights(model, small)), x=x, y_cotangent=ct)["x_gradient"]
    # The largest and the smallest number are on the edge of the range, where rounding decides.
    inside = (x > x.min()) & (x < x.max())
    np.testing.assert_allclose(
        np.where(inside, found["x_gradient"], 0),
        np.where(inside, expected, 0),
        rtol=0,
        atol=2e-6 * np.abs(expected).max(),
    )


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_the_gradient_of_an_lstm_in_integers_is_that_of_its_real_weights(direction, options, tmp_path):
    sides = 1 + (direction == "bidirectional")
    model = with_weights(
        f'g (float[6,N,5] x) => (float[6,D,N,4] y) {{ y = LSTM<hidden_size=4, direction="{direction}">(x, w, r, b) }}',
        w=(sides, 16, 5), r=(sides, 16, 4), b=(sides, 32),
    )  # fmt: skip
    small = dynamic(model, tmp_path, **OPTIONS[options])
    assert [node.op_type for node in small.graph.node] == ["DynamicQuantizeLSTM"]
    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in small.graph.initializer}
    real = onnx.ModelProto.FromString(model.SerializeToString())
    for tensor in real.graph.initializer[:2]:
        parts = [held[f"{tensor.name}_{part}"] for part in ("quantized", "zero_point", "scale")]
        numbers, zero, scale = (part.astype(np.float32) for part in parts)
        zero, scale = (part.reshape(sides, 1, -1) for part in (zero, scale))
        array = np.ascontiguousarray(((numbers - zero) * scale).transpose(0, 2, 1))
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    x = RNG.normal(size=(6, 2, 5)).astype(np.float32)
    y = run(small, x=x)["y"]
    ct = RNG.normal(size=y.shape).astype(np.float32)
    found, expected = (run(vjp(m, "x"), x=x, y_cotangent=ct) for m in (small, real))
    np.testing.assert_array_equal(found["y"], y)
    expected = expected["x_gradient"]
    np.testing.assert_allclose(found["x_gradient"], expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize(("direction", "sides"), [("forward", 1), ("bidirectional", 2)])
def test_sizes_of_an_lstm_in_integers_are_known(direction, sides, tmp_path):
    """Sizes that a file declares are not believed where its inputs leave others open: these follow from the node."""
    lstm = f'y = LSTM<hidden_size=4, direction="{direction}">(x, w, r, b)'
    model = with_weights(
        f"g (float[T,N,5] x) => (float[T,D,N,4] y) {{ {lstm} }}",
        w=(sides, 16, 5), r=(sides, 16, 4), b=(sides, 32),
    )  # fmt: skip
    (y,) = json.loads(inspect_json(dynamic(model, tmp_path)))["outputs"]
    assert [y["shape"][axis] for axis in (1, 3)] == [sides, 4]


@pytest.mark.parametrize("options", OPTIONS)
def test_attention_as_it_is_quantised(options, tmp_path):
    """Embedded words, attention and a product behind them, as onnxruntime.transformers leaves a model of text."""
    text = (
        "g (int32[N,6] ids, int32[N,6] kinds, int32[N,6] kept, float[N,6,16] shift) => (float[N,6,5] y) { e, n ="
        " com.microsoft.EmbedLayerNormalization(ids, kinds, words, places, segments, gamma, beta, kept)"
        " x = Add(e, shift) a = com.microsoft.Attention<num_heads=4>(x, w1, b1, n) y = MatMul(a, w2) }"
    )
    model = with_weights(
        text,
        words=(30, 16),
        places=(8, 16),
        segments=(2, 16),
        gamma=(16,),
        beta=(16,),
        w1=(16, 48),
        b1=(48,),
        w2=(16, 5),
    )
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    small = dynamic(
        model,
        tmp_path,
        op_types_to_quantize=["Attention", "EmbedLayerNormalization", "MatMul"],
        **OPTIONS[options],
        **NARROW,
    )
    assert {"QAttention", "QEmbedLayerNormalization"} <= {node.op_type for node in small.graph.node}
    ids, shift = RNG.integers(0, 30, (2, 6)).astype(np.int32), np.zeros((2, 6, 16), np.float32)
    feeds = {"ids": ids, "kinds": ids % 2, "kept": np.ones_like(ids), "shift": shift}
    ct = RNG.normal(size=(2, 6, 5)).astype(np.float32)
    found, expected = (run(vjp(m, "shift"), **feeds, y_cotangent=ct) for m in (small, model))
    np.testing.assert_allclose(found["y"], run(small, **feeds)["y"], rtol=0, atol=1e-5)
    one, other = (f["shift_gradient"].ravel() for f in (found, expected))
    assert one @ other / np.sqrt((one @ one) * (other @ other)) > 0.99


def test_one_sample_of_a_dynamically_quantised_model_is_explained(tmp_path):
    model = with_weights(
        "g (float[N,32] x) => (float[N,5] y) { a = MatMul(x, w1) t = Tanh(a) y = MatMul(t, w2) }",
        w1=(32, 24), w2=(24, 5),
    )  # fmt: skip
    x = RNG.normal(size=(1, 32)).astype(np.float32)
    with pytest.warns(UserWarning, match="DynamicQuantizeLinear.*mixes samples"):
        whole, cut = (
            IntegratedGradients(m, output_layer="y", reducer=None).explain(x, [1])
            for m in (model, dynamic(model, tmp_path))
        )
    assert np.abs(whole - cut).max() < 0.02 * np.abs(whole).max()  # measured: 0.008


@pytest.mark.parametrize("name", STATIC)
def test_static_operators_are_as_their_qdq_form(name):
    whole, spelled = (static(between, k == 0) for k, between in enumerate(STATIC[name]))
    x = np.random.default_rng(3).uniform(-2.8, 3.2, (3, 2, 4, 4)).astype(np.float32)
    y = run(whole, x=x)["y"]
    ct = np.random.default_rng(4).normal(size=y.shape).astype(np.float32)
    found, expected = (run(vjp(model), x=x, y_cotangent=ct) for model in (whole, spelled))
    assert np.abs(found["y"] - y).max() < 0.051  # one step of the scale, where a result lies between two
    assert (
        np.mean(np.abs(found["y"] - y) > 1e-5) < 0.05
    )  # floats, of QAttention, in another order of summation
    assert np.abs(expected["x_gradient"]).max() > 0.01
    np.testing.assert_allclose(
        found["x_gradient"], expected["x_gradient"], rtol=0, atol=1e-6 * np.abs(expected["x_gradient"]).max()
    )


# Quantisers as graphs spell them out, of numbers around the range: bytes, bounds, nodes.
SPELLED = {
    "Clip": (np.int8, -127, 127, "r = Round(u) c = Clip(r, low, high) q = Cast<to = 3>(c)"),
    "Min and Max": (np.int8, -127, 127, "r = Round(u) m = Min(high, r) c = Max(m, low) q = Cast<to = 3>(c)"),
    "moved": (
        np.int8,
        -100,
        50,
        "r = Round(u) c = Clip(r, low, high) b = Cast<to = 3>(c) t = Transpose<perm=[1,0]>(b)"
        " q = Transpose<perm=[1,0]>(t)",
    ),
    "unsigned": (np.uint8, 0, 255, "r = Round(u) c = Clip(r, low, high) q = Cast<to = 2>(c)"),
}


@pytest.mark.parametrize(("real", "kind"), [(np.float32, "float"), (np.float64, "double")])
@pytest.mark.parametrize("name", SPELLED)
def test_a_quantiser_that_is_spelled_out_is_differentiated_straight_through(name, real, kind):
    dtype, low, high, nodes = SPELLED[name]
    model = with_weights(
        f"g ({kind}[N,8] x) => ({kind}[N,5] y) {{ u = Mul(x, s) {nodes} p = MatMulInteger(q, w)"
        " f = CastLike(p, s) y = Div(f, s) }"
    )
    w = RNG.integers(-127, 128, (8, 5)).astype(np.int8)
    held = {"w": w, "s": real(40), "low": real(low), "high": real(high)}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(a), k) for k, a in held.items())
    x = RNG.normal(scale=3, size=(6, 8)).astype(real)
    q = np.clip(np.round(40 * x), low, high).astype(dtype)
    ct = RNG.normal(size=(6, 5)).astype(real)
    found = run(vjp(model), x=x, y_cotangent=ct)
    np.testing.assert_array_equal(found["y"], (q.astype(np.int32) @ w).astype(real) / real(40))
    inside = (40 * x >= low) & (40 * x <= high)
    np.testing.assert_allclose(found["x_gradient"], np.where(inside, ct @ w.T, 0), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    "cast",
    [
        "c = CastLike(i, x)",
        "d = Cast<to = 11>(i) c = Cast<to = 1>(d)",
        "d = CastLike(i, half) c = CastLike(d, x)",
        "n = Cast<to = 7>(i) c = CastLike(n, x)",
    ],
)
@pytest.mark.parametrize(
    "nodes",
    [
        "q, s, z = DynamicQuantizeLinear(x) i = MatMulInteger(q, w, z) {} y = Mul(c, s)",
        "q = QuantizeLinear(x, s) i = MatMulInteger(q, w) {} y = Mul(c, s)",
    ],
)
def test_products_are_cast_in_any_form(nodes, cast):
    x, w = RNG.uniform(0.1, 1, (6, 8)).astype(np.float32), RNG.integers(-9, 10, (8, 5)).astype(np.int8)
    ct, maps = RNG.normal(size=(6, 5)).astype(np.float32), []
    for form in ("c = Cast<to = 1>(i)", cast):
        model = parse(f"g (float[N,8] x) => (float[N,5] y) {{ {nodes.format(form)} }}", 17)
        held = {"w": w, "half": np.float16(0)} | (
            {"s": np.float32(1 / 255)} if "Dynamic" not in nodes else {}
        )
        model.graph.initializer.extend(
            onnx.numpy_helper.from_array(np.asarray(a), k) for k, a in held.items()
        )
        maps.append(run(vjp(model), x=x, y_cotangent=ct)["x_gradient"])
    assert np.abs(maps[0]).max() > 1
    np.testing.assert_allclose(maps[1], maps[0], rtol=0, atol=4e-3 * np.abs(maps[0]).max())


def test_rounded_numbers_that_are_not_multiplied_have_no_gradient():
    model = parse(
        "g (float[N,8] x) => (float[N,8] y) { r = Round(x) c = Clip(r, low, high) q = Cast<to = 3>(c)"
        " f = Cast<to = 1>(q) y = Add(f, x) }",
        17,
    )
    for key, bound in (("low", -127), ("high", 127)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(bound, np.float32), key))
    x = np.linspace(-3, 3, 8, dtype=np.float32)[None]
    np.testing.assert_array_equal(
        run(vjp(model), x=x, y_cotangent=np.ones_like(x))["x_gradient"], np.ones_like(x)
    )


#: Two activations near 255 times two weights near 127, which exceed 16 bits together, and weights that fit.
PRODUCTS = {
    "dynamic": "q, s, z = DynamicQuantizeLinear(x) i = MatMulInteger(q, w, z) c = Cast<to=1>(i) y = Mul(c, s)",
    "static": "q = QuantizeLinear(x, xs, xz) d = DequantizeLinear(q, xs, xz) v = DequantizeLinear(w, xs, wz)"
    " y = MatMul(d, v)",
}


def says_so(make):
    """Whether something is made with the warning, or holds its text."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        made = make()
    return any("lacks VNNI" in text for text in [str(made), *(str(warning.message) for warning in told)])


@pytest.mark.parametrize("largest", [64, 127])
@pytest.mark.parametrize("name", PRODUCTS)
def test_products_that_saturate_are_said(name, largest, tmp_path):
    text = (
        "g (float[N,64] x) => (float[N,5] y) <float xs = {0.004}, int8 xz = {-128}, int8 wz = {0}> "
        f"{{ {PRODUCTS[name]} }}"
    )
    model, rng = parse(text, 19), np.random.default_rng(0)
    weights = rng.integers(largest - 40, largest + 1, (64, 5)).astype(np.int8)
    weights[0, 0] = largest
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    x = rng.uniform(0.8, 1, (1, 64)).astype(np.float32)
    expected = ReferenceEvaluator(model).run(["y"], {"x": x})[0]
    method = IntegratedGradients(model, output_layer="y", steps=3)
    saturated = not np.allclose(method.predict(x), expected, rtol=1e-3)
    assert says_so(lambda: IntegratedGradients(model, output_layer="y", steps=3)) == saturated
    assert says_so(lambda: inspect(model)) == saturated
    for rendering in ("auto", "loop"):
        method.export(tmp_path / "explainer.onnx", rendering=rendering)
        assert says_so(lambda: Explainer(tmp_path / "explainer.onnx")) == saturated
    assert largest > 64 or not saturated


def test_an_lstm_whose_sums_saturate_is_said(tmp_path):
    text = "g (float[6,N,5] x) => (float[6,1,N,4] y) { y = LSTM<hidden_size=4>(x, w, r, b) }"
    small = dynamic(with_weights(text, w=(1, 16, 5), r=(1, 16, 4), b=(1, 32)), tmp_path)
    assert says_so(lambda: inspect(small)) == saturates()
