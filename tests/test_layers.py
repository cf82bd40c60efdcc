"""Layer methods on small models: reducers of tokens, neurons, groups of features, in every rendering."""

import inspect
import itertools
import json

import numpy as np
import onnx
import pytest
from golden import captum_layers
from onnx import TensorProto, helper
from support.explained import LABELS, close
from support.small_models import build, cnn_nchw, embedding, mlp, node, random, rows, series, two_inputs
from support.tiny_graphs import parse

import onnxattr
from onnxattr import (
    GradCAM,
    GradientInput,
    IntegratedGradients,
    NoiseTunnel,
    Saliency,
    SmoothGrad,
    VarGrad,
    inspection,
)
from onnxattr.attributions.options import Unasked
from onnxattr.cli import main
from onnxattr.errors import ModelError, ParameterError, ShapeError
from onnxattr.loading.landmarks import embeddings, last_convolution
from onnxattr.loading.places import nearest

TEXT = embedding()
TOKENS = TEXT.given
TABLE = random(1, 11, 5)


def logits_at(embedded):
    """The logits of the text model and the gradient of the labels' at its embedding, in float64."""
    w, squashed = random(2, 5, 3).astype(np.float64), np.tanh(embedded)
    logits = squashed.mean(axis=1) @ w
    return logits, (1 - squashed**2) * w[:, LABELS].T[:, None] / embedded.shape[1]


def integrated(x, baseline, steps):
    """(x - b) times the trapezoid rule, in float64."""
    weights = np.full(steps, 1 / (steps - 1))
    weights[[0, -1]] /= 2
    points = np.linspace(0, 1, steps)
    total = sum(w * logits_at(baseline + a * (x - baseline))[1] for w, a in zip(weights, points, strict=True))
    return (x - baseline) * total


REDUCED = {
    None: lambda maps: maps,
    "sum": lambda maps: maps.sum(axis=-1, keepdims=True),
    "mean": lambda maps: maps.mean(axis=-1, keepdims=True),
    "l2": lambda maps: np.sqrt((maps**2).sum(axis=-1, keepdims=True)),
    "prod": lambda maps: maps.prod(axis=-1, keepdims=True),
}


def everywhere(method, x, folder, targets=LABELS, **options):
    """The maps driven, and of the exported renderings."""
    yield method.explain(x, targets)
    renderings = ("batch", "loop") if method._plan.request.method.points > 1 else ("batch",)
    for rendering in renderings:
        method.export(folder / f"{rendering}.onnx", rendering)
        explainer = onnxattr.load(folder / f"{rendering}.onnx")
        assert explainer.explained == method.explained
        yield explainer.explain(x, targets)


@pytest.mark.parametrize("reducer", REDUCED)
def test_tokens_are_reduced(reducer, tmp_path):
    x = TABLE[TOKENS].astype(np.float64)
    method = IntegratedGradients(TEXT.model, wrt="embedded", reducer=reducer, steps=6, batch_size=4)
    for found in everywhere(method, TOKENS, tmp_path):
        close(found, REDUCED[reducer](integrated(x, 0.0, 6)), 1e-5)


@pytest.mark.parametrize("method", [IntegratedGradients, Saliency, SmoothGrad])
def test_tokens_keep_their_shape_unless_a_reducer_is_asked_for(method):
    assert method(TEXT.model, wrt="embedded").explain(TOKENS, LABELS).shape == (3, 7, 5)


def test_defaults_are_told_from_reducers_that_are_asked_for():
    for name in onnxattr.attributions.__all__:
        method = getattr(onnxattr.attributions, name)
        parameter = inspect.signature(method).parameters.get("reducer")
        assert parameter is None or parameter.default is None or isinstance(parameter.default, Unasked), name


