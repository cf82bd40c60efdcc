"""What metrics take: models and inputs of every kind; what must not matter does not."""

import json

import numpy as np
import onnx
import pytest
from scipy import stats
from support.linear_score import W, X
from support.small_models import build, cnn_nhwc, embedding, mlp, node, two_inputs

from onnxattr import load, metrics
from onnxattr.attributions import GradCAM, GradientInput, IntegratedGradients, NoiseTunnel, Saliency
from onnxattr.errors import ParameterError
from onnxattr.metrics.weights import weight_layers, with_weights_drawn

IMAGES = cnn_nhwc()
PICTURES, CLASSES = IMAGES.given, np.array([1, 4, 0])
SIGNED = np.random.default_rng(10).normal(size=PICTURES.shape).astype(np.float32)
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


@pytest.mark.parametrize("tunnel", [False, True])
@pytest.mark.parametrize("name", ["Deletion", "MaxSensitivity", "ModelRandomizationMetric"])
def test_maps_at_a_layer(name, tunnel):
    """A class activation map is one over the image: the image is what changes, whoever names the model."""
    method = NoiseTunnel(GradCAM(IMAGES.model), nb_samples=3) if tunnel else GradCAM(IMAGES.model)
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


LAYERS = {
    "shared": (
        [node("MatMul", ["x", "w"], ["h"], name="a"), node("MatMul", ["h", "w"], ["y"], name="b")],
        {"w": np.eye(6, dtype=np.float32)}, {"b": ["w"]},
    ),
    "bias and scale": (
        [
            node("MatMul", ["x", "w"], ["h"], name="a"), node("Add", ["h", "b"], ["i"], name="bias"),
            node("Mul", ["i", "s"], ["y"], name="scale"),
        ],
        {name: np.eye(6, dtype=np.float32)[: 6 if name == "w" else 1].reshape(-1, 6) for name in "wbs"},
        {"a": ["w", "b"], "scale": ["s"]},
    ),
    "behind a Transpose": (
        [node("Transpose", ["w"], ["t"]), node("MatMul", ["x", "t"], ["y"], name="a")],
        {"w": np.eye(6, dtype=np.float32)}, {"a": ["w"]},
    ),
    "of 8 bits": (
        [node("DequantizeLinear", ["w", "s"], ["t"]), node("MatMul", ["x", "t"], ["y"], name="a")],
        {"w": np.eye(6, dtype=np.int8), "s": np.float32(0.5)}, {"a": ["w"]},
    ),
    "settings and masks": (
        [
            node("MatMul", ["x", "w"], ["h"], name="a"), node("Clip", ["h", "low"], ["i"], name="clip"),
            node("Add", ["i", "mask"], ["y"], name="masked"),
        ],
        {
            "w": np.eye(6, dtype=np.float32), "low": np.float32(0),
            "mask": np.where(np.arange(6) < 5, 0, -np.inf).astype(np.float32),
        },
        {"a": ["w"]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers_with_weights(name):
    nodes, weights, expected = LAYERS[name]
    model = build(nodes, {"x": ["N", 6]}, {"y": ["N", 6]}, weights)
    prepared = Saliency(model).prepared
    layers = weight_layers(prepared)
    assert {layer.name: layer.weights for layer in layers} == expected
    drawn = with_weights_drawn(prepared, layers, "shuffle", 0).model.graph.initializers
    for weight in (w for layer in layers for w in layer.weights):
        before, after = (i[weight].const_value.numpy() for i in (prepared.model.graph.initializers, drawn))
        assert before.dtype == after.dtype
        assert not np.array_equal(before, after)


TEXT = embedding()
TABLE, HEAD = (onnx.numpy_helper.to_array(TEXT.model.graph.initializer[k]) for k in (0, 2))
TOKEN_CLASSES = np.array([0, 1, 2])


def at_embedding(embedded, classes, head=HEAD):
    """The gradient of the classes' logits, mean over tokens of tanh times the head."""
    return (1 - np.tanh(embedded) ** 2) * head.T[classes][:, None] / embedded.shape[1]


def ranked(before, after):
    return [stats.spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(before, after, strict=True)]


def test_metrics_that_explain_again_take_inner_values():
    """Neighbours are those of the embedding; weights and classes change behind the same tokens."""
    method = GradientInput(TEXT.model, wrt="embedded", reducer=None)
    given, embedded = (method, TEXT.given, TOKEN_CLASSES), TABLE[TEXT.given]
    maps = embedded * at_embedding(embedded, TOKEN_CLASSES)
    stable = metrics.AverageStability(*given, radius=0.2, nb_samples=5)
    moved = embedded[:, None] + stable.noisy_masks
    of_moved = np.stack(
        [m * at_embedding(m, np.full(5, c)) for m, c in zip(moved, TOKEN_CLASSES, strict=True)]
    )
    distances = np.sqrt(((of_moved - maps[:, None]) ** 2).sum(axis=(2, 3)))
    np.testing.assert_allclose(stable.of_samples(method), distances.mean(axis=1), rtol=1e-4)
    sensitive = metrics.MaxSensitivity(*given, nb_samples=1, perturbation=lambda x, rng: 0.9 * x)
    moved = 0.9 * embedded
    distances = np.sqrt(((moved * at_embedding(moved, TOKEN_CLASSES) - maps) ** 2).sum(axis=(1, 2)))
    expected = distances / np.sqrt((maps**2).sum(axis=(1, 2)))
    np.testing.assert_allclose(sensitive.of_samples(method), expected, rtol=1e-4)
    logit = metrics.RandomLogitMetric(*given, similarity="spearman", classes=np.array([1, 2, 0]))
    others = embedded * at_embedding(embedded, [1, 2, 0])
    np.testing.assert_allclose(logit.of_samples(method), ranked(maps.mean(-1), others.mean(-1)), rtol=1e-4)
    strategy = metrics.ProgressiveLayerRandomization(1.0, draw=lambda name, weights, rng: weights[::-1])
    drawn = metrics.ModelRandomizationMetric(*given, strategy)
    others = TABLE[::-1][TEXT.given] * at_embedding(TABLE[::-1][TEXT.given], TOKEN_CLASSES, HEAD[::-1])
    np.testing.assert_allclose(drawn.of_samples(method), ranked(maps.mean(-1), others.mean(-1)), rtol=1e-4)


@pytest.mark.parametrize("explainer", [lambda x, y: x, Saliency(TEXT.model, wrt="squashed")])
def test_inner_values_are_changed_for_methods_at_the_same_value_alone(explainer):
    metric = metrics.MaxSensitivity(TEXT.model, TEXT.given, TOKEN_CLASSES, wrt="embedded")
    with pytest.raises(ParameterError, match="a method with the same wrt="):
        metric.of_samples(explainer)
