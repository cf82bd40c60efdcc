"""Models with several outputs and inputs: which output is explained, operators over all of them, maps by input."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from support.explained import close
from support.small_models import mlp
from support.tiny_graphs import parse

import onnxattr
from onnxattr import GradientInput, IntegratedGradients, Saliency
from onnxattr.cli import main
from onnxattr.errors import OnnxAttrError
from onnxattr.metrics import Deletion

A = np.array([[1.0, -2.0, 0.5], [0.25, 1.5, -1.0]], np.float32)
U = np.array([[0.5, -1.0], [2.0, 0.75], [-1.5, 0.3]], np.float32)
V = np.array([[1.0, 2.0, -1.0], [0.5, 0.1, 3.0], [2.0, -1.0, 0.2]], np.float32)
Y = np.array([[1.0, 0.0, 0.0], [0.5, -2.0, 1.0], [0.0, 0.0, 3.0]], np.float32)
#: a = u A, b = a v, c = the place of the largest of a.
MODEL = parse("""m (float[N,2] u, float[N,3] v) => (float[N,3] a, float[N,3] b, int64[N] c)
    <float[2,3] w = {1, -2, 0.5, 0.25, 1.5, -1}>
    { a = MatMul(u, w) b = Mul(a, v) c = ArgMax<axis=1,keepdims=0>(a) }""")


def test_an_output_by_name():
    close(Saliency(MODEL, output="a").explain([U, V], Y), np.abs(Y @ A.T))
    maps = GradientInput(MODEL, output="b").explain({"u": U, "v": V}, Y)
    close(maps["u"], U * ((Y * V) @ A.T))
    close(maps["v"], V * Y * (U @ A))


@pytest.mark.parametrize("output", [1, -2, "1", np.int64(1)])
def test_an_output_by_index(output):
    """The indices are those of the model's own list, integers and all."""
    close(Saliency(MODEL, output=output).explain([U, V], Y)[1], np.abs(Y * (U @ A)))


def test_several_outputs_by_index():
    both = GradientInput(MODEL, operator=lambda f, x, y: (f(x)["a"] * f(x)["b"]).sum(axis=-1), output=[0, 1])
    close(both.explain({"u": U, "v": V}, Y)["v"], V * (U @ A) ** 2)


def listed_twice(model, output):
    """The model with one of its outputs at the end of the list once more, as ONNX Runtime takes it."""
    doubled = onnx.ModelProto()
    doubled.CopyFrom(model)
    doubled.graph.output.append(next(value for value in model.graph.output if value.name == output))
    return doubled


@pytest.mark.parametrize("output", ["a", "b"])
def test_an_output_that_is_listed_twice_is_one(output):
    """Once it had two cotangents, and one of them did nothing."""
    model = onnxattr.vjp(listed_twice(MODEL, output))
    feeds = {"u": U, "v": V, "a_cotangent": Y, "b_cotangent": 2 * Y}
    assert [value.name for value in model.graph.input] == list(feeds)
    found = ReferenceEvaluator(model).run(["u_gradient", "v_gradient"], feeds)
    close(found[0], (Y + 2 * Y * V) @ A.T)
    close(found[1], 2 * Y * (U @ A))
    only = parse("m (float[N,3] x) => (float[N,3] y) { y = Mul(x, x) }")
    close(GradientInput(listed_twice(only, "y")).explain(V, Y), 2 * V**2 * Y)


@pytest.mark.parametrize("output", ["prediction", "attribution", "relative_gap"])
def test_an_explainer_that_lists_an_output_twice(tmp_path, output):
    """a is linear in u: its path has no gap."""
    IntegratedGradients(MODEL, output="a", wrt="u", steps=3).export(tmp_path / "e.onnx")
    onnx.save(listed_twice(onnx.load(tmp_path / "e.onnx"), output), tmp_path / "twice.onnx")
    explainer, given, labels = onnxattr.load(tmp_path / "twice.onnx"), {"u": U, "v": V}, [0, 2, 1]
    close(explainer.explain(given, labels), U * A.T[labels])
    close(explainer.predict(given), U @ A)
    close(explainer.score(given, labels), (U @ A)[range(3), labels])
    np.testing.assert_allclose(explainer.relative_gap(given, labels), np.zeros(3), atol=1e-6)


