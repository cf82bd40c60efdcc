"""Fourier transforms of float32: as exact as float32 allows at any length, where ONNX Runtime's are up to 1e-4 off."""

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from support.gradient_graphs import cotangents_of, gradients_of, run
from support.tiny_graphs import parse

from onnxattr import vjp
from onnxattr.attributions import GradientInput
from onnxattr.autodiff.standard import STANDARD
from onnxattr.loading.load import load
from onnxattr.testing import CORRECTED, as_double

NAME = "multiply out Fourier transforms"
WINDOW = ", ".join(f"{value:.8f}" for value in np.hanning(61)[:60])
STFT = f"int64 step = {{17}}, float[60] window = {{{WINDOW}}}"


def model(size: str, node: str, weights: str = "", rank: int = 3, opset: int = 20) -> onnx.ModelProto:
    declared = f"<{weights}>" if weights else ""
    dims = ", ".join("?" * rank)
    return parse(f"g (float[{size}] x) => (float[{dims}] y) {declared} {{ {node} }}", opset)


#: Transforms whose length is no power of two.
CASES = {
    "stft": model("N,T,1", "y = STFT(x, step, window)", STFT, 4),
    "stft, all frequencies": model("N,T,1", "y = STFT<onesided = 0>(x, step, window)", STFT, 4),
    "stft of complex numbers": model("N,T,2", "y = STFT<onesided = 0>(x, step, window)", STFT, 4),
    "stft of a flat series": model("N,T", "y = STFT(x, step, window)", STFT, 4),
    "stft without a window": model("N,T,1", "y = STFT(x, step, , size)", "int64 step = {13}, int64 size = {60}", 4),
    "dft": model("2,120,1", "y = DFT<onesided = 1>(x, , axis)", "int64 axis = {1}"),
    "dft of complex numbers": model("2,120,2", "y = DFT(x, , axis)", "int64 axis = {1}"),
    "dft of a default axis": model("2,120,2", "y = DFT(x)"),
    "dft of another axis": model("N,120,5,2", "y = DFT(x, , axis)", "int64 axis = {1}", 4),
    "dft of opset 17": model("2,120,2", "y = DFT<axis = 1>(x)", opset=17),
    "dft, cut": model("2,120,2", "y = DFT(x, size, axis)", "int64 size = {100}, int64 axis = {1}"),
    "dft, continued": model("2,90,2", "y = DFT(x, size, axis)", "int64 size = {120}, int64 axis = {1}"),
    "inverse": model("2,120,2", "y = DFT<inverse = 1>(x, , axis)", "int64 axis = {1}"),
    "inverse of a half": model(
        "2,61,2", "y = DFT<inverse = 1, onesided = 1>(x, size, axis)", "int64 size = {120}, int64 axis = {1}"
    ),
    "in a branch": model(
        "2,120,1",
        "yes = Constant<value = bool {1}>() y = If(yes) <"
        "then_branch = one () => (float[?,?,?] a) { a = DFT<onesided = 1>(x) }, "
        "else_branch = two () => (float[?,?,?] b) { b = Concat<axis = 2>(x, x) }>",
    ),
}  # fmt: skip
STAYS = {
    "a power of two": model("2,64,1", "y = DFT(x, , axis)", "int64 axis = {1}"),
    "an unknown size": model("2,T,1", "y = DFT(x, , axis)", "int64 axis = {1}"),
    "a window of another length": model("2,T,1", "y = STFT(x, step, window, size)", STFT + ", int64 size = {70}", 4),
}  # fmt: skip


def drawn(network: onnx.ModelProto) -> dict[str, np.ndarray]:
    dims = network.graph.input[0].type.tensor_type.shape.dim
    shape = [d.dim_value or {"N": 2, "T": 300}[d.dim_param] for d in dims]
    return {"x": np.random.default_rng(0).normal(size=shape).astype(np.float32)}


@pytest.mark.parametrize("name", CASES)
def test_transform(name):
    network = CASES[name]
    assert NAME in load(network).meta["changed_by"]
    feeds, gradient = drawn(network), vjp(network, ["x"])
    double = ReferenceEvaluator(vjp(as_double(network), ["x"]), new_ops=[*CORRECTED])
    primal = run(network, feeds)
    feeds |= cotangents_of(gradient, primal)
    found = run(gradient, feeds)
    results = double.run(None, {key: array.astype(np.float64) for key, array in feeds.items()})
    expected = dict(zip(double.output_names, results, strict=True))
    for key in ("y", *gradients_of(found)):
        assert found[key].shape == expected[key].shape
        np.testing.assert_allclose(found[key], expected[key], atol=1e-6 * np.abs(expected[key]).max())


@pytest.mark.parametrize("name", STAYS)
def test_transform_that_stays(name):
    assert NAME not in load(STAYS[name]).meta["changed_by"]


def test_a_rule_of_the_callers_own_is_called():
    called = []
    own = lambda op, node, ct: called.append(node) or STANDARD["DFT"](op, node, ct)  # noqa: E731
    vjp(CASES["dft"], ["x"], rules=STANDARD | {"DFT": own})
    assert called


def test_a_map_of_a_log_spectrum():
    """An error of 3e-5 of the largest value is many times a small one, whose logarithm is taken."""
    node = "z = STFT(x, step, window) m = ReduceL2<keepdims = 0>(z, last) p = Add(m, tiny) y = Log(p)"
    weights = STFT + ", int64[1] last = {-1}, float tiny = {0.001}"
    network = model("N,2000,1", node, weights)
    x = np.random.default_rng(0).normal(size=(2, 2000, 1)).astype(np.float32)
    y = ReferenceEvaluator(as_double(network), new_ops=[*CORRECTED]).run(["y"], {"x": x.astype(np.float64)})[
        0
    ]
    gradient = ReferenceEvaluator(vjp(as_double(network), ["x"]), new_ops=[*CORRECTED])
    expected = (
        gradient.run(["x_gradient"], {"x": x.astype(np.float64), "y_cotangent": np.ones_like(y)})[0] * x
    )
    found = GradientInput(network, verify=True).explain(x, np.ones(y.shape, np.float32))
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())
