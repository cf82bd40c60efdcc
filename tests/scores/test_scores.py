"""Scores other than the sum of the output times the target: closed forms, in every rendering."""

import json

import numpy as np
import onnx
import pytest
from support.explained import close
from support.tiny_graphs import parse

import onnxattr
from onnxattr import xp
from onnxattr.attributions import GradientInput, IntegratedGradients, Saliency, SmoothGrad, VarGrad
from onnxattr.errors import OnnxAttrError, TargetError

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


RENDERINGS = [
    (name, rendering)
    for name, (_, options, _) in METHODS.items()
    for rendering in ("driven", "batch", "loop")[: 3 if options else 2]  # one gradient has no loop
]


@pytest.mark.parametrize(
    "operator", [(squares, of_squares), (contrast, of_contrast)], ids=["squares", "contrast"]
)
@pytest.mark.parametrize(("name", "rendering"), RENDERINGS)
def test_functions_have_their_gradient_in_every_rendering(tmp_path, name, operator, rendering):
    method, options, expected = METHODS[name]
    function, gradient = operator
    explained = method(parse(LINEAR_MODEL), operator=function, batch_size=4, **options)
    if rendering != "driven":
        explained.export(tmp_path / "e.onnx", rendering, target="weights")
        explained = onnxattr.load(tmp_path / "e.onnx")
    close(explained.explain(X, Y), expected(gradient).astype(np.float32), 2e-6)


@pytest.mark.parametrize("rendering", ["driven", "batch", "loop"])
def test_the_delta_is_that_of_the_score(tmp_path, rendering):
    """With 2 points the gradient of z^3, 3 z^2 at x and 0 at 0, gives 1.5 z^3 in place of z^3."""
    method = IntegratedGradients(
        parse(LINEAR_MODEL), operator=lambda f, x, y: (f(x) ** 3 * y).sum(axis=-1), steps=2, batch_size=2
    )
    if rendering != "driven":
        method.export(tmp_path / "e.onnx", rendering, target="weights")
        method = onnxattr.load(tmp_path / "e.onnx")
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


RELU_MODEL = parse("""m (float[N,4] x) => (float[N,3] z)
    <float[4,3] v = {1, -2, 0.5, 0.25, 1.5, -1, 0.3, 0.4, -0.7, 1, 2, -1},
     float[3,3] w = {1, -1, 0.5, 0.25, 1.5, -1, 0.3, 0.4, -0.7}>
    { a = MatMul(x, v) r = Relu(a) z = MatMul(r, w) }""")
V4 = np.array([1, -2, 0.5, 0.25, 1.5, -1, 0.3, 0.4, -0.7, 1, 2, -1]).reshape(4, 3)
W3 = np.array([1, -1, 0.5, 0.25, 1.5, -1, 0.3, 0.4, -0.7]).reshape(3, 3)
X4 = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
BACKWARD = {
    "GradientInput": lambda a, ct: ct * (a > 0),
    "DeconvNet": lambda a, ct: np.maximum(ct, 0),
    "GuidedBackprop": lambda a, ct: np.maximum(ct, 0) * (a > 0),
}


@pytest.mark.parametrize("name", BACKWARD)
def test_the_model_has_its_relus_overridden_in_every_call_and_the_operator_not(name):
    def operator(f, x, y):
        return (xp.maximum(f(x), 0.0) * y + f(-x) * 0.5).sum(axis=-1)

    def back(x, ct):
        return BACKWARD[name](x @ V4, ct @ W3.T) @ V4.T

    found = getattr(onnxattr, name)(RELU_MODEL, operator=operator).explain(X4, Y)
    z = np.maximum(X4 @ V4, 0) @ W3
    expected = back(X4, (z > 0) * Y) - back(-X4, np.full(Y.shape, 0.5))
    close(found, (expected * (X4 if name == "GradientInput" else 1)).astype(np.float32), 1e-6)


def test_where_an_operator_is_not_finite_is_said():
    method = IntegratedGradients(RELU_MODEL, operator=lambda f, x, y: xp.log(f(x)).sum(axis=-1), steps=4)
    with pytest.warns(
        onnxattr.NonFiniteWarning, match=r"in the Log of the operator .*<lambda>, at point 1 of 4"
    ):
        method.explain(X4, Y)


@pytest.mark.parametrize("fixed", ["1", "N"])
def test_one_sample_at_a_time(fixed, tmp_path):
    model = parse(LINEAR_MODEL.replace("N", fixed))
    method = IntegratedGradients(model, operator=squares, steps=5, batch_size=4)
    close(method.explain(X, Y), (X * of_squares(0.5 * X)).astype(np.float32), 2e-6)
    close(method.score(X, Y), ((X @ W) ** 2 * Y).sum(axis=-1), 2e-6)


