"""Metrics whose numbers are known: closed forms on linear models, Captum's numbers, what must not matter."""

import json

import captum_metrics as captum
import numpy as np
import onnx
import pytest
from small_models import build, cnn_nhwc, embedding, mlp, node, two_inputs

from onnxattr import load, metrics
from onnxattr.attributions import GradCAM, GradientInput, IntegratedGradients, Saliency, SmoothGrad
from onnxattr.errors import ModelError, NonFiniteError, ParameterError, ShapeError
from onnxattr.metrics.similarity import ranks, spearman
from onnxattr.metrics.weights import weight_layers, with_weights_drawn

RNG = np.random.default_rng(7)
W = RNG.normal(size=(6, 1)).astype(np.float32)
X = RNG.normal(size=(4, 6)).astype(np.float32)
ONES = np.ones((4, 1), np.float32)
LINEAR = build([node("MatMul", ["x", "w"], ["y"])], {"x": ["N", 6]}, {"y": ["N", 1]}, {"w": W})
#: What each feature adds to the score above a baseline of 0, and of 0.5.
PARTS, ABOVE = X * W[:, 0], (X - 0.5) * W[:, 0]


def gradient(model, **options):
    """The plain gradient."""
    return SmoothGrad(model, noise=0.0, reducer=None, **options)


def falling(parts):
    """Sums of the largest 0, 1, 2, ... parts of each row."""
    ordered = np.sort(parts.astype(np.float64), axis=1)[:, ::-1]
    return np.concatenate([np.zeros((len(parts), 1)), np.cumsum(ordered, axis=1)], axis=1)


def area(curves):
    return (curves[:, 1:] + curves[:, :-1]).mean(axis=1) / 2