def test_the_channel_axis_of_a_map_is_that_of_the_convolution():
    """A map (N, C, T), and one (N, C, H, W) that nothing but a mean over space reads."""
    nodes = [
        node("Conv", ["image", "k"], ["map"]),
        node("ReduceMean", ["map", "space"], ["mean"], keepdims=0),
        node("Gemm", ["mean", "w"], ["logits"]),
    ]
    weights = {"k": random(1, 5, 3, 3, 3), "space": np.array([2, 3]), "w": random(2, 5, 3)}
    model = build(nodes, {"image": ["N", 3, 6, 3]}, {"logits": ["N", 3]}, weights)
    assert GradientInput(model, wrt="map", reducer="sum").explain(rows(3, 3, 6, 3), LABELS).shape == (
        3,
        1,
        4,
        1,
    )
    steps = series()
    assert GradientInput(steps.model, wrt="c1", reducer="sum").explain(steps.given, LABELS).shape == (
        3,
        1,
        20,
    )
    assert GradientInput(steps.model, wrt="series", reducer="sum").explain(steps.given, LABELS).shape == (
        3,
        20,
        2,
    )


NEURONS = [
    (mlp, "hidden", 3, lambda layer: layer[:, 3]),
    (mlp, "hidden", -1, lambda layer: layer[:, -1]),
    (mlp, "hidden", (4,), lambda layer: layer[:, 4]),
    (mlp, None, 2, lambda layer: layer[:, 2]),
    (cnn_nchw, "c2", 1, lambda layer: layer[:, 1].mean(axis=(1, 2))),
    (cnn_nchw, "c2", (1, 0, -1), lambda layer: layer[:, 1, 0, -1]),
    (series, "c1", 2, lambda layer: layer[:, 2].mean(axis=1)),
    (series, "t", 1, lambda layer: layer[:, 1].mean(axis=1)),
]


@pytest.mark.parametrize(("make", "layer", "neuron", "expected"), NEURONS)
def test_neurons(make, layer, neuron, expected, tmp_path):
    small = make()
    whole = Saliency(small.model, output_layer=layer)
    activation = whole.predict(small.given)
    method = Saliency(small.model, output_layer=layer, neuron=neuron, reducer=None)
    close(method.predict(small.given), expected(activation))
    # The gradient of a neuron is that of the layer with weights on it.
    weights = np.zeros_like(activation)
    single = isinstance(neuron, tuple)
    weights[(slice(None), *neuron) if single else (slice(None), neuron)] = 1
    weights /= weights[0].sum()
    wanted = Saliency(small.model, output_layer=layer, reducer=None).explain(small.given, weights)
    for found in everywhere(method, small.given, tmp_path, None):
        close(found, wanted, 1e-5)


def test_neurons_of_a_layer_explained_at_a_layer():
    small = mlp()
    found = GradientInput(small.model, wrt="active", output_layer="logits", neuron=1).explain(small.given)
    active = Saliency(small.model, output_layer="active").predict(small.given)
    close(found, active * random(3, 10, 4)[:, 1])


IMAGE = cnn_nchw()
SEGMENTS = np.arange(72).reshape(8, 9) // 20


def sums(maps, mask):
    """The sums over each group, in float64."""
    mask = np.broadcast_to(mask, maps.shape[1:])
    wide = maps.astype(np.float64)
    return np.stack(
        [(wide * (mask == k)).reshape(len(maps), -1).sum(axis=1) for k in range(mask.max() + 1)], axis=1
    )


MASKS = {
    "segments": SEGMENTS,
    "segments with an axis of channels": SEGMENTS[None],
    "Captum's axis of samples": SEGMENTS[None, None],
    "channels": np.array([[[1]], [[0]], [[1]]]),
    "every value": np.arange(216).reshape(3, 8, 9) % 7,
    "all": np.zeros((1, 1, 1), int),
    "columns": np.arange(9) // 3,
}


@pytest.mark.parametrize(
    ("name", "method"), itertools.product(MASKS, [IntegratedGradients, VarGrad, GradientInput])
)
def test_feature_masks(name, method, tmp_path):
    mask, options = MASKS[name], {"steps": 3} if method is IntegratedGradients else {}
    options |= {"nb_samples": 2} if method is VarGrad else {}
    whole = method(IMAGE.model, reducer=None, **options).explain(IMAGE.given, LABELS)
    placed = mask[0] if name.startswith("Captum") else mask
    grouped = method(IMAGE.model, feature_mask=mask, **options)
    found = list(everywhere(grouped, IMAGE.given, tmp_path))
    for maps in found:
        close(maps, sums(whole, placed), 1e-5)