@pytest.mark.parametrize("rendering", ["driven", "batch", "loop"])
@pytest.mark.parametrize("outputs", [None, ["a", "b"]])
def test_an_operator_over_several_outputs_and_inputs(tmp_path, outputs, rendering):
    """The sum of a b y, and of a at twice u: its gradients are (2 a v y + 2) A^T and a^2 y."""

    def operator(f, x, y):
        found, twice = f(x), f({"u": 2 * x["u"]})
        return (found["a"] * found["b"] * y + twice[0]).sum(axis=-1)

    method = IntegratedGradients(MODEL, operator=operator, output=outputs, steps=33, batch_size=4)
    if rendering != "driven":
        method.export(tmp_path / "e.onnx", rendering, target="weights")
        method = onnxattr.load(tmp_path / "e.onnx")
    maps, a = method.explain({"u": U, "v": V}, Y), U @ A
    # On the path a and v are alpha times themselves: the mean of alpha^2 is that of the trapezoid rule.
    mean = np.trapezoid(np.linspace(0, 1, 33) ** 2, dx=1 / 32)
    close(maps["u"], U * ((2 * mean * a * V * Y + 2) @ A.T), 3e-6)
    close(maps["v"], V * mean * a**2 * Y, 3e-6)


def test_maps_come_in_the_order_that_was_asked():
    both = Saliency(MODEL, output="b", wrt=["v", "u"]).explain([U, V], Y)
    close(both[0], np.abs(Y * (U @ A)))
    close(both[1], np.abs((Y * V) @ A.T))


def test_inner_values_are_explained_by_what_f_of_x_itself_gives():
    """The model at other inputs has other inner values: they are no part of the gradient."""

    def operator(f, x, y):
        return ((f(x) + f({"u": 3 * x["u"]})) * y).sum(axis=-1)

    close(Saliency(MODEL, operator=operator, output="b", wrt="a").explain([U, V], Y), np.abs(V * Y))
    with pytest.raises(OnnxAttrError, match="of x itself: the explained value is inside the model"):
        Saliency(MODEL, operator=lambda f, x, y: f([x["u"] * 2, x["v"]]).sum(axis=-1), output="b", wrt="a")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, r"2 float outputs \['a', 'b'\]: say which to explain with output=<name> \(--model-output"),
        ({"output": "A"}, r"output='A': expected an output of floats of the model, a \(float\).*Did you mean 'a'\?"),
        ({"output": "c"}, r"output='c': expected an output .*inside the model are named by output_layer="),
        ({"output": ["a", "b"]}, r"several outputs need an operator"),
        ({"output": ["a", "a"], "operator": lambda f, x, y: 0}, "each once"),
        ({"output": "a", "output_layer": "b"}, "both say what is explained"),
        ({"output": 3}, r"output=3: expected an output of floats of the model, a \(float\)"),
        ({"output": 2}, r"output=2: expected an output of floats of the model, a \(float\).*c \(int64\)"),
        ({"output": 1.5}, "expected the name or the index of an output"),
        ({"output": ["a", 0], "operator": lambda f, x, y: f(x)[0].sum(axis=-1)}, r"twice: \['a', 'a'\]"),
        ({"operator": lambda f, x, y: f(x)["d"].sum(axis=-1)}, r"asks for 'd'; the model has 'a', 'b'"),
        ({"operator": lambda f, x, y: f({"w": x["u"]})["a"].sum(axis=-1)}, r"calls f with inputs \['w'\]"),
        ({"operator": lambda f, x, y: f(x["u"])["a"].sum(axis=-1)}, r"calls f with 1 inputs; the model has 2: 'u'"),
        ({"operator": "semantic segmentation"}, r"say which to explain with output=<name>"),
    ],
)  # fmt: skip
def test_what_does_not_say_an_output(options, said):
    with pytest.raises(OnnxAttrError, match=said):
        Saliency(MODEL, **options)


@pytest.mark.parametrize("output", ["hidden", "1"])
def test_metrics_of_one_output_on_the_command_line(output, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    case = mlp()
    case.model.graph.output.append(onnx.helper.make_tensor_value_info("hidden", 1, ["N", 10]))
    onnx.save(case.model, "m.onnx")
    np.save("x.npy", case.given)
    command = ["--targets", "7", "--methods", "Saliency", "--metrics", "Deletion", "-o", "table.json"]
    assert main(["evaluate", "m.onnx", "x.npy", *command, "--model-output", output]) == 0
    scores = json.loads(Path("table.json").read_text())["methods"]["Saliency"]["scores"]["Deletion"]
    method = Saliency("m.onnx", output="hidden")
    labels = np.full(3, 7)
    expected = Deletion(method, case.given, labels).of_samples(method.explain(case.given, labels))
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
