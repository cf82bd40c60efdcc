"""Quantised models that ONNX Runtime runs, and whose graphs of gradients it would refuse: their numbers.

From opset 21 on ONNX Runtime for x86 refuses values of int8 behind a Transpose, a Slice or a MaxPool, and a pullback
has these. It does not find the quantised weights of a product inside a Loop, and rounds what other products multiply.
"""

import numpy as np
import onnx
import onnxruntime
import pytest
from support.tiny_graphs import parse, run

from onnxattr import GradCAM, GradientInput, IntegratedGradients, Saliency, vjp
from onnxattr.loading.prepared import prepare

#: The zero points that stand for the same numbers.
ZERO = {"int8": 3, "uint8": 131}
#: What computes p, (N,3,..,..), of the dequantised a, (N,3,6,6).
BODIES = {
    "a max-pool": "p = MaxPool <kernel_shape: ints = [3,3], strides: ints = [1,2], pads: ints = [1,1,1,1]> (a)",
    "a max-pool in cells": "p = MaxPool <kernel_shape: ints = [2,2], strides: ints = [2,2]> (a)",
    "a transpose": "t = Transpose <perm: ints = [0,1,3,2]> (a) p = Mul (t, a)",
    "a move behind a move": (
        "b = Slice (a, one, four, two) t = Transpose <perm: ints = [0,1,3,2]> (b) e = Exp (t) p = Mul (e, t)"
    ),
    "a move that is quantised too": (
        "t = Transpose <perm: ints = [0,1,3,2]> (a) u = QuantizeLinear (t, s, z) v = DequantizeLinear (u, s, z)"
        "p = Mul (t, v)"
    ),
    "a move behind a cast to its own type": (
        "b = Cast <to: int = 1> (a) t = Transpose <perm: ints = [0,1,3,2]> (b) p = Mul (t, a)"
    ),
    "a move behind an identity": "b = Identity (a) t = Transpose <perm: ints = [0,1,3,2]> (b) p = Mul (t, a)",
    "a move behind a dropout": "b = Dropout (a) t = Transpose <perm: ints = [0,1,3,2]> (b) p = Mul (t, a)",
    "a quantised move behind a cast": (
        "b = Cast <to: int = 1> (a) d = Slice (b, one, four, two) t = Transpose <perm: ints = [0,1,3,2]> (d)"
        "u = QuantizeLinear (t, s, z) v = DequantizeLinear (u, s, z) p = Mul (v, v)"
    ),
    "a branch": """c = Greater (one, four) p = If (c) <
        then_branch = b () => (float[N,3,6,6] f) { f = Tanh (a) },
        else_branch = d () => (float[N,3,6,6] h) { g = Transpose <perm: ints = [0,1,3,2]> (a) h = Mul (g, a) }>""",
    "matrices": "p = MatMul (a, a)",
    "a softmax": "p = Softmax <axis: int = 1> (a)",
}
ENDS = {
    "quantised": "q = QuantizeLinear (m, s, z) r = DequantizeLinear (q, s, z) y = Flatten (r)",
    "moved": "q = QuantizeLinear (m, s, z) r = DequantizeLinear (q, s, z) y = Reshape (r, flat)",
    "of all rows": """o = ReduceMean (m, none) r = Add (m, o)
        q = QuantizeLinear (r, s, z) y = DequantizeLinear (q, s, z)""",
}
X = np.random.default_rng(1).normal(size=(2, 2, 8, 8)).astype(np.float32)
KERNEL = np.random.default_rng(0).normal(size=(3, 2, 3, 3))


def model(kind, opset, body, end="quantised"):
    """A small network of ``kind``, "int8" or "uint8"."""
    text = f"""g (float[N,2,8,8] x) => (float[{"N,3,1,1" if "rows" in end else "N,3"}] y)
    <float s = {{0.05}}, {kind} z = {{{ZERO[kind]}}}, int64[1] one = {{1}}, int64[1] four = {{4}}, int64[1] two = {{2}},
     int64[1] none = {{0}}, int64[2] flat = {{-1, 3}},
     float[3,2,3,3] w = {{{", ".join(map(str, KERNEL.ravel()))}}}> {{
        i = QuantizeLinear (x, s, z)
        j = DequantizeLinear (i, s, z)
        k = Conv (j, w)
        l = Tanh (k)
        n = QuantizeLinear (l, s, z)
        a = DequantizeLinear (n, s, z)
        {BODIES[body]}
        m = GlobalAveragePool (p)
        {ENDS[end]}
    }}"""
    return parse(text, opset)