def test_a_model_whose_rows_are_one_sample(tmp_path):
    """The softmax over rows mixes them: all rows are one sample, and y has the output's shape."""
    model = parse("m (float[T,3] x) => (float[T,3] y) { y = Softmax<axis=0>(x) }")
    x = np.array([[1.0, 2.0, -1.0], [0.5, 0.1, 1.0]], np.float32)
    y = np.array([[1.0, 0.0, 2.0], [0.0, -1.0, 1.0]], np.float32)
    with pytest.warns(UserWarning, match="one sample"):
        method = GradientInput(model, operator=lambda f, x, y: (f(x) ** 2 * y).sum(axis=(1, 2)))
    p = np.exp(x) / np.exp(x).sum(axis=0)
    ct = 2 * p * y
    expected = x * p * (ct - (ct * p).sum(axis=0))
    close(method.explain(x, y), expected, 2e-6)
    method.export(tmp_path / "e.onnx")
    close(onnxattr.load(tmp_path / "e.onnx").explain(x, y), expected, 2e-6)


TWO_OUTPUTS = """m (float[N,2] x) => (float[N,3] z, float[N,2] t)
    <float[2,3] w = {1, -2, 0.5, 0.25, 1.5, -1}> { z = MatMul(x, w) t = Tanh(x) }"""


def of_both(f, x, y):
    """sum of z y, times the first of t."""
    outputs = f(x)
    return (outputs["z"] * y).sum(axis=-1) * outputs["t"][:, 0]


@pytest.mark.parametrize("target", ["labels", "weights"])
@pytest.mark.parametrize(
    ("build", "options", "rendering"),
    [
        (Saliency, {}, "batch"),
        (IntegratedGradients, {"steps": 5}, "batch"),
        (IntegratedGradients, {"steps": 5}, "loop"),
        (IntegratedGradients, {"points": "adaptive", "tolerance": 0.02}, "loop"),
        (SmoothGrad, {"nb_samples": 4}, "batch"),
        (SmoothGrad, {"nb_samples": 4}, "loop"),
    ],
)
def test_a_file_tells_the_score_and_what_it_is_computed_from(build, options, rendering, target, tmp_path):
    """Its outputs are those of NumPy, and the result of a file has the scores of the method's own."""
    labels, rows = np.array([0, 2, 1]), np.arange(3)
    expected = (X @ W)[rows, labels] * np.tanh(X[:, 0])
    method = build(parse(TWO_OUTPUTS), operator=of_both, progress=False, **options)
    method.export(tmp_path / "e.onnx", rendering, target=target)
    file = onnxattr.load(tmp_path / "e.onnx")
    given = labels if target == "labels" else np.eye(3, dtype=np.float32)[labels]
    feeds = {"x": X, "target": given} | ({"seed": np.array(0)} if "nb_samples" in options else {})
    outputs = dict(zip(file._session.outputs, file._session.run(feeds), strict=True))
    np.testing.assert_allclose(outputs["prediction"], X @ W, rtol=1e-6)
    np.testing.assert_allclose(outputs["prediction_t"], np.tanh(X), rtol=1e-6)
    np.testing.assert_allclose(outputs["score"], expected, rtol=1e-6)
    for found in (file(X, given), method(X, given)):
        np.testing.assert_allclose(found.scores, expected, rtol=1e-6)
    np.testing.assert_allclose(file.score(X, given), method.score(X, given), rtol=1e-6)


@pytest.mark.parametrize("operator", [None, "classification", "regression"])
def test_a_file_of_a_sum_of_outputs_tells_its_score(operator, tmp_path):
    method = Saliency(parse(LINEAR_MODEL), operator=operator)
    method.export(tmp_path / "e.onnx", target="weights")
    file = onnxattr.load(tmp_path / "e.onnx")
    assert "score" not in file._session.outputs
    np.testing.assert_allclose(file(X, Y).scores, (X @ W * Y).sum(axis=1), rtol=1e-6)


def infinite(f, x, y):
    """A score that is infinite where x is positive, whose gradient is finite."""
    return (f(x) * y).sum(axis=-1) + xp.where(x[:, 0] > 0, xp.inf, 0.0)


def no_number(f, x, y):
    """A score that is NaN where x is positive: its gradient does not reach the root."""
    return (f(x) * y).sum(axis=-1) + xp.where(x[:, 0] > 0, xp.sqrt(-1.0 - 0.0 * y[:, 0]), 0.0)


@pytest.mark.parametrize(
    ("operator", "why"), [(infinite, "an infinity that the operator"), (no_number, "Sqrt")]
)
def test_a_score_that_is_not_finite_is_said(operator, why, tmp_path):
    """Although the map is finite, by explain, by results and by a file."""
    method = Saliency(parse(LINEAR_MODEL), operator=operator)
    method.export(tmp_path / "e.onnx", target="weights")
    said = r"2 of 3 samples .* the scores of samples 0, 1 are NaN or infinite\. "
    for call in (method.explain, method, onnxattr.load(tmp_path / "e.onnx")):
        with pytest.warns(onnxattr.errors.NonFiniteWarning, match=said) as heard:
            assert np.isfinite(np.asarray(call(X, Y))).all()
        assert why in str(heard[0].message)


def test_a_zone_without_classes_is_refused_with_how_to_write_it():
    model = parse("m (float[N,3,4,5] x) => (float[N,3,4,5] y) { y = Tanh(x) }")
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    with pytest.raises(TargetError, match=r"mask = np.zeros\(output.shape\); mask\[:, 3\] = zone"):
        GradientInput(model, operator="semantic segmentation").explain(x, x[:, 0] > 0)