def test_a_reducer_that_is_asked_for_acts_before_a_mask():
    per_pixel = Saliency(IMAGE.model, reducer="max").explain(IMAGE.given, LABELS)
    close(
        Saliency(IMAGE.model, reducer="max", feature_mask=SEGMENTS).explain(IMAGE.given, LABELS),
        sums(per_pixel, SEGMENTS[None]), 1e-5,
    )  # fmt: skip
    with pytest.raises(ParameterError, match=r"\(3, 8, 9\).*\(1, 8, 9\)"):
        Saliency(IMAGE.model, reducer="max", feature_mask=MASKS["every value"])


PER_SAMPLE = np.stack([SEGMENTS[None], SEGMENTS[None, ::-1], np.where(SEGMENTS[None] > 1, 3, 4)])


@pytest.mark.parametrize("batch_size", [1, 2, 32])
@pytest.mark.parametrize(
    ("method", "options"),
    [
        (Saliency, {}),
        (GradientInput, {"reducer": "l2"}),
        (IntegratedGradients, {"steps": 3}),
        (IntegratedGradients, {"points": "adaptive", "steps": 12}),
        (SmoothGrad, {"nb_samples": 3}),
        (GradCAM, {}),
    ],
)
def test_a_mask_for_each_sample(method, options, batch_size):
    """Each sample's attributions are summed over its own groups; one that has none of a group gets 0 there."""
    per_pixel = method(IMAGE.model, **{"reducer": None} | options if method is not GradCAM else options)
    maps = per_pixel.explain(IMAGE.given, LABELS)
    expected = [sums(maps[k : k + 1], mask)[0] for k, mask in enumerate(PER_SAMPLE)]
    expected = np.stack([np.pad(row, (0, PER_SAMPLE.max() + 1 - len(row))) for row in expected])
    grouped = method(IMAGE.model, feature_mask=PER_SAMPLE, batch_size=batch_size, **options)
    close(grouped.explain(IMAGE.given, LABELS), expected, 1e-5)
    batches = ((IMAGE.given[k : k + 1], LABELS[k : k + 1]) for k in range(3))
    if method is not SmoothGrad:
        close(grouped.explain(batches), expected, 1e-5)


@pytest.mark.parametrize(
    ("rows", "said"), [(2, "rows for 3 samples, and there are 2"), (4, "rows for 3 samples, and there are 4")]
)
def test_a_mask_for_each_sample_of_other_samples(rows, said):
    method = Saliency(IMAGE.model, feature_mask=PER_SAMPLE)
    with pytest.raises(ShapeError, match=said):
        method.explain(np.resize(IMAGE.given, (rows, *IMAGE.given.shape[1:])), 0)


def test_a_mask_for_each_sample_is_not_in_a_file(tmp_path):
    method = GradientInput(IMAGE.model, feature_mask=PER_SAMPLE)
    with pytest.raises(ParameterError, match="one mask for all samples"):
        method.export(tmp_path / "e.onnx")
    with pytest.raises(ParameterError, match="one mask for all samples"):
        NoiseTunnel(method, nb_samples=2)
    assert not (tmp_path / "e.onnx").exists()


def test_the_convergence_delta_is_that_of_the_groups():
    method = IntegratedGradients(IMAGE.model, steps=5, feature_mask=SEGMENTS)
    difference = (
        method.predict(IMAGE.given)[np.arange(3), LABELS] - method.predict(0 * IMAGE.given)[0, LABELS]
    )
    total = method.explain(IMAGE.given, LABELS).sum(axis=1)
    np.testing.assert_allclose(total - difference, method.convergence_delta(IMAGE.given, LABELS), atol=1e-6)


