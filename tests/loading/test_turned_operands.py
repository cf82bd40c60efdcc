"""Products of transposed values that are cast, with which ONNX Runtime 1.32 crashes, as the file has them."""

import numpy as np
import onnx
import onnxruntime
import pytest
from support.tiny_graphs import parse, run

from onnxattr import IntegratedGradients, Saliency, vjp
from onnxattr.graph.fusions import ends_the_process
from onnxattr.loading.load import load

RNG = np.random.default_rng(0)
W = RNG.normal(size=(4, 3)).astype(np.float32)
WEIGHT = f"float[4,3] w = {{{', '.join(map(str, W.ravel().tolist()))}}}"
LEFT = "k = MatMul(c, w)"
#: The type of x, (N, 5, 4), and the nodes from x to k, (5, N, 3), the rows of whose product W multiplies.
PRODUCTS = {
    "of half precision": ("float16", f"t = Transpose<perm = [1, 0, 2]>(x) c = Cast<to = 1>(t) {LEFT}"),
    "in half precision": (
        "float16",
        "t = Transpose<perm = [1, 0, 2]>(x) v = Cast<to = 10>(w) d = MatMul(t, v) k = Cast<to = 1>(d)",
    ),
    "of float64": ("double", f"t = Transpose<perm = [1, 0, 2]>(x) c = Cast<to = 1>(t) {LEFT}"),
    "in float64": (
        "float",
        "t = Transpose<perm = [1, 0, 2]>(x) c = Cast<to = 11>(t) v = Cast<to = 11>(w) d = MatMul(c, v) "
        "k = Cast<to = 1>(d)",
    ),
    "behind Identity": (
        "float16",
        f"t = Transpose<perm = [1, 0, 2]>(x) i = Identity(t) j = Cast<to = 1>(i) c = Identity(j) {LEFT}",
    ),
    "as the right operand": (
        "float16",
        "u = Transpose<perm = [0, 2, 1]>(x) t = Transpose<perm = [1, 2, 0]>(x) c = Cast<to = 1>(t) "
        "v = Transpose<perm = [1, 0]>(w) r = MatMul(v, c) k = Transpose<perm = [0, 2, 1]>(r)",
    ),
    "read by others too": (
        "float16",
        "t = Transpose<perm = [1, 0, 2]>(x) c = Cast<to = 1>(t) l = MatMul(c, w) n = Neg(c) "
        "o = MatMul(n, w) p = Add(l, o) k = Sub(p, o)",
    ),
}  # fmt: skip
#: The same weight in half precision, by its bits.
HALF = f"float16[4,3] w = {{{', '.join(map(str, W.astype(np.float16).view(np.uint16).ravel()))}}}"
AXES = "int64[1] time = {0}"


def model_of(name: str) -> tuple[onnx.ModelProto, np.ndarray]:
    kind, nodes = PRODUCTS[name]
    if name == "as the right operand":  # (5, 4, N): every third axis of t is a sample
        nodes = nodes.replace("u = Transpose<perm = [0, 2, 1]>(x) ", "")
    model = parse(
        f"g ({kind}[N,5,4] x) => (float[N,3] y) <{WEIGHT}, {AXES}> {{ {nodes} s = Tanh(k) "
        "y = ReduceSum<keepdims = 0>(s, time) }",
    )
    dtype = {"float16": np.float16, "double": np.float64, "float": np.float32}[kind]
    return model, RNG.normal(size=(2, 5, 4)).astype(dtype)


def gradient(x: np.ndarray, labels) -> np.ndarray:
    slopes = (1 - np.tanh(x.astype(float) @ W) ** 2) * np.eye(3)[labels][:, None]
    return slopes @ W.T


