"""A row that overflows is told and leaves the rows beside it as they are, in every method and rendering.

Its own attributions may be finite zeros, where nothing contributes; its prediction is not finite then.
"""

import numpy as np
import onnx
import pytest
from support.explained import FIVE_DRAWS, GIVEN_OR_PREDICTED, in_chunks, largest_difference, plain
from support.methods import ON_A_PATH, ON_ANY_MODEL
from support.small_models import SMALL, build, node, rows
from support.tiny_graphs import parse, run

import onnxattr.attributions as attributions
from onnxattr import vjp
from onnxattr.errors import NonFiniteWarning

BAD = 1
KEPT = [0, 2]


def kinked():
    """sqrt(x + 1), with infinite and undefined gradients at -1 and below."""
    nodes = [
        node("Add", ["x", "one"], ["moved"]),
        node("Sqrt", ["moved"], ["root"]),
        node("MatMul", ["root", "w"], ["logits"]),
    ]
    weights = {"one": np.float32(1), "w": np.array([[1, -1, 2], [2, 1, -1]], np.float32)}
    return build(nodes, {"x": ["N", 2]}, {"logits": ["N", 3]}, weights)


def overflowing(name):
    """A model of ``SMALL`` behind x exp(x), and its three rows, the middle one so large that it overflows."""
    small = SMALL[name]()
    model = small.model
    for value in model.graph.input:
        for reader in model.graph.node:
            reader.input[:] = [f"{value.name}_grown" if n == value.name else n for n in reader.input]
        model.graph.node.insert(0, node("Mul", [value.name, f"{value.name}_exp"], [f"{value.name}_grown"]))
        model.graph.node.insert(0, node("Exp", [value.name], [f"{value.name}_exp"]))
    inputs = {key: array.copy() for key, array in small.inputs.items()}
    for array in inputs.values():
        array[BAD] = 200 + array[BAD]
    return model, small.inputs, inputs


def at_a_kink():
    fine = {"x": 4 + np.abs(rows(0, 2))}
    bad = {"x": fine["x"].copy()}
    bad["x"][BAD] = [-1, -2]
    return kinked(), fine, bad


CASES = {name: lambda name=name: overflowing(name) for name in ("mlp", "cnn_nchw", "series", "two_inputs")}
CASES["sqrt"] = at_a_kink


def as_dict(maps, inputs):
    return maps if isinstance(maps, dict) else {next(iter(inputs)): maps}