def test_masks_of_several_inputs(tmp_path):
    both = two_inputs()
    masks = {"image": np.arange(36).reshape(6, 6) % 4, "features": np.array([0, 1, 1, 0])}
    whole = GradientInput(both.model).explain(both.given, LABELS)
    for found in everywhere(GradientInput(both.model, feature_mask=masks), both.given, tmp_path):
        for name in masks:
            close(found[name], sums(whole[name], masks[name]), 1e-5)
    only = GradientInput(both.model, feature_mask={"features": masks["features"]}).explain(both.given, LABELS)
    assert {name: array.shape for name, array in only.items()} == {"image": (3, 3, 6, 6), "features": (3, 2)}
    # Group 1 has pixels alone, group 2 has both: as in Captum, a number is one group wherever it stands.
    shared = {"image": np.arange(36).reshape(6, 6) % 3, "features": np.array([3, 2, 2, 3])}
    found = GradientInput(both.model, feature_mask=shared).explain(both.given, LABELS)
    assert found["image"].shape == found["features"].shape == (3, 4)
    close(found["features"], np.pad(sums(whole["features"], shared["features"]), 0), 1e-5)


def test_masks_of_tokens_fit_the_length(tmp_path):
    nodes = [
        node("Gather", ["table", "tokens"], ["embedded"]),
        node("ReduceMean", ["embedded", "time"], ["m"], keepdims=0),
        node("Gemm", ["m", "w"], ["logits"]),
    ]
    weights = {"table": TABLE, "time": np.array([1]), "w": random(2, 5, 3)}
    model = build(nodes, {"tokens": (["N", "T"], TensorProto.INT64)}, {"logits": ["N", 3]}, weights)
    words = np.array([0, 0, 1, 2, 2, 2, 1])
    method = GradientInput(model, wrt="embedded", feature_mask=words)
    whole = GradientInput(model, wrt="embedded").explain(TOKENS, LABELS)
    close(method.explain(TOKENS, LABELS), sums(whole, words[:, None]), 1e-5)
    method.export(tmp_path / "e.onnx")
    close(onnxattr.load(tmp_path / "e.onnx").explain(TOKENS, LABELS), sums(whole, words[:, None]), 1e-5)
    with pytest.raises(ShapeError, match=r"feature_mask of shape \(7, 1\) does not fit"):
        method.explain(TOKENS[:, :5], LABELS)
    with pytest.raises(ShapeError, match="feature_mask does not fit these inputs"):
        onnxattr.load(tmp_path / "e.onnx").explain(TOKENS[:, :5], LABELS)


def test_masks_are_in_the_order_of_the_model(tmp_path):
    pandas = pytest.importorskip("pandas")
    small = mlp()
    helper.set_model_props(small.model, {"onnxattr.features": '{"x": ["a", "b", "c", "d", "e", "f"]}'})
    whole = GradientInput(small.model).explain(small.given, LABELS)
    ids = [0, 1, 2, 0, 1, 3]
    table = pandas.DataFrame(small.given[:, ::-1], columns=list("fedcba"))
    for mask in (np.array(ids), pandas.Series(dict(zip("fedcba", ids[::-1], strict=True)))):
        for found in everywhere(GradientInput(small.model, feature_mask=mask), table, tmp_path):
            close(found, sums(whole, np.array(ids)), 1e-5)


TWO = two_inputs().model
BAD = [
    (IMAGE.model, {"feature_mask": SEGMENTS[:5]}, r"\(5, 9\).*\(3, 8, 9\)"),
    (IMAGE.model, {"feature_mask": SEGMENTS - 1}, "holds -1; groups are numbered from 0"),
    (IMAGE.model, {"feature_mask": 2 * SEGMENTS}, r"no feature is in \[1, 3, 5\]"),
    (IMAGE.model, {"feature_mask": SEGMENTS / 3}, "float64.*expected integers"),
    (IMAGE.model, {"feature_mask": np.zeros((0, 9), int)}, "expected integers"),
    (IMAGE.model, {"feature_mask": "segments"}, "expected integers"),
    (IMAGE.model, {"feature_mask": np.stack([SEGMENTS[None, :5]] * 3)}, "a row of that shape for each sample"),
    (IMAGE.model, {"feature_mask": {"images": SEGMENTS}}, "'images'.*'image'"),
    (TWO, {"feature_mask": np.zeros(4, int)}, "2 values are explained"),
    (mlp().model, {"neuron": 10, "output_layer": "hidden"}, r"neuron=10: 'hidden' has shape \(N, 10\).*0 to 9; got 10"),
    (mlp().model, {"neuron": (1, 2), "output_layer": "hidden"}, "1 integers"),
    (mlp().model, {"neuron": 0.5}, "neuron=0.5: expected an integer"),
    (mlp().model, {"neuron": True}, "neuron=True"),
    (mlp().model, {"neuron": ()}, r"neuron=\(\)"),
    (mlp().model, {"reducer": "norm"}, "'l2'"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "options", "message"), BAD)