def same(compute, *arguments):
    """That a computation gives the same for both types; returns it."""
    found, expected = (compute(model(kind, *arguments)) for kind in ZERO)
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
    return found


def exported(method, rendering, folder, feeds):
    method.export(folder / "file.onnx", rendering)
    return onnxruntime.InferenceSession(folder / "file.onnx").run(["attribution"], feeds)[0]


@pytest.mark.parametrize("opset", [21, 23])
@pytest.mark.parametrize("body", BODIES)
def test_gradients(body, opset):
    ct = np.ones((2, 3), np.float32)
    found = same(lambda m: run(vjp(m), x=X, y_cotangent=ct)["x_gradient"], opset, body)
    older = run(vjp(model("int8", 20, body)), x=X, y_cotangent=ct)["x_gradient"]
    np.testing.assert_allclose(found, older, rtol=0, atol=1e-6 * np.abs(older).max())


@pytest.mark.parametrize("body", BODIES)
def test_methods_and_files(body, tmp_path):
    driven = same(lambda m: IntegratedGradients(m, steps=3, reducer=None).explain(X, 1), 21, body)
    for rendering in ("batch", "loop"):
        method = IntegratedGradients(model("int8", 21, body), steps=3, reducer=None, batch_size=2)
        found = exported(method, rendering, tmp_path, {"x": X, "target": np.array([1, 1])})
        np.testing.assert_allclose(found, driven, rtol=0, atol=1e-5 * np.abs(driven).max())


@pytest.mark.parametrize(
    "explain",
    [
        lambda m: GradCAM(m, conv_layer="a").explain(X, 0),
        lambda m: GradientInput(m, wrt="p", reducer=None).explain(X, 0),
        lambda m: (found := Saliency(m, output_layer="p", reducer=None)).explain(
            X, np.ones_like(found.predict(X))
        ),
        lambda m: run(prepare(m).part(["p"]), x=X)["p"],
    ],
    ids=["of a layer", "at a layer", "cut behind it", "a part"],
)
def test_layers(explain):
    same(explain, 21, "a max-pool")


def test_predictions_that_are_moved():
    """ONNX Runtime refuses the model alone."""
    same(lambda m: Saliency(m, reducer=None)(X).scores, 21, "a softmax", "moved")


def test_one_sample(tmp_path):
    """Around its output, which is dequantised, an axis is added and removed."""
    weights = np.ones((2, 3, 1, 1), np.float32)
    found = same(lambda m: Saliency(m, reducer=None).explain(X, weights), 21, "a softmax", "of all rows")
    feeds = {"x": X, "target": weights}
    file = exported(
        Saliency(model("int8", 21, "a softmax", "of all rows"), reducer=None), "batch", tmp_path, feeds
    )
    np.testing.assert_allclose(file, found, rtol=0, atol=1e-5 * np.abs(found).max())


#: The slopes of what a product multiplies.
SLOPES = {"Relu": lambda x: x > 0, "Exp": np.exp}
PRODUCTS = {
    "MatMul": "y = MatMul (t, w)",
    "Gemm": "y = Gemm (t, w)",
    "transposed": "v = Transpose <perm: ints = [1,0]> (w) y = MatMul (t, v)",
    "copied": "v = Identity (w) y = MatMul (t, v)",
}
WEIGHTS = {
    "int8, one scale": ("int8", "", ()),
    "uint8, a scale a column": ("uint8", "axis: int = 1", (32,)),
    "int4, a scale a block": ("int4", "axis: int = 0, block_size: int = 16", (2, 32)),
}


