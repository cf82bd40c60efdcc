"""Where one unit tells two classes apart, label 1 is the unit and label 0 its negative; elsewhere it is a number."""

import warnings

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from support.explained import close, make
from support.methods import ON_ANY_MODEL
from support.small_models import build, node, random, rows

import onnxattr
from onnxattr.attributions import GradientInput, IntegratedGradients, Saliency
from onnxattr.cli import main
from onnxattr.errors import TargetError
from onnxattr.inspection import inspect

W = random(1, 6, 1)
X = rows(5, 6)
AXIS = np.array([1])
DENSE = [node("MatMul", ["x", "w"], ["z"])]


def classifier(*head, outputs=None, kind=TensorProto.FLOAT, w=W):
    """z = x w and what follows it."""
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
    outputs = outputs or {"p": (["N", 1], kind)}
    return build([*DENSE, *head], {"x": (["N", 6], kind)}, outputs, {"w": w.astype(dtype), "axis": AXIS})


SIGMOID = node("Sigmoid", ["z"], ["p"])
BINARY = classifier(SIGMOID)
REGRESSION = build(DENSE, {"x": ["N", 6]}, {"z": ["N", 1]}, {"w": W})
NUMBERS = classifier(node("Squeeze", ["z", "axis"], ["s"]), outputs={"s": ["N"]})
SQUEEZED = [node("Sigmoid", ["z"], ["q"]), node("Squeeze", ["q", "axis"], ["p"])]
BESIDE = [
    node("Sigmoid", ["z"], ["q"]), node("Constant", [], ["one"], value_floats=[1.0]), node("Sub", ["one", "q"], ["r"]),
    node("Concat", ["r", "q"], ["p"], axis=1),
]  # fmt: skip
Z = X @ W
P = 1 / (1 + np.exp(-Z))
DP, DZ = P * (1 - P) * W.T, np.broadcast_to(W.T, X.shape)
PREDICTED = (Z[:, 0] > 0).astype(int)
assert set(PREDICTED) == {0, 1}