def test_bad_parameters(model, options, message):
    with pytest.raises(ParameterError, match=message):
        Saliency(model, **options)


CHAIN = ("hidden", "active")


def test_values_behind_each_other():
    """A gradient is that of replacing one value, the others being computed from it; points cannot be had at both."""
    small = mlp()
    both = GradientInput(small.model, wrt=CHAIN).explain(small.given, LABELS)
    for name, found in zip(CHAIN, both, strict=True):
        close(found, GradientInput(small.model, wrt=name).explain(small.given, LABELS))
    for method in (IntegratedGradients, SmoothGrad, VarGrad):
        with pytest.raises(ParameterError, match="'active' is computed from wrt 'hidden'"):
            method(small.model, wrt=CHAIN)


def test_a_value_on_some_of_the_ways_to_the_score():
    """f = a * b with a = x^2 behind the value and b = x beside it: the gradient at a is b, that of replacing a."""
    nodes = [node("Mul", ["x", "x"], ["a"]), node("Mul", ["a", "x"], ["y"])]
    model = build(nodes, {"x": ["N", 3]}, {"y": ["N", 3]})
    x = rows(1, 3)
    close(GradientInput(model, wrt="a").explain(x, np.ones((3, 3), np.float32)), x**2 * x)


def test_nearest_names():
    names = ["conv1", "block/conv1", "relu", "Conv_1", "features.0.conv"]
    assert nearest("Conv1", names)[:3] == ["conv1", "Conv_1", "block/conv1"]
    assert nearest("0.conv", names)[0] == "features.0.conv"
    assert nearest("zzz", names) == []


def test_masks_over_maps_of_a_layer(tmp_path):
    """A class activation map is one over the image, whatever is explained inside."""
    whole = GradCAM(IMAGE.model).explain(IMAGE.given, LABELS)
    for found in everywhere(GradCAM(IMAGE.model, feature_mask=SEGMENTS), IMAGE.given, tmp_path):
        close(found, sums(whole, SEGMENTS[None]), 1e-5)
    small = GradCAM(IMAGE.model, upsampling=None).explain(IMAGE.given, LABELS)
    mask = np.arange(small[0].size).reshape(small.shape[2:]) % 2
    close(
        GradCAM(IMAGE.model, upsampling=None, feature_mask=mask).explain(IMAGE.given, LABELS),
        sums(small, mask[None]), 1e-5,
    )  # fmt: skip


def test_masks_inside_a_noise_tunnel(tmp_path):
    options = {"nb_samples": 2, "noise": 0.1}
    whole = NoiseTunnel(GradientInput(IMAGE.model), **options).explain(IMAGE.given, LABELS)
    tunnel = NoiseTunnel(GradientInput(IMAGE.model, feature_mask=SEGMENTS), **options)
    for found in everywhere(tunnel, IMAGE.given, tmp_path):
        close(found, sums(whole, SEGMENTS[None]), 1e-5)


def test_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    onnx.save(TEXT.model, "text.onnx")
    np.save("tokens.npy", TOKENS)
    np.save("mask.npy", np.array([0, 0, 1, 1, 1, 2, 0]))
    arguments = ["text.onnx", "--method", "GradientInput", "--wrt", "embedded"]
    given = {"wrt": "embedded", "reducer": "l2"}
    for options, parameters in (
        (["--reducer", "l2"], given),
        (["--reducer", "l2", "--feature-mask", "mask.npy"], given | {"feature_mask": np.load("mask.npy")}),
        (["--output-layer", "squashed", "--neuron", "2"], {"wrt": "embedded", "output_layer": "squashed", "neuron": 2}),
        (["--output-layer", "squashed", "--neuron", "2,-1"],
         {"wrt": "embedded", "output_layer": "squashed", "neuron": (2, -1)}),
    ):  # fmt: skip
        main(["explain", *arguments, "tokens.npy", *options, "-o", "maps.npy"])
        close(np.load("maps.npy"), GradientInput(TEXT.model, **parameters).explain(TOKENS))
    assert main(["explain", *arguments, "tokens.npy", "--neuron", "a", "-o", "maps.npy"]) == 2
    assert "--neuron a: expected an integer" in capsys.readouterr().err