@pytest.mark.parametrize("name", PRODUCTS)
def test_maps_and_files(name, tmp_path):
    model, x = model_of(name)
    assert ends_the_process(model.graph)
    atol = 2e-3 if x.dtype == np.float16 else 1e-5
    found = Saliency(model, reducer=None, verify=True).explain(x, [0, 2])
    np.testing.assert_allclose(found, np.abs(gradient(x, [0, 2])), atol=atol)
    method = IntegratedGradients(model, reducer=None, steps=2)
    for rendering in ("batch", "loop"):
        method.export(tmp_path / "file.onnx", rendering)
        file = onnx.load(tmp_path / "file.onnx")
        assert not ends_the_process(file.graph)
        attribution = run(file, x=x, target=np.array([0, 2]))["attribution"]
        mean = (gradient(x, [0, 2]) + gradient(0 * x, [0, 2])) / 2
        np.testing.assert_allclose(attribution, x.astype(float) * mean, atol=2 * atol)


@pytest.mark.parametrize("wrt", ["t", "c"])
def test_values_that_are_explained_stay(wrt):
    model, x = model_of("of half precision")
    found = run(vjp(model, wrt=[wrt]), x=x, y_cotangent=np.eye(3, dtype=np.float32)[[0, 2]])
    expected = gradient(x, [0, 2]).transpose(1, 0, 2)
    np.testing.assert_allclose(found[f"{wrt}_gradient"], expected, atol=2e-3)


@pytest.mark.parametrize("rewrites", [None, []])
@pytest.mark.parametrize("axes", ["N,5,4", "N,T,4"])
def test_gradients_that_alone_have_such_products(rewrites, axes, tmp_path):
    """The model puts time first behind the product, and runs as it is."""
    model = parse(
        f"g (float16[{axes}] x) => (float16[N,3] y) <{HALF}, {AXES}> {{ k = MatMul(x, w) "
        "t = Transpose<perm = [1, 0, 2]>(k) y = ReduceSum<keepdims = 0>(t, time) }"
    )
    x = RNG.normal(size=(2, 5, 4)).astype(np.float16)
    run(model, x=x)
    method = IntegratedGradients(model, reducer=None, steps=2, rewrites=rewrites)
    for rendering in ("batch", "loop"):
        method.export(tmp_path / "file.onnx", rendering)
        found = run(onnx.load(tmp_path / "file.onnx"), x=x, target=np.array([0, 2]))["attribution"]
        np.testing.assert_allclose(found, x.astype(float) * W.T[[0, 2], None], atol=5e-3)
    assert not ends_the_process(vjp(model).graph)


def test_products_inside_a_branch():
    body = "{{ {t} c = Cast<to = 1>(t) {k} = MatMul(c, w) }}"
    turned = "t = Transpose<perm = [1, 0, 2]>(x)"
    model = parse(
        f"g (float16[N,5,4] x, bool b) => (float[5,N,3] y) <{WEIGHT}> {{ y = If(b) "
        + "<then_branch = p () => (float[5,N,3] k) "
        + body.format(t=turned, k="k")
        + ", else_branch = q () => (float[5,N,3] l) "
        + body.format(t="n = Neg(x) " + turned.replace("(x)", "(n)"), k="l")
        + "> }"
    )
    assert ends_the_process(model.graph)
    gradients = vjp(model, wrt=["x"])
    assert not ends_the_process(gradients.graph)
    x, ct = RNG.normal(size=(2, 5, 4)).astype(np.float16), np.ones((5, 2, 3), np.float32)
    for given, sign in ((True, 1), (False, -1)):
        found = run(gradients, x=x, b=np.array(given), y_cotangent=ct)["x_gradient"]
        np.testing.assert_allclose(found, np.broadcast_to(sign * W.sum(1), x.shape), atol=2e-3)


@pytest.mark.parametrize("perm", [[0, 2, 1], [2, 0, 1], [2, 1, 0]])
def test_other_transposes_stay(perm):
    sizes = [3, 4, 5]
    last = sizes[perm[-1]]
    model = parse(
        f"g (float16[3,4,5] x, float[{last},2] w) => (float[A,B,C] y) "
        f"{{ t = Transpose<perm = {perm}>(x) c = Cast<to = 1>(t) y = MatMul(c, w) }}"
    )
    assert not ends_the_process(model.graph)
    onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert "keep turned operands apart" not in load(model).meta["changed_by"]
