"""Targets pick or weigh the model's outputs, and predictions are those outputs."""

import numpy as np
import onnxruntime
import pytest
from support.explained import close, make
from support.methods import ON_ANY_MODEL
from support.small_models import build, cnn_nhwc, mlp, node, random, two_inputs

import onnxattr
from onnxattr.attributions import DeconvNet, GradientInput, GuidedBackprop, IntegratedGradients, Saliency
from onnxattr.errors import TargetError

MLP, NHWC, TWO = mlp(), cnn_nhwc(), two_inputs()


# Targets

LINEAR = ["GradientInput", "IntegratedGradients", "SmoothGrad"]  # in the targets


@pytest.mark.parametrize("method", ON_ANY_MODEL)
@pytest.mark.filterwarnings("ignore:.*overrides ReLUs:UserWarning")
def test_ways_to_say_the_predicted_class(method):
    explainer = make(method, MLP.model)
    predicted = explainer.predict(MLP.given).argmax(axis=1)
    assert len(set(predicted)) > 1
    expected = explainer.explain(MLP.given, np.eye(4, dtype=np.float32)[predicted])
    mixed = np.where([True, False, True], predicted, -1)
    for targets in (None, -np.ones(3, int), predicted, list(predicted), predicted.astype(np.uint8), mixed,
                    np.eye(4, dtype=bool)[predicted], np.eye(4, dtype=int)[predicted].tolist()):  # fmt: skip
        close(explainer.explain(MLP.given, targets), expected)


@pytest.mark.parametrize("method", LINEAR)
def test_weights_mix_the_classes(method):
    explainer = make(method, MLP.model)
    each = np.stack([explainer.explain(MLP.given, np.full(3, label)) for label in range(4)], axis=1)
    weights = np.random.default_rng(9).normal(size=(3, 4))
    close(explainer.explain(MLP.given, weights), np.einsum("nc,nci->ni", weights, each), 2e-6)
    contrast = np.array([[1, -1, 0, 0]] * 3)
    close(explainer.explain(MLP.given, contrast), each[:, 0] - each[:, 1], 2e-6)


@pytest.mark.parametrize("weights", [None, [1.0, -2.0, 0.5]])
def test_outputs_without_classes(weights):
    """An output (N,) is its own score."""
    axes = {"axes": np.array([1])}
    nodes = [node("Mul", ["x", "x"], ["squares"]), node("ReduceSum", ["squares", "axes"], ["y"], keepdims=0)]
    model = build(nodes, {"x": ["N", 6]}, {"y": ["N"]}, axes)
    scale = np.ones(3) if weights is None else np.array(weights)
    for method in LINEAR[:2]:
        factor = 2 if method == "GradientInput" else 1
        maps = make(method, model).explain(MLP.given, weights)
        close(maps, (factor * MLP.given**2 * scale[:, None]).astype(np.float32))


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ((2, 1, 0), r"neuron=\(2, 1, 0\)"),
        ([(2, 1, 0), (0, 1, 2)], r"neuron=\(2, 1, 0\)"),
        ([2, 1], "neuron=..."),
        ([0.5, 1.0], "not broadcast.$"),
    ],
)
def test_the_place_of_a_unit_is_no_target(targets, said):
    """Captum takes such tuples as targets."""
    kernel = random(1, 3, 1, 3, 3)
    model = build(
        [node("Conv", ["x", "w"], ["y"])], {"x": ["N", 1, 6, 6]}, {"y": ["N", 3, 4, 4]}, {"w": kernel}
    )
    with pytest.raises(TargetError, match=said):
        Saliency(model).explain(np.ones((2, 1, 6, 6), np.float32), targets)
    unit = Saliency(model, neuron=(2, 1, 0), reducer=None).explain(np.ones((1, 1, 6, 6), np.float32))
    np.testing.assert_allclose(unit[0, 0, 1:4, 0:3], np.abs(kernel[2, 0]), rtol=1e-6)