def chain(length):
    """Many convolutions over time, behind each other."""
    nodes = [node("Conv", [f"c{k}", "k"], [f"c{k + 1}"], pads=[1, 1]) for k in range(length)]
    nodes.append(node("GlobalAveragePool", [f"c{length}"], ["mean"]))
    return build(nodes, {"c0": ["N", 2, 9]}, {"mean": ["N", 2, 1]}, {"k": random(1, 2, 2, 3)})


def listed(model, full):
    text = inspection.inspect(model, full=full)
    return text.split("Float values (name, operator, shape)\n")[1].split("\n\n")[0].splitlines()


def test_inspect_lists_values_and_marks():
    assert "  embedded  Gather  (N, 7, 5)   embedding" in listed(TEXT.model, False)
    short, full = (listed(chain(100), full) for full in (False, True))
    assert len(full) == 101
    assert full[-2] in short
    assert full[-2] == "  c100  Conv  (N, 2, 9)   last convolution"
    assert short[15] == "  ..."
    assert short[-1] == "  60 of 101 are shown; `onnxattr inspect --all` lists all."


def captum_images(batch="N", kind=TensorProto.FLOAT):
    nodes = [
        node("Conv", ["x", "k1"], ["c1"]), node("Tanh", ["c1"], ["first"]), node("Conv", ["first", "k2"], ["c2"]),
        node("Tanh", ["c2"], ["second"]), node("ReduceMean", ["second", "space"], ["mean"], keepdims=0),
        node("MatMul", ["mean", "w"], ["logits"]),
    ]  # fmt: skip
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    weights = {name: array.astype(dtype) for name, array in captum_layers.IMAGES.items()}
    weights["space"] = np.array([2, 3])
    return build(nodes, {"x": ([batch, 2, 5, 5], kind)}, {"logits": ([batch, 3], kind)}, weights)


def captum_text():
    nodes = [
        node("Gather", ["table", "words"], ["embedded"]), node("Tanh", ["embedded"], ["squashed"]),
        node("ReduceMean", ["squashed", "time"], ["mean"], keepdims=0), node("MatMul", ["mean", "w"], ["logits"]),
    ]  # fmt: skip
    weights = captum_layers.WORDS | {"time": np.array([1])}
    return build(nodes, {"words": (["N", "T"], TensorProto.INT64)}, {"logits": ["N", 3]}, weights)


GOLDEN = {
    name: np.array(numbers, np.float32)
    for name, numbers in json.loads(captum_layers.FILE.read_text()).items()
    if name not in ("captum", "torch")
}
X, TWO_LABELS = captum_layers.X, captum_layers.LABELS
ON_PATH = {"reducer": None, "quadrature": "gauss_legendre", "steps": captum_layers.STEPS, "batch_size": 5}
AT_LAYER = {"wrt": "first", "baseline_value": {"x": captum_layers.X_BASELINE}}
AT_WORDS = {"wrt": "embedded", "baseline_value": {"words": captum_layers.PADDING}}
CAPTUM = [
    ("gradient x activation", captum_images, GradientInput, {"wrt": "first"}, X, TWO_LABELS),
    ("neuron", captum_images, Saliency, {"output_layer": "first", "neuron": captum_layers.UNIT}, X, None),
    ("integrated gradients", captum_images, IntegratedGradients, ON_PATH | AT_LAYER, X, TWO_LABELS),
    ("embedding", captum_text, IntegratedGradients, ON_PATH | AT_WORDS, captum_layers.TOKENS, TWO_LABELS),
]


