"""ONNX models as operators, the command line, and classes by name or by one label."""

import json

import numpy as np
import onnx
import pytest
from support.explained import close
from support.tiny_graphs import parse

import onnxattr
from onnxattr import GradientInput, IntegratedGradients, Saliency
from onnxattr.cli import main
from onnxattr.errors import OnnxAttrError
from onnxattr.loading.meaning.class_names import KEY

W = np.array([[1.0, -2.0, 0.5], [0.25, 1.5, -1.0]], np.float32)
X = np.array([[0.5, -1.0], [2.0, 0.75], [-1.5, 0.3]], np.float32)
Y = np.array([[1.0, 0.0, 0.0], [0.5, -2.0, 1.0], [0.0, 0.0, 3.0]], np.float32)
MODEL = """m (float[N,2] x) => (float[N,3] z)
    <float[2,3] w = {1, -2, 0.5, 0.25, 1.5, -1}> { z = MatMul(x, w) }"""
SQUARES = (
    "square = Mul(scores, scores) weighted = Mul(square, target) s = ReduceSum<keepdims=0>(weighted, last)"
)
GRADIENT = 2 * (X @ W * Y) @ W.T


def operator(inputs, body=SQUARES, opset=18, output="float[N] s"):
    return parse(
        f"g ({inputs}) => ({output}) <int64[1] last = {{-1}}, int64[1] first = {{0}}> {{ {body} }}", opset
    )


MODELS = {
    "by name": operator("float[N,3] scores, float[N,3] target"),
    "by name, another order": operator("float[N,3] target, float[N,3] scores"),
    "by order": operator("float[N,3] a, float[N,3] b", SQUARES.replace("scores", "a").replace("target", "b")),
    "by the model's names": operator(
        "float[N,3] z, float[N,3] y", SQUARES.replace("scores", "z").replace("target", "y")
    ),
    "unknown sizes": operator("float[N,C] scores, float[N,C] target"),
    "exported for one sample": operator("float[1,3] scores, float[1,3] target", output="float[1] s"),
    "newer opset": operator("float[N,3] scores, float[N,3] target", opset=22),
    "older opset": operator("float[N,3] scores, float[N,3] target", opset=13),
    "a column": operator(
        "float[N,3] scores, float[N,3] target", SQUARES.replace("keepdims=0", "keepdims=1"), output="float[N,1] s"
    ),
    "double": operator(
        "double[N,3] scores, double[N,3] target", SQUARES + " t = Cast<to=1>(s)", output="float[N] t"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_an_onnx_model_is_an_operator(tmp_path, name):
    method = IntegratedGradients(parse(MODEL), operator=MODELS[name], steps=5, batch_size=4)
    close(method.explain(X, Y), X * GRADIENT / 2, 2e-6)
    close(method.score(X, Y), ((X @ W) ** 2 * Y).sum(axis=-1), 2e-6)
    for rendering in ("batch", "loop"):
        method.export(tmp_path / "e.onnx", rendering, target="weights")
        close(onnxattr.load(tmp_path / "e.onnx").explain(X, Y), X * GRADIENT / 2, 2e-6)


@pytest.mark.parametrize(
    "names", [("scores", "y"), ("y", "scores"), ("logits", "y"), ("y", "target"), ("y", "y_true")]
)
def test_an_output_called_as_targets_are(names):
    """``y`` is the model's output, but for operators that call that ``scores``."""
    taken = names if "target" in names or "y_true" in names or names[0] != "y" else names[::-1]
    body = SQUARES.replace("scores", taken[0]).replace("target", taken[1])
    model = operator(", ".join(f"float[N,3] {name}" for name in names), body)
    named_y = parse(MODEL.replace(" z", " y"))
    close(GradientInput(named_y, operator=model).explain(X, Y), X * GRADIENT, 2e-6)


def test_targets_of_another_type_are_found_by_name():
    body = "at = Unsqueeze(target, last) one = GatherElements<axis=1>(z, at) s = Squeeze(one, last)"
    model, labels = operator("int64[N] target, float[N,3] z", body), np.array([2, 0, 1])
    close(GradientInput(parse(MODEL), operator=model).explain(X, labels), X * W.T[labels], 2e-6)


def test_the_input_is_the_third(tmp_path):
    body = SQUARES + " parts = ReduceSum<keepdims=0>(x, last) t = Mul(s, parts)"
    model = operator("float[N,3] scores, float[N,3] target, float[N,2] x", body, output="float[N] t")
    onnx.save(model, tmp_path / "g.onnx")
    found = GradientInput(parse(MODEL), operator=str(tmp_path / "g.onnx")).explain(X, Y)
    score = ((X @ W) ** 2 * Y).sum(axis=-1, keepdims=True)
    close(found, X * (GRADIENT * X.sum(axis=-1, keepdims=True) + score), 2e-6)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (operator("float[N,3] scores", "s = ReduceSum<keepdims=0>(scores, first)", output="float[3] s"), "together"),
        (operator("float[N,5] scores, float[N,5] target"), r"'scores' of shape \(N, 5\), and gets Array"),
        (operator("float[N,3] scores", "s = Identity(scores)", output="float[N,3] s"), "one number for each sample"),
        (operator("float[N,3] scores", "s = ArgMax<axis=1,keepdims=0>(scores)", output="int64[N] s"), "one of floats"),
        (operator("float a, float b, float c, float d", "s = Sum(a, b, c, d)", output="float s"), "has the inputs"),
        (operator("float[3,3] scores, float[1,3] target", output="float[3] s"), "first axis of .; expected one of any"),
        (b"no model", "is not an ONNX model"),
        ("missing.onnx", "missing.onnx does not exist"),
    ],
)  # fmt: skip
def test_what_is_no_operator_is_refused(model, said):
    with pytest.raises(OnnxAttrError, match=said):
        Saliency(parse(MODEL), operator=model)


