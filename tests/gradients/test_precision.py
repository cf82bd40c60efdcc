"""Models of half precision, in their own precision and in float32."""

import copy
import sys
import warnings
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnxruntime.transformers.float16 import convert_float_to_float16
from support.tiny_graphs import parse, run

from onnxattr import load
from onnxattr.attributions import GradientInput, GuidedGradCAM, NoiseTunnel, Saliency, SquareGrad, VarGrad
from onnxattr.compile.gradient import vjp
from onnxattr.errors import ModelError, ParameterError

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # models/ is a folder of the repository, not of the installed package

from models import efficientnet_lite0, photos  # noqa: E402

HALVES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


@pytest.fixture(scope="module")
def network():
    return onnx.version_converter.convert_version(efficientnet_lite0.build(), 22)


def rounded(model, dtype, stored_as):
    """A copy whose weights are rounded to a dtype."""
    model = copy.deepcopy(model)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            array = onnx.numpy_helper.to_array(tensor).astype(dtype).astype(stored_as)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return model


def half(model, name):
    if name == "float16":
        return convert_float_to_float16(copy.deepcopy(model))
    model = rounded(model, HALVES[name], HALVES[name])
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            value.type.tensor_type.elem_type = onnx.TensorProto.BFLOAT16
    return model


@pytest.mark.parametrize("name", HALVES)
def test_float32_gradients_are_those_of_the_float32_model_with_rounded_weights(network, name):
    x = (
        efficientnet_lite0.preprocess(photos.centre_crop("chelsea"))[None]
        .astype(HALVES[name])
        .astype(np.float32)
    )
    expected = GradientInput(rounded(network, HALVES[name], np.float32), reducer=None).explain(x)
    explainer = GradientInput(half(network, name), reducer=None, precision="float32")
    assert explainer.predict(x).dtype == np.float32
    np.testing.assert_allclose(explainer.explain(x), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_float16_gradients_are_close_to_float32_ones(network):
    """Measured: cosine 0.987; ReLU6 kinks that lie within the rounding flip."""
    x = efficientnet_lite0.preprocess(photos.centre_crop("chelsea"))[None]
    model = half(network, "float16")
    a, b = (GradientInput(model, reducer=None, precision=p).explain(x) for p in ("model", "float32"))
    assert (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()) > 0.97


def test_bfloat16_models_run_on_the_cpu_in_float32_alone(network):
    x = efficientnet_lite0.preprocess(photos.centre_crop("chelsea"))[None]
    with pytest.raises(ModelError, match="precision='float32'"):
        GradientInput(half(network, "bfloat16")).explain(x)


def test_convolutions_of_float64_are_for_float32():
    model = parse("""agraph (double[n,3,8,8] x) => (double[n,1] y) <double[1,3,1,1] k = {1.0, 2.0, 3.0}> {
        c = Conv (x, k)  g = GlobalAveragePool (c)  y = Flatten (g) }""")
    with pytest.raises(ModelError, match=r"float64: make the file of a model in float32"):
        GradientInput(model).explain(np.ones((1, 3, 8, 8)))


# Operators whose rules ask which elements they chose, behind a convolution, which ONNX Runtime computes in float32.
CHOSEN = {
    "pool": "y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (c)",
    "pool past the end": "y = MaxPool <kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1> (c)",
    "pool of all": "y = GlobalMaxPool (c)",
    "held": "y = Clip (c, low, high)",
    "held from below": "n = ReduceL2 (c, axes)  m = Clip (n, low)  y = Div (c, m)",
    "least": "d = Conv (x, k)  e = Mul (c, d)  y = Min (c, d, e)",
    "most": "n = ReduceMax (c, axes)  y = Sub (c, n)",
    "scattered": "d = Neg (c)  y = ScatterElements <axis = 1, reduction = \"max\"> (c, places, d)",
}  # fmt: skip


@pytest.mark.parametrize("chosen", CHOSEN)
def test_what_half_precision_chooses_is_what_float32_chooses(chosen):
    """One operator reads numbers as they are rounded, another before they are: none would be equal."""
    kernel, other = np.random.default_rng(0).normal(size=(2, 4, 3, 3, 3)).round(2) / 3
    text = f"""agraph (float[2,3,9,9] x, int64[2,4,7,7] places) => (float[a,b,c,d] y) <float low = {{0.125}},
        float high = {{0.75}}, int64[1] axes = {{1}}> {{ c = Conv (x, kernel)  {CHOSEN[chosen]} }}"""
    model = parse(text.replace("(x, k)", "(x, other)"))
    weights = {"kernel": kernel, "other": other}
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(w.astype(np.float32), n) for n, w in weights.items()
    )
    x, places = np.random.default_rng(1).normal(size=(2, 3, 9, 9)), np.arange(4)[None, ::-1, None, None]
    feeds = {"x": x.astype(np.float16), "places": np.tile(places, (2, 1, 7, 7))}
    halved = convert_float_to_float16(model, op_block_list=[])
    ct = np.ones_like(run(halved, **feeds)["y"])
    a, b = (
        run(vjp(halved, precision=p), y_cotangent=ct.astype(d), **feeds | {"x": feeds["x"].astype(d)})[
            "x_gradient"
        ]
        for p, d in (("model", np.float16), ("float32", np.float32))
    )
    a = a.astype(np.float32)
    assert (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()) > 0.999