@pytest.mark.parametrize(
    ("name", "make", "method", "options", "x", "labels"), CAPTUM, ids=[row[0] for row in CAPTUM]
)
def test_captum_agrees(name, make, method, options, x, labels, tmp_path):
    expected = np.abs(GOLDEN[name]) if method is Saliency else GOLDEN[name]
    made = method(make(), **{"reducer": None} | options)
    for found in everywhere(made, x, tmp_path, labels):
        close(found, expected, 2e-6)


def test_the_activation_of_a_layer_is_the_prediction_there():
    close(Saliency(captum_images(), output_layer="first").predict(X), GOLDEN["activation"], 2e-6)


def test_a_layer_that_starts_at_the_inputs_baseline_adds_up():
    method = IntegratedGradients(captum_images(), **ON_PATH | AT_LAYER | {"steps": 30})
    scores = method.predict(np.concatenate([X, captum_layers.X_BASELINE[None]]))
    total = method.explain(X, TWO_LABELS).reshape(2, -1).sum(axis=1)
    np.testing.assert_allclose(total, scores[[0, 1], TWO_LABELS] - scores[2, TWO_LABELS], atol=1e-6)
    np.testing.assert_allclose(method.convergence_delta(X, TWO_LABELS), 0, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"x": np.zeros((5, 4))}, r"baseline_value\['x'\] has shape \(5, 4\).*\(2, 5, 5\)"),
        ({"x": 0, "y": 1}, "names .*'first'"),
        ({"x": np.nan}, "finite"),
    ],
)
def test_baselines_of_inputs_that_do_not_fit(given, message):
    with pytest.raises(ParameterError, match=message):
        IntegratedGradients(captum_images(), wrt="first", baseline_value=given)


def test_baselines_of_words_are_whole():
    with pytest.raises(ParameterError, match=r"holds 0.5; the input takes int64"):
        IntegratedGradients(captum_text(), wrt="embedded", baseline_value={"words": 0.5})


@pytest.mark.parametrize(
    ("batch", "kind", "tolerance"), [(1, TensorProto.FLOAT, 2e-6), ("N", TensorProto.FLOAT16, 2e-2)]
)
def test_layers_of_a_fixed_batch_and_of_half_precision(batch, kind, tolerance):
    model, x = captum_images(batch, kind), X.astype(helper.tensor_dtype_to_np_dtype(kind))
    close(
        GradientInput(model, wrt="first").explain(x, TWO_LABELS), GOLDEN["gradient x activation"], tolerance
    )
    found = IntegratedGradients(model, **ON_PATH | AT_LAYER).explain(x, TWO_LABELS)
    close(found, GOLDEN["integrated gradients"], tolerance)
    mask = np.arange(9).reshape(3, 3) // 4
    grouped = IntegratedGradients(model, feature_mask=mask, **ON_PATH | AT_LAYER).explain(x, TWO_LABELS)
    close(grouped, sums(GOLDEN["integrated gradients"], mask[None]), tolerance)
    neuron = Saliency(model, output_layer="first", neuron=captum_layers.UNIT, reducer=None)
    close(neuron.explain(x), np.abs(GOLDEN["neuron"]), tolerance)


INSIDE = """g (float[N,3] x) => (float[N,3] y) <int64 count = {2}, bool go = {1}> {
    y = Loop(count, go, x) <body = b (int64 i, bool c, float[N,3] h) => (bool more, float[N,3] k) {
        more = Identity(c) squared = Mul(h, h) k = Sin(squared) }> }"""
BESIDE = """g (float[N,3] x) => (float[N,3] y) { unused = Exp(x) y = Sin(x) }"""
WHOLE = """g (float[N,3] x, int64[N,3] k) => (float[N,3] y) { f = Cast<to = 1>(k) y = Mul(f, x) }"""