def weighted(weight, text):
    """A model with one quantised matrix, w, and the numbers of it."""
    kind, attributes, shape = WEIGHTS[weight]
    low = 0 if kind[0] == "u" else -(2 ** (int(kind[-1]) - 1))
    numbers = np.random.default_rng(2).integers(low, low + 2 ** int(kind[-1]), (32, 32))
    read = f"w = DequantizeLinear <{attributes}> (q, d, z)".replace(" <>", "")
    made = parse(text.replace("READ", read), 21)
    tensor, element = onnx.helper.make_tensor, onnx.TensorProto.DataType.Value(kind.upper())
    for name, size, values in [("q", (32, 32), numbers), ("z", shape, np.full(shape, low + 5))]:
        made.graph.initializer.append(tensor(name, element, size, values.ravel()))
    made.graph.initializer.append(onnx.numpy_helper.from_array(np.full(shape, 0.01, np.float32), "d"))
    return made, (numbers - low - 5) * 0.01


@pytest.mark.parametrize("rendering", ["batch", "loop"])
@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("function", SLOPES)
@pytest.mark.parametrize("weight", WEIGHTS)
def test_files_of_quantised_weights(weight, function, product, rendering, tmp_path):
    text = f"g (float[N,32] x) => (float[N,32] y) {{ READ t = {function} (x) {PRODUCTS[product]} }}"
    made, matrix = weighted(weight, text)
    matrix = matrix.T if product == "transposed" else matrix
    x = np.random.default_rng(3).normal(size=(3, 32)).astype(np.float32)
    slopes = sum(SLOPES[function](x * k / 2) * share for k, share in enumerate((0.25, 0.5, 0.25)))
    expected = x * slopes * matrix[:, 1]
    method = IntegratedGradients(made, steps=3, batch_size=2, reducer=None)
    found = exported(method, rendering, tmp_path, {"x": x, "target": np.ones(3, int)})
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("weight", WEIGHTS)
def test_activations_in_a_loop(weight, tmp_path):
    """Nothing is rounded there: its gradients are exact, those of one batch off by some thousandths."""
    made, matrix = weighted(
        weight, "g (float[N,32] x) => (float[N,32] y) { READ t = MatMul (x, w) y = Tanh (t) }"
    )
    x = np.random.default_rng(3).normal(size=(3, 32)) / 8 / np.abs(matrix).max()
    column = matrix[:, 1]
    slopes = sum(share * (1 - np.tanh(x @ column * k / 2) ** 2) for k, share in enumerate((0.25, 0.5, 0.25)))
    expected = x * slopes[:, None] * column
    method = IntegratedGradients(made, output_layer="y", steps=3, batch_size=2, reducer=None)
    feeds = {"x": x.astype(np.float32), "target": np.ones(3, int)}
    for rendering, tolerance in (("loop", 1e-5), ("batch", 1e-2)):
        found = exported(method, rendering, tmp_path, feeds)
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("product", ["MatMul", "Gemm"])
@pytest.mark.parametrize("weight", WEIGHTS)
def test_products_in_a_branch(weight, product):
    """Its weights lie in the branch, where ONNX Runtime finds them, until models have theirs in one place."""
    text = f"""g (float[N,32] x, bool b) => (float[N,32] y) {{ y = If (b) <
        then_branch = a () => (float[N,32] f) {{ READ t = Exp (x) p = {product} (t, w) f = Tanh (p) }},
        else_branch = c () => (float[N,32] h) {{ h = Tanh (x) }}> }}"""
    made, matrix = weighted(weight, text)
    made.graph.node[0].attribute[0].g.initializer.extend(made.graph.initializer)
    del made.graph.initializer[:]
    x = np.random.default_rng(3).normal(size=(3, 32)).astype(np.float32) / 8
    ct = np.ones((3, 32), np.float32)
    found = run(vjp(made, wrt="x"), x=x, b=np.array(True), y_cotangent=ct)
    product = np.exp(x.astype(np.float64)) @ matrix
    y = np.tanh(product)
    # 1 / cosh^2 is 1 - y^2, which is 0 in float64 where y is rounded to 1.
    expected = (np.cosh(product) ** -2 @ matrix.T) * np.exp(x)
    np.testing.assert_allclose(found["y"], y, atol=1e-5)
    predicted = run(prepare(made, wrt="x").proto(), x=x, b=np.array(True))["y"]
    np.testing.assert_allclose(predicted, y, atol=1e-5)
    np.testing.assert_allclose(found["x_gradient"], expected, rtol=0, atol=1e-4 * np.abs(expected).max())