def test_the_command_line_takes_operators(tmp_path, capsys):
    onnx.save(parse(MODEL), tmp_path / "m.onnx")
    onnx.save(MODELS["by name"], tmp_path / "g.onnx")
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    model, inputs, out = (str(tmp_path / name) for name in ("m.onnx", "x.npy", "o.npy"))
    common = ["--method", "GradientInput", "--operator", str(tmp_path / "g.onnx")]
    assert main(["explain", model, inputs, *common, "--targets", str(tmp_path / "y.npy"), "-o", out]) == 0
    close(np.load(out), X * GRADIENT, 2e-6)
    assert main(["export", model, *common, "-o", str(tmp_path / "e.onnx"), "--target", "weights"]) == 0
    close(onnxattr.load(tmp_path / "e.onnx").explain(X, Y), X * GRADIENT, 2e-6)
    assert main(["explain", model, inputs, "--operator", "regresion", "-o", out]) != 0
    assert "Did you mean 'regression'?" in capsys.readouterr().err


def named(names, key=KEY):
    model = parse(MODEL)
    model.metadata_props.add(key=key, value=names if isinstance(names, str) else json.dumps(names))
    return model


@pytest.mark.parametrize("one", [2, np.int32(2), np.array(2), np.uint8(2)])
def test_one_label_is_for_all_samples(one, tmp_path):
    method = Saliency(parse(MODEL))
    expected = method.explain(X, [2, 2, 2])
    close(method.explain(X, one), expected, 0)
    close(method.explain(iter([X[:2], X[2:]]), one), expected, 0)
    method.export(tmp_path / "e.onnx")
    close(onnxattr.load(tmp_path / "e.onnx").explain(X, one), expected, 0)


@pytest.mark.parametrize(
    "model",
    [
        named(["cat", "dog, hound", "Ape"]),
        named("{0: 'cat', 1: 'dog, hound', 2: 'Ape'}", "names"),
        named({"0": "cat", "1": "dog, hound", "2": "Ape"}, "id2label"),
    ],
)
def test_classes_by_name(model, tmp_path):
    method = Saliency(model)
    expected = method.explain(X, [1, 1, 1])
    for name in ("dog, hound", "hound", "DOG"):
        close(method.explain(X, name), expected, 0)
    three = method.explain(X, [2, 0, 1])
    close(method.explain(X, ["Ape", "cat", "dog"]), three, 0)
    close(method.explain(X, np.array(["ape", "cat", "dog"])), three, 0)
    method.export(tmp_path / "e.onnx")
    close(onnxattr.load(tmp_path / "e.onnx").explain(X, "hound"), expected, 0)
    np.save(tmp_path / "x.npy", X)
    for file in (tmp_path / "e.onnx", tmp_path / "m.onnx"):
        onnx.save(model, tmp_path / "m.onnx")
        options = ["--method", "Saliency"] * (file.name == "m.onnx")
        arguments = [str(file), str(tmp_path / "x.npy"), "--targets", "hound", "-o", str(tmp_path / "o.npy")]
        assert main(["explain", *arguments, *options]) == 0
        close(np.load(tmp_path / "o.npy"), expected, 0)


@pytest.mark.parametrize(
    ("model", "given", "said"),
    [
        (named(["cat", "dog", "ape"]), "cta", r"'cta' is none of the model's 3 classes. Near it: 'cat'"),
        (named(["crane", "dog", "Crane"]), "CRANE", r"names several classes, 0 \('crane'\), 2 \('Crane'\)"),
        (named(["crane", "dog", "crane"]), ["dog", "crane", "dog"], r"names several classes"),
        (named(["a", "b"]), "a", r"the file names 2 classes, and the explained output has 3"),
        (parse(MODEL), "cat", r"holds no names of classes; give labels.*'onnxattr.labels'"),
    ],
)
def test_names_that_do_not_tell_a_class(model, given, said):
    with pytest.raises(OnnxAttrError, match=said):
        Saliency(model).explain(X, given)


REDUCERS = {
    "prod": np.prod,
    "euclidean_norm": lambda m, axis, keepdims: np.sqrt((m**2).sum(axis, keepdims=keepdims)),
    "logsumexp": lambda m, axis, keepdims: np.log(np.exp(m).sum(axis, keepdims=keepdims)),
    "std": np.std,
    "variance": np.var,
}


@pytest.mark.parametrize("reducer", REDUCERS)
def test_reducers_of_tensorflow(reducer):
    model = parse("""m (float[N,4,5,3] x) => (float[N,3] y) <int64[2] axes = {1, 2}>
        { square = Mul(x, x) y = ReduceSum<keepdims=0>(square, axes) }""")
    x = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype(np.float32)
    targets = np.array([[1.0, 2.0, -1.0], [0.5, 1.0, 1.0]], np.float32)
    found = Saliency(model, reducer=reducer, channel_axis=3).explain(x, targets)
    close(found, REDUCERS[reducer](np.abs(2 * x * targets[:, None, None]), axis=-1, keepdims=True), 2e-6)