@pytest.mark.parametrize(
    ("text", "wrt", "message"),
    [
        (INSIDE, "squared", "'squared' is inside a subgraph of the Loop node .* an output of that node: 'y'"),
        (BESIDE, "unused", "'y' does not depend on wrt 'unused'.*It depends on 'x'; `onnxattr inspect`"),
        (BESIDE, "unused_", "Nearest: 'unused'"),
        (BESIDE, ("x", 0), "wrt=0 is an index, but the model has no layer table"),
        (WHOLE, "k", "'k' is INT64; only float values can be explained: .*'f'"),
    ],
)
def test_places_that_cannot_be_explained(text, wrt, message):
    with pytest.raises(ModelError, match=message):
        GradientInput(parse(text), wrt=wrt)


def test_one_sample_is_grouped_as_a_whole(tmp_path):
    """All rows are one sample: the mask has their axis, and one sample's groups come back."""
    model = parse(
        "g (float[T,4] x) => (float[4] y) <int64[1] zero = {0}> { s = ReduceSum<keepdims=0>(x, zero) y = Exp(s) }"
    )
    x, weights, mask = rows(1, 4)[:2], np.ones(4, np.float32), np.array([[0, 0, 1, 1], [2, 2, 2, 0]])
    with pytest.warns(UserWarning, match="one sample"):
        method = GradientInput(model, feature_mask=mask)
    method.export(tmp_path / "e.onnx", target="weights")
    whole = x * np.exp(x.sum(axis=0))
    for found in (method.explain(x, weights), onnxattr.load(tmp_path / "e.onnx").explain(x, weights)):
        close(found, sums(whole[None], mask)[0], 1e-5)


def test_places_that_a_function_finds():
    assert GradientInput(TEXT.model, wrt=embeddings).explained == ("embedded",)
    assert GradientInput(IMAGE.model, wrt=last_convolution).explained == ("c2",)
    with pytest.raises(ModelError, match="No convolution"):
        GradientInput(TEXT.model, wrt=last_convolution)


def both_layouts():
    """A layer (N, H, W, C) whose values a convolution reads channels first, and a Flatten channels last."""
    nodes = [
        node("Conv", ["x", "k"], ["first"]), node("Transpose", ["first"], ["last"], perm=[0, 2, 3, 1]),
        node("Flatten", ["last"], ["flat"]), node("Conv", ["first", "k2"], ["deeper"]),
        node("GlobalAveragePool", ["deeper"], ["pooled"]), node("Flatten", ["pooled"], ["mean"]),
        node("Gemm", ["flat", "w"], ["one"]), node("Gemm", ["mean", "v"], ["other"]),
        node("Mul", ["one", "other"], ["y"]),
    ]  # fmt: skip
    weights = {
        "k": random(1, 2, 1, 2, 2),
        "k2": random(2, 3, 2, 2, 2),
        "w": random(3, 18, 3),
        "v": random(4, 3, 3),
    }
    model = build(nodes, {"x": ["N", 1, 4, 4]}, {"y": ["N", 3]}, weights)
    row = {"index": None, "class": "Layer", "folded": None}
    table = [
        row | {"name": name, "path": name, "output": value}
        for name, value in (("conv", "last"), ("flat", "flat"))
    ]
    helper.set_model_props(model, {"onnxattr.layers": json.dumps({"version": 1, "layers": table})})
    return model


def test_a_layer_is_all_that_reads_it_in_either_layout():
    """The gradient at the layer is that of both readers; at a layer behind, or a value by its name, of one alone."""
    model, x = both_layouts(), rows(5, 1, 4, 4)
    first = Saliency(model, output_layer="first").predict(x)
    at_first = GradientInput(model, wrt="first", reducer=None).explain(x, LABELS)
    assert first.shape == (3, 2, 3, 3)
    at_flat = GradientInput(model, wrt="flat").explain(x, LABELS)
    through_flat = at_flat.reshape(3, 3, 3, 2).transpose(0, 3, 1, 2)
    found = GradientInput(model, wrt="conv", reducer=None).explain(x, LABELS)
    close(found.transpose(0, 3, 1, 2), at_first, 1e-6)
    assert np.abs(through_flat - at_first).max() > 0.1 * np.abs(at_first).max()
    helper.set_model_props(model, {})
    close(
        GradientInput(model, wrt="last", reducer=None).explain(x, LABELS).transpose(0, 3, 1, 2), through_flat
    )