# Model, where it is cut, and the gradient of what class 1 is explained by.
UNITS = {
    "sigmoid": (BINARY, None, DP),
    "laid out after it": (classifier(node("Sigmoid", ["z"], ["q"]), node("Identity", ["q"], ["p"])), None, DP),
    "one axis": (classifier(*SQUEEZED, outputs={"p": ["N"]}), None, DP),
    "the logit": (BINARY, "z", DZ),
    "the logit of one axis": (classifier(node("Squeeze", ["z", "axis"], ["s"]), node("Sigmoid", ["s"], ["p"]),
                                         outputs={"p": ["N"]}), "s", DZ),
    "the logit before it is laid out": (classifier(*SQUEEZED, outputs={"p": ["N"]}), "z", DZ),
    "the logit of 1 - p beside p": (classifier(*BESIDE, outputs={"p": ["N", 2]}), "z", DZ),
    "logit and probability": (classifier(SIGMOID, outputs={"z": ["N", 1], "p": ["N", 1]}), "z", DZ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:The model ends in:UserWarning")
@pytest.mark.parametrize("rendering", ["python", "batch", "loop"])
@pytest.mark.parametrize("case", UNITS)
def test_labels(case, rendering, tmp_path):
    model, layer, gradient = UNITS[case]
    for cls in (GradientInput, IntegratedGradients):
        explainer = method = cls(
            model, output_layer=layer, **({"steps": 300} if cls is IntegratedGradients else {})
        )
        if rendering == "loop" and cls is GradientInput:
            continue
        if rendering != "python":
            method.export(tmp_path / "e.onnx", rendering)
            explainer = onnxattr.load(tmp_path / "e.onnx")
        one = (
            X * gradient
            if cls is GradientInput
            else method.explain(X, np.ones((3, 1) if W.ndim > 2 else method.predict(X).shape))
        )
        for labels in ([1, 0, 1], [0, 0, 0], [1, 1, 1], [False, True, True], [-1, 1, 0], [-1, -1, -1], None):
            chosen = PREDICTED if labels is None else np.where(np.array(labels, int) < 0, PREDICTED, labels)
            close(explainer.explain(X, labels), one * np.where(chosen == 1, 1, -1)[:, None], 2e-6)
        with pytest.raises(TargetError, match=r"Label 2 .*0 to 1"):
            explainer.explain(X, [0, 1, 2])


def test_the_scores_of_the_two_classes_add_up_as_their_probabilities_do():
    method = IntegratedGradients(BINARY, operator="classification", steps=200)
    p, base = method.predict(X)[:, 0], 0.5
    np.testing.assert_allclose(method.explain(X, [1, 1, 1]).sum(1), p - base, atol=1e-4)
    np.testing.assert_allclose(method.explain(X, [0, 0, 0]).sum(1), (1 - p) - (1 - base), atol=1e-4)
    assert np.abs(method.convergence_delta(X, [0, 1, 0])).max() < 1e-4


@pytest.mark.parametrize("method", ON_ANY_MODEL)
@pytest.mark.filterwarnings("ignore:.*overrides ReLUs:UserWarning")
def test_every_method_takes_them(method):
    explainer = make(method, BINARY, operator="classification")
    signs = np.where(PREDICTED == 1, 1.0, -1.0)[:, None].astype(np.float32)
    close(explainer.explain(X), explainer.explain(X, signs))
    close(explainer.explain(X, [1, 0, 1]), explainer.explain(X, np.array([[1.0], [-1], [1]])))


@pytest.mark.filterwarnings("ignore:The model ends in:UserWarning")
@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_precisions(kind, tmp_path):
    method = GradientInput(classifier(SIGMOID, kind=kind))
    expected = X * DP * np.array([[1], [-1], [1]])
    close(method.explain(X, [1, 0, 1]), expected, 2e-2)
    method.export(tmp_path / "e.onnx")
    close(onnxattr.load(tmp_path / "e.onnx").explain(X, [1, 0, 1]), expected, 2e-2)


# Numbers that are no classes


def test_a_regression_explains_its_output(recwarn):
    for targets in (None, [-1] * 3, np.ones((3, 1))):
        close(GradientInput(REGRESSION).explain(X, targets), (X * DZ).astype(np.float32))
    close(GradientInput(REGRESSION, operator="regression").explain(X, [0, 0, 0]), (X * DZ).astype(np.float32))
    assert not recwarn


def test_labels_of_a_column_that_is_not_known_to_be_a_classifier():
    with pytest.raises(
        TargetError, match=r"Label 1 .*operator='classification'.*\+1 for class 1 and -1 for class 0"
    ):
        GradientInput(REGRESSION).explain(X, [0, 1, 0])
    with pytest.warns(
        UserWarning, match=r"Label 0 explains .*only column as it is.*operator='classification'"
    ):
        found = GradientInput(REGRESSION).explain(X, [0, 0, 0])
    close(found, (X * DZ).astype(np.float32))


@pytest.mark.parametrize("model", [REGRESSION, NUMBERS])
def test_who_says_that_it_is_a_classifier_has_the_labels_of_a_logit(model, tmp_path):
    method = GradientInput(model, operator="classification")
    assert method.unit == "logit"
    method.export(tmp_path / "e.onnx")
    for explainer in (method, onnxattr.load(tmp_path / "e.onnx")):
        close(explainer.explain(X, [1, 0, 0]), (X * DZ * [[1], [-1], [-1]]).astype(np.float32))
        close(explainer.explain(X), (np.sign(Z) * X * DZ).astype(np.float32))


def test_who_says_that_it_is_a_regression_has_the_sigmoid_as_a_number():
    method = GradientInput(BINARY, operator="regression")
    assert method.unit is None
    close(method.explain(X), (X * DP).astype(np.float32), 2e-6)


OTHERS = {
    "a gate": (
        [node("Sigmoid", ["z"], ["g"]), node("Mul", ["x", "g"], ["p"])], {"p": ["N", 6]}, "z", (X * DZ)
    ),
    "a column among others": (
        [node("Concat", ["z", "z"], ["zz"], axis=1), node("Softmax", ["zz"], ["p"], axis=1)], {"p": ["N", 2]},
        "z", X * DZ,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OTHERS)
def test_a_sigmoid_elsewhere_makes_no_classes(case):
    head, outputs, layer, expected = OTHERS[case]
    method = GradientInput(classifier(*head, outputs=outputs), output_layer=layer)
    assert method.unit is None
    close(method.explain(X), expected.astype(np.float32))


def test_several_sigmoids_are_labels_of_their_own():
    w = random(2, 6, 3)
    model = classifier(SIGMOID, outputs={"p": ["N", 3]}, w=w)
    z = X @ w
    gradient = ((1 / (1 + np.exp(-z))) * (1 / (1 + np.exp(z))))[np.arange(3), [0, 1, 2]][:, None] * w.T
    close(
        GradientInput(model, operator="classification").explain(X, [0, 1, 2]),
        (X * gradient).astype(np.float32),
        2e-6,
    )


#: Model, operator, targets, and what is said.
WEIGHTS_OF_0 = [
    (BINARY, "classification", np.array([[1], [0], [1]]), r"\(3, 1\) are weights.*labels of shape \(N,\)"),
    (BINARY, "classification", np.array([[1.0], [0], [1]]), r"\(3, 1\) are weights.*labels of shape \(N,\)"),
    (NUMBERS, None, [1, 0, 1], r"\(3,\) are weights.*operator='classification' for labels"),
    (NUMBERS, None, np.array([1.0, 0, 1]), r"\(3,\) are weights.*operator='classification' for labels"),
    (REGRESSION, None, np.array([[1.0], [0], [1]]), r"\(3, 1\) are weights.*operator='classification' for labels"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "operator", "targets", "said"), WEIGHTS_OF_0)
def test_weights_of_0_are_said_to_explain_nothing(model, operator, targets, said):
    with pytest.warns(UserWarning, match=said):
        maps = GradientInput(model, operator=operator).explain(X, targets)
    assert np.abs(maps[1]).max() == 0


def test_weights_of_0_on_what_is_said_to_be_a_number(recwarn):
    maps = GradientInput(NUMBERS, operator="regression").explain(X, [1, 0, 1])
    close(maps, (X * DZ * [[1], [0], [1]]).astype(np.float32))
    assert not recwarn


def test_a_label_of_an_output_of_one_number_a_sample_is_told_how_labels_are_given():
    with pytest.raises(TargetError, match=r"weights of shape \(3,\).*operator='classification' for labels"):
        GradientInput(NUMBERS).explain(X, 1)


def test_keras_and_its_command_line(tmp_path, monkeypatch, capsys):
    keras = pytest.importorskip("keras")
    from onnxattr.converters.keras import to_onnx

    monkeypatch.chdir(tmp_path)
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(4, activation="tanh", name="hidden")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid", name="out")(hidden))
    to_onnx(model, "m.onnx")
    np.save("x.npy", X)
    assert "one unit" in inspect("m.onnx")
    plus = Saliency("m.onnx", operator="classification", reducer=None)
    assert plus.unit == "probability"
    maps = GradientInput("m.onnx", operator="classification").explain(X, [1, 1, 1])
    for label, sign in ((1, 1), (0, -1)):
        arguments = ["x.npy", "--targets", str(label), "-o", "maps.npy", "--picture", "why.svg"]
        assert main(["explain", "m.onnx", *arguments, "--method", "GradientInput"]) == 0
        close(np.load("maps.npy"), sign * maps)
        assert f"class {label}, score" in (tmp_path / "why.svg").read_text()
    assert main(["export", "m.onnx", "--method", "GradientInput", "-o", "e.onnx"]) == 0
    assert main(["explain", "e.onnx", "x.npy", "--targets", "0", "-o", "maps.npy"]) == 0
    close(np.load("maps.npy"), -maps)
    assert "unit: probability" in inspect("e.onnx")
    capsys.readouterr()


def test_scores_of_scikit_learn():
    pytest.importorskip("skl2onnx")
    from onnxattr.converters.sklearn import to_onnx
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    data = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    classes = (data[:, 0] > data[:, 1]).astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for estimator in (LogisticRegression(), MLPClassifier((4,), max_iter=30, random_state=0)):
            model = to_onnx(estimator.fit(data, classes), data)
            both = GradientInput(model, operator="classification")
            one = GradientInput(model, output_layer="logits")
            assert (both.unit, one.unit) == (None, "logit")
            p = estimator.predict_proba(data)[:, 1:]
            for targets in (None, classes):  # dp/dx = p (1 - p) dz/dx, whichever class is explained
                close(
                    both.explain(data, targets),
                    (p * (1 - p) * one.explain(data, targets)).astype(np.float32),
                    1e-4,
                )