@pytest.mark.parametrize("method", ON_ANY_MODEL)
@pytest.mark.parametrize("case", CASES)
def test_driven(case, method, recwarn):
    model, fine, bad = CASES[case]()
    explainer = getattr(attributions, method)(model, **FIVE_DRAWS.get(method, {}))
    for chunk in (1, 4, 7, None):
        explainer = in_chunks(explainer, chunk)
        expected = as_dict(explainer.explain(fine, GIVEN_OR_PREDICTED), fine)
        with pytest.warns(
            NonFiniteWarning, match=rf"^1 of 3 samples have a result that is not finite: .* of sample {BAD} "
        ):
            found = as_dict(explainer.explain(bad, GIVEN_OR_PREDICTED), bad)
        _check_kept(expected, found, f"chunks of {chunk}")
        if method in ON_A_PATH:
            expected, found = (explainer.convergence_delta(x, GIVEN_OR_PREDICTED) for x in (fine, bad))
            np.testing.assert_allclose(found[KEPT], expected[KEPT], rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", ON_ANY_MODEL)
@pytest.mark.parametrize("case", CASES)
def test_exported(case, method, tmp_path, recwarn):
    model, fine, bad = CASES[case]()
    explainer = getattr(attributions, method)(model, **FIVE_DRAWS.get(method, {}))
    for rendering, chunk in [("batch", 32), *(("loop", size) for size in (1, 4, 7) if method in FIVE_DRAWS)]:
        explainer = in_chunks(explainer, chunk)
        explainer.export(tmp_path / "explainer.onnx", rendering)
        feeds = {
            "target": GIVEN_OR_PREDICTED,
            **({"seed": np.array(9)} if hasattr(explainer, "nb_samples") else {}),
        }
        run = plain(tmp_path / "explainer.onnx")
        expected, found = (run(feeds | x) for x in (fine, bad))
        where = f"{rendering} of {chunk}"
        assert any(not np.isfinite(found[name][BAD]).all() for name in found), f"{where}: nothing overflowed"
        _check_kept(expected, found, where)


def _check_kept(expected, found, where):
    for name in expected:
        kept = found[name][KEPT]
        assert np.isfinite(kept).all(), f"{where}: {name}"
        if name != "convergence_delta":
            assert largest_difference(kept, expected[name][KEPT]) <= 1e-6, f"{where}: {name}"


@pytest.mark.parametrize("rendering", ["driven", "batch", "loop"])
def test_the_gradient_at_x_has_no_part_in_draws(rendering, tmp_path):
    """At 0 the gradient of sqrt(|x|) is not finite, at its noisy copies it is, in all renderings."""
    nodes = [node("Abs", ["x"], ["size"]), node("Sqrt", ["size"], ["y"])]
    model = build(nodes, {"x": ["N", 2]}, {"y": ["N", 2]})
    method = attributions.SmoothGrad(model, nb_samples=3, batch_size=2)
    x, label = np.array([[0, 1], [1, 0]], np.float32), np.array([0, 1])
    expected = method.explain(x, label)
    assert np.isfinite(expected).all()
    if rendering != "driven":
        method.export(tmp_path / "explainer.onnx", rendering)
        found = plain(tmp_path / "explainer.onnx")({"x": x, "target": label, "seed": np.array(0)})
        np.testing.assert_allclose(found["attribution"], expected, rtol=1e-5)


RESIZED = {
    "sizes": ["Slice (s, zero, two)", "Concat <axis = 0> (a, places)", "Resize <mode = \"linear\"> (x, , , b)"],
    "scales": ["Cast <to = 1> (s)", "Slice (a, two, four)", "Div (places_float, b)", "Concat <axis = 0> (ones, c)",
               "Resize <mode = \"linear\"> (x, , d)"],
    "rounded sizes": ["Cast <to = 1> (s)", "Mul (a, factors)", "Floor (b)", "Cast <to = 7> (c)",
                      "Resize <mode = \"linear\"> (x, , , d)"],
    "sizes one by one": ["Gather (s, zero)", "Max (a, zero)", "Slice (s, one, two)", "Concat <axis = 0> (b, c, places)",
                         "Resize <mode = \"linear\"> (x, , , d)"],
    "parts of sizes": ["Mul (s, times)", "Identity (a)", "Resize <mode = \"linear\"> (x, , , b)"],
    "whole scales": ["Div (s, s)", "Mul (a, times)", "Cast <to = 1> (b)", "Resize <mode = \"linear\"> (x, , c)"],
    "quotients": ["Cast <to = 1> (s)", "Mul (a, factors)", "Div (b, a)", "Resize <mode = \"cubic\"> (x, , c)"],
}  # fmt: skip


@pytest.mark.parametrize("by", RESIZED)
def test_computed_sizes_of_a_resize_keep_rows_apart(by):
    """Those that are the input's own, or scales of 1, multiply no row with that of another sample."""
    *steps, last = RESIZED[by]
    lines = [f"{name} = {text}" for name, text in zip("abcd", steps, strict=False)]
    model = onnx.parser.parse_model(f"""<ir_version: 8, opset_import: ["" : 18]>
        g (float[N,2,2,2] x) => (float[M,C,H,W] y) <int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[1] two = {{2}},
        int64[1] four = {{4}}, int64[2] places = {{4, 4}}, float[2] places_float = {{4, 4}}, float[2] ones = {{1, 1}},
        int64[4] times = {{1, 1, 2, 2}}, float[4] factors = {{1, 1, 2, 2}}> {{
        s = Shape(x)
        {" ".join(lines)}
        y = {last} }}""")
    ct = np.ones((3, 2, 4, 4), np.float32)
    ct[BAD] = np.nan
    found = run(vjp(model), x=rows(0, 2, 2, 2), y_cotangent=ct)["x_gradient"]
    expected = run(vjp(model), x=rows(0, 2, 2, 2), y_cotangent=np.ones_like(ct))["x_gradient"][KEPT]
    np.testing.assert_allclose(found[KEPT], expected, rtol=1e-6)
    np.testing.assert_allclose(expected.sum((2, 3)), 16, rtol=1e-6)


#: Operators that read elements at places that values give, by mode and by what lies outside.
PLACED = {
    f"{mode}, {outside}": f"y = GridSample<mode = {mode!r}, padding_mode = {outside!r}>(x, p)".replace(
        "'", '"'
    )
    for mode in ("bilinear", "nearest", "bicubic")
    for outside in ("zeros", "border", "reflection")
}
PLACED["DeformConv"] = "o = Transpose<perm = [0, 3, 1, 2]>(p) y = DeformConv<kernel_shape = [1, 1]>(x, w, o)"


@pytest.mark.parametrize("case", PLACED)
def test_places_that_are_no_number(case):
    opset = 19 if case == "DeformConv" else 18
    text = f"""g (float[N,1,4,4] x, float[N,4,4,2] p) => (float[N,1,4,4] y) <float[1,1,1,1] w = {{2}}> {{
        {PLACED[case]} }}"""
    fine = {"x": rows(0, 1, 4, 4), "p": 0.4 * rows(1, 4, 4, 2), "y_cotangent": rows(2, 1, 4, 4)}
    bad = fine | {"p": fine["p"].copy()}
    bad["p"][BAD] = np.nan
    model = vjp(parse(text, opset))
    expected, found = (run(model, **feeds) for feeds in (fine, bad))
    for name in ("x_gradient", "p_gradient"):
        np.testing.assert_array_equal(found[name][KEPT], expected[name][KEPT])