#: Gradients that add up at positions: ONNX Runtime's CPU provider has no kernel for it in float16, and casts nothing.
ADDED_UP = {
    "a slice from a computed start": "n = Shape <start: int = 1> (x)  h = Div (n, two)  y = Slice (x, h, n, one)",
    "several rows": "y = Gather (x, rows)",
    "several columns": "y = Gather <axis: int = 1> (x, rows)",
    "elements": "y = GatherElements <axis: int = 1> (x, places)",
    "elements by all positions": "y = GatherND (x, places)",
    "ties of a scattered maximum": """part = Slice (x, zero, two, one)
        y = ScatterElements <axis: int = 1, reduction: string = "max"> (x, places, part)""",
}


@pytest.mark.parametrize("body", ADDED_UP.values(), ids=ADDED_UP)
def test_gradients_that_are_added_up_at_positions(body):
    text = f"""agraph (FLOAT[3,4] x) => (FLOAT[a,b] y) <int64[1] zero = {{0}}, int64[1] one = {{1}},
        int64[1] two = {{2}}, int64[3] rows = {{0, 2, 2}}, int64[3,2] places = {{0, 1, 1, 1, 2, 0}}> {{ {body} }}"""
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float16)
    found = []
    for name, dtype in (("float16", np.float16), ("float", np.float32)):
        model = parse(text.replace("FLOAT", name))
        y = run(model, x=x.astype(dtype))["y"]
        ct = np.arange(1, y.size + 1, dtype=dtype).reshape(y.shape)
        found.append(run(vjp(model), x=x.astype(dtype), y_cotangent=ct)["x_gradient"])
    assert found[0].dtype == np.float16
    np.testing.assert_array_equal(found[0], found[1])


# The parser takes the bits of float16 numbers.
ONE, SMALL_BITS = (int(np.float16(number).view(np.uint16)) for number in (1, 1e-4))
SMALL = f"""agraph (float16[N,2] x) => (float16[N,2] y) <float16 a = {{{SMALL_BITS}}}, float16 b = {{{SMALL_BITS}}}> {{
    wide = Cast <to: int = 1> (x)
    narrow = Cast <to: int = 10> (wide)
    shape = Shape (x)
    ones = ConstantOfShape <value: tensor = float16[1] {{{ONE}}}> (shape)
    same = Mul (narrow, ones)
    once = Mul (same, a)
    y = Mul (once, b)
}}"""


@pytest.mark.parametrize(
    ("precision", "dtype", "expected"), [("model", np.float16, 0), ("float32", np.float32, 1e-8)]
)
def test_what_half_precision_rounds_to_nothing(precision, dtype, expected):
    feeds = {"x": np.ones((1, 2), dtype), "y_cotangent": np.ones((1, 2), dtype)}
    found = run(vjp(parse(SMALL), precision=precision), **feeds)["x_gradient"]
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=1e-2)


def test_unknown_precision():
    with pytest.raises(ParameterError, match="float32"):
        vjp(parse(SMALL), precision="float8")


#: Methods that square gradients, and the same as tunnels around another method.
SQUARING = {
    "SquareGrad": lambda model, **more: SquareGrad(model, nb_samples=5, noise=0.2, **more),
    "VarGrad": lambda model, **more: VarGrad(model, nb_samples=5, noise=0.2, **more),
    "square": lambda model, **more: NoiseTunnel(
        Saliency(model, **more), kind="square", nb_samples=5, noise=0.2
    ),
    "variance": lambda model, **more: NoiseTunnel(
        Saliency(model, **more), kind="variance", nb_samples=5, noise=0.2
    ),
}


