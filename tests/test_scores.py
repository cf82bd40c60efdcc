"""Scores other than the sum of the output times the target: closed forms, in every rendering."""

import json

import numpy as np
import onnx
import pytest
from explained import close
from tiny_graphs import parse

import onnxattr
from onnxattr.attributions import GradientInput, IntegratedGradients, Saliency, SmoothGrad, VarGrad
from onnxattr.errors import OnnxAttrError

W = np.array([[1.0, -2.0, 0.5], [0.25, 1.5, -1.0]], np.float32)
X = np.array([[0.5, -1.0], [2.0, 0.75], [-1.5, 0.3]], np.float32)
Y = np.array([[1.0, 0.0, 0.0], [0.5, -2.0, 1.0], [0.0, 0.0, 3.0]], np.float32)
LINEAR_MODEL = """m (float[N,2] x) => (float[N,3] z)
    <float[2,3] w = {1, -2, 0.5, 0.25, 1.5, -1}> { z = MatMul(x, w) }"""


def squares(f, x, y):
    """sum of z^2 y."""
    return (f(x) ** 2 * y).sum(axis=-1)


def of_squares(x):
    """Its gradient: 2 (z y) W^T."""
    return 2 * (x @ W * Y) @ W.T


def contrast(f, x, y):
    """sum of z y minus half of that at 3 x: a second call of the model on a transformed input."""
    return ((f(x) - 0.5 * f(3.0 * x)) * y).sum(axis=-1)


def of_contrast(x):
    """(1 - 3 / 2) y W^T."""
    return -0.5 * Y @ W.T


METHODS = {
    "GradientInput": (GradientInput, {}, lambda g: X * g(X)),
    "Saliency": (Saliency, {}, lambda g: np.abs(g(X))),
    # The gradients are linear in x: the trapezoid rule is exact.
    "IntegratedGradients": (IntegratedGradients, {"steps": 5}, lambda g: X * g(0.5 * X)),
    "SmoothGrad, without noise": (SmoothGrad, {"nb_samples": 4, "noise": 1e-7}, lambda g: g(X)),
}


@pytest.mark.parametrize("rendering", ["driven", "batch", "loop"])
@pytest.mark.parametrize(
    "operator", [(squares, of_squares), (contrast, of_contrast)], ids=["squares", "contrast"]
)
@pytest.mark.parametrize("name", METHODS)
def test_functions_have_their_gradient_in_every_rendering(tmp_path, name, operator, rendering):
    method, options, expected = METHODS[name]
    function, gradient = operator
    explained = method(parse(LINEAR_MODEL), operator=function, batch_size=4, **options)
    if rendering != "driven":
        if rendering == "loop" and name in ("GradientInput", "Saliency"):
            pytest.skip("one gradient, no loop")
        explained.export(tmp_path / "e.onnx", rendering, target="weights")
        explained = onnxattr.load(tmp_path / "e.onnx")
    close(explained.explain(X, Y), expected(gradient).astype(np.float32), 2e-6)


@pytest.mark.parametrize("rendering", ["driven", "batch", "loop"])
def test_the_delta_is_that_of_the_score(tmp_path, rendering):
    """With 2 points the attribution of z^2 is exact too; that of z^3 misses by (1/2 - 1/3) of ... a known share."""
    method = IntegratedGradients(
        parse(LINEAR_MODEL), operator=lambda f, x, y: (f(x) ** 3 * y).sum(axis=-1), steps=2, batch_size=2
    )
    if rendering != "driven":
        method.export(tmp_path / "e.onnx", rendering, target="weights")
        method = onnxattr.load(tmp_path / "e.onnx")
    # 3 z^2 at both ends, halved, times z: 1.5 z^3 y; f(x) - f(0) is z^3 y.
    close(method.convergence_delta(X, Y), 0.5 * ((X @ W) ** 3 * Y).sum(axis=-1), 1e-5)


def test_metadata_say_what_is_explained(tmp_path):
    Saliency(parse(LINEAR_MODEL), operator=squares).export(tmp_path / "e.onnx")
    about = json.loads(onnx.load(tmp_path / "e.onnx").metadata_props[0].value)
    assert about["score"]["name"] == about["parameters"]["operator"] == "squares"
    assert "f(x) ** 2" in about["score"]["formula"]


def test_weights_of_a_second_call_are_shared(tmp_path):
    sizes = []
    for operator in (squares, contrast):
        VarGrad(parse(LINEAR_MODEL), operator=operator).export(tmp_path / "e.onnx")
        held = [t for t in onnx.load(tmp_path / "e.onnx").graph.initializer if list(t.dims) == [2, 3]]
        sizes.append(len(held))
    assert sizes == [1, 1]


@pytest.mark.parametrize(
    ("operator", "said"),
    [
        ("segmentation", r"operator='segmentation': expected None, .*Did you mean 'semantic segmentation'\?"),
        (3, r"operator=3: expected None"),
        (lambda f, x: f(x), r"expected a function of three arguments, operator\(f, x, y\)"),
        (lambda f, x, y, z: f(x), r"expected a function of three arguments"),
    ],
)
def test_what_is_no_operator_is_refused(operator, said):
    with pytest.raises(OnnxAttrError, match=said):
        Saliency(parse(LINEAR_MODEL), operator=operator)