@pytest.mark.parametrize("operator", [None, "classification", "regression"])
def test_of_several_numbers_the_largest_is_no_class(operator, tmp_path, recwarn):
    """A regression has no predicted class; what is explained without targets is said, by files too."""
    method = GradientInput(MLP.model, operator=operator)
    method.export(tmp_path / "e.onnx")
    for explainer in (method, onnxattr.load(tmp_path / "e.onnx")):
        recwarn.clear()
        explainer.explain(MLP.given)
        said = [
            str(warning.message)
            for warning in recwarn
            if "without targets the largest" in str(warning.message)
        ]
        assert len(said) == (operator == "regression")
        recwarn.clear()
        explainer.explain(MLP.given, [1, 0, 2])
        assert not any("largest" in str(warning.message) for warning in recwarn)


# Predictions


@pytest.mark.parametrize("batch_size", [1, 2, None])
@pytest.mark.parametrize("case", [MLP, NHWC, TWO], ids=["mlp", "image", "two inputs"])
def test_predictions_are_those_of_the_model(case, batch_size):
    (expected,) = onnxruntime.InferenceSession(case.model.SerializeToString()).run(None, case.inputs)
    found = Saliency(case.model, batch_size=batch_size).predict(case.given)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_predictions_of_a_cut_model():
    found = Saliency(mlp(head="Softmax").model, output_layer="logits").predict(MLP.given)
    np.testing.assert_allclose(found, Saliency(MLP.model).predict(MLP.given), rtol=1e-6)


TAGGER = build(
    [node("MatMul", ["x", "w"], ["y"])], {"x": ["N", 5, 4]}, {"y": ["N", 5, 3]}, {"w": random(1, 4, 3)}
)


@pytest.mark.parametrize(
    "options",
    [
        {"target": "weights"},
        {"target": "weights", "rendering": "loop"},
        {"rendering": "batch", "baseline_input": True},
        {"rendering": "loop", "baseline_input": True},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("model", "given"),
    [(MLP.model, MLP.given), (TWO.model, TWO.given), (TAGGER, random(2, 3, 5, 4))],
    ids=["mlp", "two inputs", "a class for each step"],
)
def test_files_predict_without_targets_and_baselines(model, given, options, tmp_path):
    method = IntegratedGradients(model, steps=3)
    method.export(tmp_path / "e.onnx", **options)
    found = onnxattr.load(tmp_path / "e.onnx").predict(given)
    np.testing.assert_allclose(found, method.predict(given), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("method", "model", "told"),
    [
        (DeconvNet, MLP, False),
        (GuidedBackprop, MLP, True),
        (DeconvNet, cnn_nhwc(), True),  # of a max-pool
    ],
)
@pytest.mark.filterwarnings("ignore:.*ReLUs:UserWarning", "ignore:.*depends on the target alone:UserWarning")
def test_a_map_of_the_target_alone_takes_no_prediction(method, model, told):
    """The graph goes back from labels that are given, and the model is not run; a result with scores runs it."""
    explainer = method(model.model, reducer=None)
    labels = np.array([0, 1, 1])
    found = explainer.explain(model.given, labels)
    session = explainer._plan.driver.graphs.by_weight
    assert ("prediction" in session.outputs) is told
    result = explainer(model.given, labels)
    np.testing.assert_array_equal(result, found)
    prediction = explainer.predict(model.given)
    np.testing.assert_allclose(
        result.scores, np.take_along_axis(prediction, labels[:, None], 1)[:, 0], rtol=1e-6
    )
    by_prediction = np.where(prediction.argmax(axis=1) == labels, -1, labels)
    np.testing.assert_allclose(explainer.explain(model.given, by_prediction), found, rtol=1e-5, atol=1e-7)
    with pytest.raises(TargetError, match="out of range"):
        explainer.explain(model.given, [0, 1, 77])