NEIGHBOURS = RNG.uniform(0, 0.3, (5, 6)).astype(np.float32)
FIRST, LAST = X @ W, 0.5 * W.sum()
CLOSED = {
    "deletion": (lambda: metrics.Deletion(LINEAR, X, ONES, steps=-1), PARTS, area(FIRST - falling(PARTS))),
    "deletion, half": (
        lambda: metrics.Deletion(LINEAR, X, ONES, steps=-1, max_percentage_perturbed=0.5),
        PARTS, area((FIRST - falling(PARTS))[:, :4]),
    ),
    "deletion, baseline": (
        lambda: metrics.Deletion(LINEAR, X, ONES, baseline_mode=0.5, steps=-1), ABOVE, area(FIRST - falling(ABOVE)),
    ),
    "insertion": (
        lambda: metrics.Insertion(LINEAR, X, ONES, baseline_mode=0.5, steps=-1), ABOVE, area(LAST + falling(ABOVE)),
    ),
    "fidelity": (lambda: metrics.MuFidelity(LINEAR, X, ONES), PARTS, np.ones(4)),
    "fidelity, reversed": (lambda: metrics.MuFidelity(LINEAR, X, ONES, baseline_mode=0.5), -ABOVE, -np.ones(4)),
    "fidelity, constant": (lambda: metrics.MuFidelity(LINEAR, X, ONES), 0 * X, np.zeros(4)),
    "infidelity": (lambda: metrics.Infidelity(LINEAR, X, ONES, baseline_mode=0.5), ABOVE, np.zeros(4)),
    "infidelity, noise": (
        lambda: metrics.Infidelity(LINEAR, X, ONES, perturbation="gaussian"), np.repeat(W.T, 4, 0), np.zeros(4),
    ),
    "infidelity, normalized": (
        lambda: metrics.Infidelity(LINEAR, X, ONES, perturbation="gaussian", normalize=True),
        np.repeat(-9 * W.T, 4, 0), np.zeros(4),
    ),
    "infidelity, all removed": (
        lambda: metrics.Infidelity(LINEAR, X, ONES, masks=np.zeros((3, 6))), 3 * PARTS, 4 * PARTS.sum(axis=1) ** 2,
    ),
    "max-sensitivity": (lambda: metrics.MaxSensitivity(LINEAR, X, ONES), gradient(LINEAR), np.zeros(4)),
    "max-sensitivity, steps": (
        lambda: metrics.MaxSensitivity(LINEAR, X, ONES, nb_samples=5, perturbation=lambda x, _: x + NEIGHBOURS),
        GradientInput(LINEAR), np.linalg.norm(NEIGHBOURS * W.T, axis=1).max() / np.linalg.norm(PARTS, axis=1),
    ),
    "sparseness": (metrics.Sparseness, np.eye(4, 6), np.full(4, 1 - 1 / 6)),
    "sparseness, even": (metrics.Sparseness, -np.ones((4, 6)), np.zeros(4)),
    "complexity": (metrics.Complexity, np.eye(4, 6), np.zeros(4)),
    "complexity, even": (metrics.Complexity, -np.ones((4, 6)), np.full(4, np.log(6))),
    "increase": (
        lambda: metrics.AverageIncreaseMetric(LINEAR, X, ONES), np.eye(4, 6),
        X[np.arange(4), np.arange(4)] * W[:4, 0] > FIRST[:, 0],
    ),
    "randomized": (
        lambda: metrics.ModelRandomizationMetric(
            LINEAR, X, ONES, metrics.ProgressiveLayerRandomization(1.0, draw=lambda name, w, rng: -w)
        ),
        gradient(LINEAR), -np.ones(4),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms(name):
    make, explanations, expected = CLOSED[name]
    metric = make()
    np.testing.assert_allclose(metric.of_samples(explanations), expected, rtol=1e-5, atol=2e-6)
    np.testing.assert_allclose(metric(explanations), np.mean(expected), rtol=1e-5, atol=2e-6)


def test_stability_of_a_linear_model():
    metric = metrics.AverageStability(LINEAR, X, ONES, radius=0.3, nb_samples=5)
    assert (metric.noisy_masks >= 0).all()
    assert (metric.noisy_masks < 0.3).all()
    expected = np.linalg.norm(metric.noisy_masks * W.T, axis=1).mean()
    np.testing.assert_allclose(metric.of_samples(GradientInput(LINEAR)), np.full(4, expected), rtol=1e-5)


def captum_model():
    w = captum.WEIGHTS
    nodes = [
        node("Gemm", ["x", "w1", "b1"], ["h"]),
        node("Tanh", ["h"], ["t"]),
        node("Gemm", ["t", "w2", "b2"], ["y"]),
    ]
    return build(nodes, {"x": ["N", 6]}, {"y": ["N", 4]}, w)


def by_sample(array):
    """A perturbation that takes the draws of each sample in turn."""
    waiting = iter(array)
    return lambda copies, generator: next(waiting)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("kind", ["noise", "subsets"])
def test_infidelity_is_captums(kind, normalize):
    given = {"nb_samples": captum.DRAWS, "normalize": normalize}
    if kind == "noise":
        moves = by_sample(captum.NOISE)
        given |= {"perturbation": lambda copies, _: ((step := moves(copies, _)), copies - step)}
    else:
        given |= {"masks": 1 - captum.SUBSETS}
    metric = metrics.Infidelity(captum_model(), captum.X, captum.LABELS, batch_size=7, **given)
    expected = json.loads(captum.FILE.read_text())[f"infidelity, {kind}{', normalized' if normalize else ''}"]
    np.testing.assert_allclose(metric.of_samples(captum.MAPS), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("norm", captum.NORMS)
def test_sensitivity_is_captums(norm):
    moves = by_sample(captum.STEPS)
    metric = metrics.MaxSensitivity(
        captum_model(), captum.X, captum.LABELS, nb_samples=captum.DRAWS, norm=captum.NORMS[norm],
        perturbation=lambda copies, _: copies + moves(copies, _),
    )  # fmt: skip
    expected = json.loads(captum.FILE.read_text())[f"sensitivity, {norm}"]
    np.testing.assert_allclose(metric.of_samples(gradient(captum_model())), expected, rtol=1e-4)


IMAGES = cnn_nhwc()
PICTURES, CLASSES = IMAGES.given, np.array([1, 4, 0])
SIGNED = RNG.normal(size=PICTURES.shape).astype(np.float32)
MASKED = {
    "Deletion": {"steps": 5},
    "Insertion": {"steps": -1, "baseline_mode": lambda x: x.mean(axis=0, keepdims=True)},
    "MuFidelity": {"nb_samples": 30, "grid_size": 3},
    "Infidelity": {"nb_samples": 11, "perturbation": "gaussian"},
    "AverageDropMetric": {"activation": "softmax"},
}


@pytest.mark.parametrize("name", MASKED)
def test_batches_do_not_matter(name):
    made = [
        getattr(metrics, name)(IMAGES.model, PICTURES, CLASSES, batch_size=size, **MASKED[name])
        for size in (1, 7, None)
    ]
    numbers = np.array([metric.of_samples(SIGNED) for metric in made])
    np.testing.assert_allclose(numbers, numbers[:1].repeat(3, 0), rtol=1e-5, atol=1e-5)
    assert made[0].passes == made[1].passes > 0


def channels_first():
    """The same network on channels-first images."""
    model = onnx.ModelProto()
    model.CopyFrom(IMAGES.model)
    del model.graph.node[0]
    model.graph.node[0].input[0] = "image"
    for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim[1:], (3, 8, 9), strict=True):
        dim.dim_value = size
    return model


@pytest.mark.parametrize(
    "name", ["Deletion", "Insertion", "MuFidelity", "AverageDropMetric", "Sparseness", "Complexity"]
)
def test_channels_first(name):
    turned = [np.ascontiguousarray(a.transpose(0, 3, 1, 2)) for a in (PICTURES, SIGNED)]
    if name in ("Sparseness", "Complexity"):
        last, first = getattr(metrics, name)(), getattr(metrics, name)()
    else:
        last = getattr(metrics, name)(IMAGES.model, PICTURES, CLASSES)
        first = getattr(metrics, name)(channels_first(), turned[0], CLASSES)
    expected = last.of_samples(SIGNED)
    np.testing.assert_allclose(first.of_samples(turned[1]), expected, rtol=1e-4, atol=1e-5)
    one = SIGNED[..., :1]
    np.testing.assert_allclose(
        first.of_samples(one.transpose(0, 3, 1, 2)), last.of_samples(one), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("similarity", ["spearman", "ssim"])
def test_sanity_checks_channels_first(similarity):
    turned = np.ascontiguousarray(PICTURES.transpose(0, 3, 1, 2))
    for metric, options in (
        (metrics.RandomLogitMetric, {"classes": np.array([2, 2, 2])}),
        (
            metrics.ModelRandomizationMetric,
            {"randomization_strategy": metrics.ProgressiveLayerRandomization(2)},
        ),
    ):
        last = metric(IMAGES.model, PICTURES, CLASSES, similarity=similarity, **options)
        first = metric(channels_first(), turned, CLASSES, similarity=similarity, **options)
        expected = last.of_samples(GradientInput(IMAGES.model))
        assert (np.abs(expected) < 0.999).all()
        np.testing.assert_allclose(
            first.of_samples(GradientInput(channels_first())), expected, rtol=1e-4, atol=1e-5
        )


def test_score_of_an_operator_and_of_an_inner_value():
    """Operators see changed inputs wherever they call the model; tokens are changed at their embedding."""

    def mirrored(f, x, y):
        return ((f(x) + f(x[:, :, ::-1])) * y).sum(-1)

    weights = np.eye(5, dtype=np.float32)[CLASSES]
    own = metrics.Deletion(Saliency(IMAGES.model, operator=mirrored), PICTURES, weights, steps=4)
    counts, curve = own.curves(SIGNED)
    order = np.argsort(SIGNED.mean(axis=-1).reshape(3, -1), axis=1)[:, ::-1]
    predict = Saliency(IMAGES.model).predict
    for step, count in enumerate(counts):
        changed = PICTURES.reshape(3, 72, 3).copy()
        for row in range(3):
            changed[row, order[row, :count]] = 0
        changed = changed.reshape(PICTURES.shape)
        expected = ((predict(changed) + predict(np.ascontiguousarray(changed[:, :, ::-1]))) * weights).sum(-1)
        np.testing.assert_allclose(curve[:, step], expected, rtol=1e-5, atol=1e-5)
    tokens = embedding()
    table = onnx.numpy_helper.to_array(tokens.model.graph.initializer[0])
    head = onnx.numpy_helper.to_array(tokens.model.graph.initializer[2])
    metric = metrics.Deletion(tokens.model, tokens.given, [0, 1, 2], steps=7, wrt="embedded")
    embedded = table[tokens.given]
    expected = np.tanh(embedded).mean(axis=1) @ head
    np.testing.assert_allclose(metric.scored.scores, expected[np.arange(3), np.arange(3)], rtol=1e-5)
    places = np.arange(7, 0, -1, dtype=np.float32)[None].repeat(3, 0)
    curve = metric.curves(places)[1]  # one map element a token: whole tokens go, the first one first
    embedded[:, :3] = 0
    expected = np.tanh(embedded).mean(axis=1) @ head
    np.testing.assert_allclose(curve[:, 3], expected[np.arange(3), np.arange(3)], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["Deletion", "MaxSensitivity", "ModelRandomizationMetric"])
def test_maps_at_a_layer(name):
    """A class activation map is one over the image: the image is what changes, whoever names the model."""
    method = GradCAM(IMAGES.model)
    explanations = method.explain(PICTURES, CLASSES) if name == "Deletion" else method
    options = {"randomization_strategy": metrics.ProgressiveLayerRandomization(1)} if name[:2] == "Mo" else {}
    numbers = [
        getattr(metrics, name)(model, PICTURES, CLASSES, **options).of_samples(explanations)
        for model in (method, IMAGES.model)
    ]
    np.testing.assert_array_equal(*numbers)
    assert not np.allclose(numbers[0], numbers[0][0])


def test_one_of_several_inputs():
    case = two_inputs()
    method = IntegratedGradients(case.model, steps=20, wrt="features", reducer=None)
    maps = method.explain(case.inputs, np.array([0, 1, 2]))
    metric = metrics.Insertion(method, case.inputs, np.array([0, 1, 2]), steps=-1)
    zeros = case.inputs | {"features": np.zeros_like(case.inputs["features"])}
    ends = [method.predict(given)[np.arange(3), np.arange(3)] for given in (zeros, case.inputs)]
    np.testing.assert_allclose(metric.curves(maps)[1][:, [0, -1]], np.array(ends).T, rtol=1e-5, atol=1e-6)
    stable = metrics.MaxSensitivity(method, case.inputs, np.array([0, 1, 2]), radius=1e-6)
    assert stable(method) < 1e-3


def test_explainer_files_and_functions(tmp_path):
    """A file that takes labels alone, and a function that gets weights, are as good as the method."""
    method = Saliency(IMAGES.model)
    method.export(tmp_path / "explainer.onnx")
    metric = metrics.MaxSensitivity(IMAGES.model, PICTURES)
    expected = metric.of_samples(method)
    np.testing.assert_allclose(metric.of_samples(load(tmp_path / "explainer.onnx")), expected, rtol=1e-5)
    np.testing.assert_array_equal(metric.of_samples(lambda x, y: method.explain(x, y)), expected)
    np.testing.assert_array_equal(
        metric.scored.weights.argmax(axis=1), method.predict(PICTURES).argmax(axis=1)
    )


UNIT = build(
    [node("MatMul", ["x", "w"], ["h"]), node("Sigmoid", ["h"], ["y"])],
    {"x": ["N", 6]},
    {"y": ["N", 1]},
    {"w": W},
)
KINDS = {
    "half": (mlp(np.float16).model, mlp(np.float16).given, np.array([0, 1, 2])),
    "double": (mlp(np.float64).model, mlp(np.float64).given, np.array([0, 1, 2])),
    "one unit of two classes": (UNIT, X[:3], np.array([0, 1, 0])),
}


@pytest.mark.parametrize("name", KINDS)
def test_other_models(name):
    """The first and the last score of each curve are the model's own, as far as its precision goes."""
    model, x, labels = KINDS[name]
    curve = metrics.Deletion(model, x, labels, steps=2).curves(np.abs(x))[1]
    predict = Saliency(model).predict
    for found, given in ((curve[:, 0], x), (curve[:, -1], 0 * x)):
        prediction = predict(given).astype(np.float64)
        if name.startswith("one unit"):
            expected = prediction[:, 0] * np.where(labels == 1, 1, -1)
        else:
            expected = prediction[np.arange(3), labels]
        np.testing.assert_allclose(found, expected, rtol=1e-3 if name == "half" else 1e-6, atol=1e-7)


def test_a_fixed_batch_of_one():
    model = onnx.ModelProto()
    model.CopyFrom(IMAGES.model)
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    numbers = [metrics.Deletion(m, PICTURES, CLASSES).of_samples(SIGNED) for m in (model, IMAGES.model)]
    np.testing.assert_allclose(*numbers, rtol=1e-5, atol=1e-6)


def test_named_columns_and_datasets():
    """Maps of a table have the order of its columns; a dataset's batches are one array."""
    pandas = pytest.importorskip("pandas")
    model = mlp().model
    entry = model.metadata_props.add()
    entry.key, entry.value = "onnxattr.features", json.dumps({"x": list("abcdef")})
    x = mlp().given
    order = [3, 1, 5, 0, 2, 4]
    frame = pandas.DataFrame(x[:, order], columns=["abcdef"[i] for i in order])
    maps = GradientInput(model).explain(x)
    turned = GradientInput(model).explain(frame)
    np.testing.assert_array_equal(turned, maps[:, order])
    expected = metrics.Deletion(model, x, steps=3).of_samples(maps)
    np.testing.assert_array_equal(metrics.Deletion(model, frame, steps=3).of_samples(turned), expected)
    batches = ((part, labels) for part, labels in ((x[:2], [0, 1]), (x[2:], [2])))
    from_batches = metrics.Deletion(model, batches, steps=3).of_samples(maps)
    np.testing.assert_array_equal(
        from_batches, metrics.Deletion(model, x, [0, 1, 2], steps=3).of_samples(maps)
    )


def test_weights_drawn_anew():
    """From the output downwards, each layer's draws the same however far the walk goes; the model stays."""
    method = Saliency(IMAGES.model)
    layers = weight_layers(method.prepared)
    assert [layer.weights for layer in layers] == [["k1", "b1"], ["k2"], ["w"]]
    one, two = (with_weights_drawn(method.prepared, layers[-n:], "shuffle", 3) for n in (1, 2))
    arrays = [
        {n: v.const_value.numpy() for n, v in p.model.graph.initializers.items()}
        for p in (method.prepared, one, two)
    ]
    np.testing.assert_array_equal(arrays[1]["w"], arrays[2]["w"])
    np.testing.assert_array_equal(np.sort(arrays[0]["w"], axis=None), np.sort(arrays[1]["w"], axis=None))
    assert not np.array_equal(arrays[0]["w"], arrays[1]["w"])
    for name, changed in (("k1", False), ("b1", False), ("k2", True)):
        assert np.array_equal(arrays[0][name], arrays[2][name]) != changed
    metric = metrics.ModelRandomizationMetric(IMAGES.model, PICTURES, CLASSES)
    stages = metric.detailed_evaluate(method)
    assert list(stages) == [layer.name for layer in layers[::-1]]
    assert metric.detailed_evaluate(method, stages=1) == {layers[0].name: stages[layers[0].name]}


def test_ranks():
    values = np.array([[30.0, 10, 20, 20, 10], [1, 1, 1, 1, 1]])
    np.testing.assert_array_equal(ranks(values), [[4, 0.5, 2.5, 2.5, 0.5], [2] * 5])
    np.testing.assert_allclose(spearman(values, -values), [-1, 0])


MIXED = build(
    [node("ReduceMean", ["x", "rows"], ["m"], keepdims=1), node("Sub", ["x", "m"], ["y"])],
    {"x": ["N", 6]}, {"y": ["N", 6]}, {"rows": np.array([0])},
)  # fmt: skip
NAN = np.full((4, 6), np.nan, np.float32)
REFUSED = {
    "NaN map": (NonFiniteError, "sample 0 holds nan", lambda: metrics.Deletion(LINEAR, X, ONES)(NAN)),
    "NaN map, alone": (NonFiniteError, "sample 0", lambda: metrics.Complexity()(NAN)),
    "map of another shape": (
        ShapeError, r"explanations have shape \(4, 5\), the inputs \(4, 6\)",
        lambda: metrics.Deletion(LINEAR, X, ONES)(np.ones((4, 5))),
    ),
    "fewer maps": (ShapeError, "expected one map per input", lambda: metrics.MuFidelity(LINEAR, X, ONES)(X[:3])),
    "maps of two inputs": (
        ShapeError, "several inputs", lambda: metrics.Deletion(LINEAR, X, ONES)({"a": X, "b": X}),
    ),
    "two inputs explained": (
        ModelError, r"wrt=<name>", lambda: metrics.Deletion(two_inputs().model, two_inputs().inputs),
    ),
    "no step": (ParameterError, "steps=0", lambda: metrics.Deletion(LINEAR, X, ONES, steps=0)),
    "no feature": (
        ParameterError, "none of 6 features",
        lambda: metrics.Deletion(LINEAR, X, ONES, max_percentage_perturbed=0.1),
    ),
    "more than all": (
        ParameterError, "at most 1", lambda: metrics.Deletion(LINEAR, X, ONES, max_percentage_perturbed=1.5),
    ),
    "baseline": (ParameterError, "broadcasts", lambda: metrics.Deletion(LINEAR, X, ONES, baseline_mode=np.ones(5))),
    "activation": (ParameterError, "'relu'", lambda: metrics.Deletion(LINEAR, X, ONES, activation="relu")),
    "operator twice": (
        ParameterError, "beside a method", lambda: metrics.Deletion(Saliency(LINEAR), X, ONES, operator="regression"),
    ),
    "score": (
        NonFiniteError, "score of sample 0",
        lambda: metrics.Deletion(
            build([node("Log", ["x"], ["y"])], {"x": ["N", 6]}, {"y": ["N", 6]}), np.abs(X), [0] * 4
        )(X),
    ),
    "masks": (ParameterError, "masks has shape", lambda: metrics.MuFidelity(LINEAR, X, ONES, masks=np.ones((9, 5)))),
    "perturbation": (
        ParameterError, "perturbation gave",
        lambda: metrics.Infidelity(LINEAR, X, ONES, perturbation=lambda x, _: x)(X),
    ),
    "maps for a method": (ParameterError, "takes a method", lambda: metrics.MaxSensitivity(LINEAR, X, ONES)(X)),
    "function for a model": (
        ParameterError, "takes a method of this package",
        lambda: metrics.ModelRandomizationMetric(LINEAR, X, ONES)(lambda x, y: x),
    ),
    "unknown": (
        ParameterError, r"Deletion has no parameters \['step'\]; it takes", lambda: metrics.Deletion(LINEAR, X, step=3),
    ),
    "rows not apart": (ModelError, "mixes rows", lambda: metrics.Deletion(MIXED, X, [0] * 4)),
    "layer": (
        ParameterError, "no layer with weights",
        lambda: metrics.ModelRandomizationMetric(
            LINEAR, X, ONES, metrics.ProgressiveLayerRandomization("dense")
        )(Saliency(LINEAR)),
    ),
    "no weights": (
        ModelError, "no weights in initializers",
        lambda: metrics.ModelRandomizationMetric(
            build([node("Tanh", ["x"], ["y"])], {"x": ["N", 6]}, {"y": ["N", 6]}), X, [0] * 4
        )(Saliency(build([node("Tanh", ["x"], ["y"])], {"x": ["N", 6]}, {"y": ["N", 6]}))),
    ),
    "ssim of a table": (
        ParameterError, "compares images",
        lambda: metrics.ModelRandomizationMetric(LINEAR, X, ONES, similarity="ssim"),
    ),
    "one class": (
        ModelError, "no other class", lambda: metrics.RandomLogitMetric(LINEAR, X, ONES, similarity="spearman"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    error, text, act = REFUSED[name]
    with pytest.raises(error, match=text):
        act()


def test_more_steps_than_features_are_one_each():
    with pytest.warns(UserWarning, match="steps=50, and there are 6 features"):
        many = metrics.Deletion(LINEAR, X, ONES, steps=50)(PARTS)
    assert many == metrics.Deletion(LINEAR, X, ONES, steps=-1)(PARTS)


def test_nothing_drawn_anew_is_said():
    metric = metrics.ModelRandomizationMetric(LINEAR, X, ONES)
    with pytest.warns(UserWarning, match="None of the 1 layers"):
        assert metric(gradient(LINEAR)) == pytest.approx(1.0)