@pytest.mark.parametrize("size", [1e-4, 400.0])
@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("name", SQUARING)
def test_squares_of_float16_gradients_neither_vanish_nor_overflow(name, share, size):
    text = (
        "g (float16[N,6] x) => (float16[N,3] y) { a = MatMul(x, w) b = Add(a, a) t = Tanh(b) y = Mul(t, s) }"
    )
    model = parse(text, 18)
    w = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float16)
    for name_of, array in {"w": w, "s": np.float16(size)}.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name_of))
    x = np.random.default_rng(1).normal(size=(3, 6)).astype(np.float16)
    half, single = (
        SQUARING[name](model, output_layer="y", reducer=None, share=share, precision=precision)
        for precision in ("model", "float32")
    )
    expected = single.explain(x, [0, 1, 2])
    for found in (
        half.explain(x, [0, 1, 2]),
        *(_in_file(half, rendering, x) for rendering in ("batch", "loop")),
    ):
        np.testing.assert_allclose(found, expected, rtol=0, atol=5e-3 * expected.max())


def _in_file(method, rendering, x):
    session = onnxruntime.InferenceSession(
        method.explainer(rendering).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feeds = {"x": x, "target": np.arange(3), "seed": np.array(0)}
    taken = {value.name for value in session.get_inputs()}
    return session.run(["attribution"], {name: feeds[name] for name in taken})[0]


def images():
    """A network of float16 on images, and three images; its gradients are some 1e-5."""
    text = (
        "g (float16[N,2,8,8] x) => (float16[N,3] y) { a = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, k) r = Relu(a)"
        " p = GlobalAveragePool(r) f = Flatten(p) t = MatMul(f, w) y = Mul(t, s) }"
    )
    model, rng = parse(text, 18), np.random.default_rng(0)
    weights = {"k": rng.normal(size=(4, 2, 3, 3)), "w": rng.normal(size=(4, 3)), "s": np.array(1e-3)}
    for name, array in weights.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(array.astype(np.float16), name))
    return model, rng.normal(size=(3, 2, 8, 8)).astype(np.float16)


#: Methods that multiply maps, or numbers of one.
MULTIPLYING = {
    "GuidedGradCAM": lambda model, **more: GuidedGradCAM(model, **more),
    **{
        reducer: lambda model, reducer=reducer, **more: Saliency(model, reducer=reducer, **more)
        for reducer in ("prod", "variance", "std", "l2", "logsumexp")
    },
}


@pytest.mark.parametrize("rendering", ["driven", "batch"])
@pytest.mark.parametrize("name", MULTIPLYING)
def test_products_in_maps_of_float16_do_not_vanish(name, rendering):
    model, x = images()
    half, single = (MULTIPLYING[name](model, output_layer="y", precision=p) for p in ("model", "float32"))
    expected = single.explain(x, [0, 1, 2])
    found = half.explain(x, [0, 1, 2]) if rendering == "driven" else _in_file(half, rendering, x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-3 * np.abs(expected).max())


def test_maps_that_float16_has_no_room_for_are_said(tmp_path):
    model = parse(
        "g (float16[N,16] x) => (float16[N,5] y) { t = MatMul(x, w) u = Mul(t, s) y = Softmax(u) }", 18
    )
    rng = np.random.default_rng(0)
    for name, array in {"w": rng.normal(size=(16, 5)), "s": np.array(3)}.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(array.astype(np.float16), name))
    x = np.random.default_rng(1).normal(size=(4, 16)).astype(np.float16)
    method = GradientInput(model, output_layer="y")
    with pytest.warns(UserWarning, match="sample 3 are 0 or below 6e-06.*precision='float32'"):
        assert np.abs(method.explain(x)[3]).max() <= 2**-24  # the smallest number of float16
    method.export(tmp_path / "explainer.onnx")
    with pytest.warns(UserWarning, match="sample 3 are 0 or below 6e-06"):
        load(tmp_path / "explainer.onnx").explain(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert GradientInput(model, output_layer="y", precision="float32").explain(x)[3].any()
        method.explain(x[:3])
