"""Operands without elements mean what they mean to ONNX Runtime, and fix no batch."""

import numpy as np
import pytest
from support.tiny_graphs import parse, run

from onnxattr import GradientInput, IntegratedGradients, SmoothGrad, SquareGrad, load
from onnxattr.compile.gradient import vjp
from onnxattr.errors import ShapeError

#: What later steps add up to, of which a sequence of one step has none.
LATER = (
    "g (float[N, T, 2] x) => (float[N, T, 2] y) <int64[1] a = {1}, int64[1] end = {99}> "
    "{ v = Slice(x, a, end, a) w = Sin(v) s = ReduceSum(w, a) t = Sin(x) y = Add(s, t) }"
)
#: Models of y = x * x, whatever the batch.
SQUARES = {
    "of the batch of an export": ("<float[5, 0] c = {}>", "z = Concat<axis = 1>(x, c)"),
    "of a batch of 1, first": ("<float[1, 0] c = {}>", "z = Concat<axis = -1>(c, x)"),
    "beside another": (
        "<float[5, 0] c = {}, float[0, 4] d = {}>",
        "v = Concat<axis = 1>(c, x) z = Concat<axis = 0>(d, v)",
    ),
    "as a node": ("", "c = Constant<value = float[5, 0] {}>() z = Concat<axis = 1>(c, x, c)"),
    "in a branch": (
        "<float[5, 0] c = {}, bool yes = {1}>",
        "z = If(yes) <then_branch = a () => (float[N, 4] p) { p = Concat<axis = 1>(x, c) },"
        " else_branch = b () => (float[N, 4] q) { q = Neg(x) }>",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SQUARES)
@pytest.mark.parametrize("batch_size", [None, 2])
def test_constants_of_a_concat(name, batch_size):
    weights, nodes = SQUARES[name]
    model = parse(f"g (float[N, 4] x) => (float[N, 4] y) {weights} {{ {nodes} y = Mul(z, z) }}")
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    method = IntegratedGradients(model, steps=4, batch_size=batch_size, reducer=None)
    for rows in (x, x[:3]):
        found = method.explain(rows, np.ones_like(rows))
        np.testing.assert_allclose(found, rows**2, rtol=0, atol=1e-6)


@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize(
    ("sizes", "shape"),
    [("2, 1, 3", (2, 1, 3)), ("N, 1, 3", (2, 1, 3)), ("N, M, 3", (1, 4, 3)), ("2, 4, 3", (2, 4, 3))],
)
def test_axes_of_a_squeeze(opset, sizes, shape):
    squeeze = "Squeeze<axes: ints = []>(x)" if opset < 13 else "Squeeze(x, a)"
    weights = "" if opset < 13 else "<int64[0] a = {}>"
    model = parse(f"g (float[{sizes}] x) => (float y) {weights} {{ z = {squeeze} y = Mul(z, z) }}", opset, 7)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    predicted = run(model, x=x)["y"]
    assert predicted.shape == tuple(size for size in shape if size != 1)
    found = run(vjp(model, "x"), x=x, y_cotangent=np.ones_like(predicted))
    np.testing.assert_array_equal(found["y"], predicted)
    np.testing.assert_allclose(found["x_gradient"], 2 * x, rtol=1e-6)


#: Affine values without elements, at which shared work could begin, beside y = sin(x) or the whole of y = 0.
EMPTY = {
    "of a Gather": (
        "<int64[0] c = {}>",
        "v = Gather<axis = 1>(x, c) s = ReduceSum(v, a) t = Sin(x) y = Add(s, t)",
        1,
    ),
    "of a Split": (
        "<int64[2] c = {4, 0}>",
        "h, v = Split<axis = 1>(x, c) w = Exp(v) s = ReduceSum(w, a) t = Sin(h) y = Add(s, t)",
        1,
    ),
    "alone": (
        "<int64[0] c = {}>",
        "v = Gather<axis = 1>(x, c) s = Sin(v) t = ReduceSum(s, a) y = Expand(t, n)",
        0,
    ),
}


@pytest.mark.parametrize(
    ("name", "method", "rendering"),
    [
        *((name, IntegratedGradients, rendering) for name in EMPTY for rendering in ("driven", "loop")),
        ("of a Split", SmoothGrad, "driven"),
        ("of a Split", SmoothGrad, "loop"),
        ("alone", SmoothGrad, "driven"),
    ],
)
def test_no_shared_work_begins_there(name, method, rendering):
    weights, nodes, factor = EMPTY[name]
    constants = "a = Constant<value = int64[1] {1}>() n = Constant<value = int64[2] {1, 4}>()"
    model = parse(f"g (float[N, 4] x) => (float[N, 4] y) {weights} {{ {constants} {nodes} }}")
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    noisy = method is SmoothGrad
    points = {"nb_samples": 3, "noise": 1e-6, "seed": 0} if noisy else {"steps": 300}
    explainer = method(model, reducer=None, share=True, batch_size=64, **points)
    if rendering == "driven":
        found = explainer.explain(x, np.ones_like(x))
    else:
        feeds = {"x": x, "target": np.ones_like(x)} | ({"seed": np.array(0)} if noisy else {})
        found = run(explainer.explainer(rendering, target="weights"), **feeds)["attribution"]
    np.testing.assert_allclose(found, factor * (np.cos(x) if noisy else np.sin(x)), rtol=0, atol=2e-5)


def test_a_length_that_leaves_no_element():
    """A sequence of one step has no later ones: the value at which shared work begins is empty in a run alone."""
    x = np.random.default_rng(0).normal(size=(3, 1, 2)).astype(np.float32)
    found = IntegratedGradients(parse(LATER), steps=300, share=True, batch_size=2).explain(x, np.ones_like(x))
    np.testing.assert_allclose(found, np.sin(x), rtol=0, atol=2e-5)


#: The method, its points, and what it finds of one step: sin(x) along the path.
OF_LATER = {
    "a path": (IntegratedGradients, {"steps": 300}, np.sin),
    "an adaptive path": (
        IntegratedGradients,
        {"points": "adaptive", "tolerance": 1e-6, "max_steps": 300},
        np.sin,
    ),
}


@pytest.mark.parametrize("rendering", ["loop", "batch"])
@pytest.mark.parametrize("case", OF_LATER)
def test_files_of_a_length_that_leaves_no_element(case, rendering, tmp_path):
    kind, points, found_in_one_step = OF_LATER[case]
    method = kind(parse(LATER), reducer=None, share=True, batch_size=64, **points)
    if (case, rendering) == ("an adaptive path", "batch"):
        pytest.skip("points that follow from those before are no batch")
    method.export(tmp_path / "e.onnx", rendering, target="weights")
    x = np.random.default_rng(0).normal(size=(3, 1, 2)).astype(np.float32)
    found = load(tmp_path / "e.onnx").explain(x, np.ones_like(x))
    np.testing.assert_allclose(found, found_in_one_step(x), rtol=0, atol=2e-4)


@pytest.mark.parametrize("method", [IntegratedGradients, SmoothGrad, SquareGrad])
def test_an_explained_value_may_have_no_elements_in_a_run(method):
    """The maps of later steps of a sequence of one step are empty."""
    found = method(parse(LATER), wrt="v", reducer=None).explain(np.ones((3, 1, 2)), np.ones((3, 1, 2)))
    assert found.shape == (3, 0, 2)


@pytest.mark.parametrize("method", [IntegratedGradients, SmoothGrad, GradientInput])
def test_an_explained_value_that_never_has_elements(method):
    model = parse(
        "g (float[N, 4] x) => (float[N, 4] y) <int64[1] a = {1}, int64[1] start = {4}, int64[1] end = {9}> "
        "{ v = Slice(x, start, end, a) w = Sin(v) y = Concat<axis = 1>(w, x) }"
    )
    with pytest.raises(ShapeError, match=r"wrt 'v' has shape \(N, 0\): there is no value to explain"):
        method(model, wrt="v")
