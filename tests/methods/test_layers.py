"""Layer methods on small models: reducers of tokens, neurons and places inside a model, in every rendering."""

import inspect
import json

import numpy as np
import onnx
import pytest
from onnx import helper
from support.explained import LABELS, close
from support.layer_maps import IMAGE, REDUCED, SEGMENTS, TABLE, TEXT, TOKENS, TWO, everywhere, integrated
from support.small_models import build, cnn_nchw, mlp, node, random, rows, series
from support.tiny_graphs import parse

import onnxattr
from onnxattr import GradientInput, IntegratedGradients, Saliency, SmoothGrad, VarGrad, inspection
from onnxattr.attributions.options import Unasked
from onnxattr.cli import main
from onnxattr.errors import ModelError, ParameterError
from onnxattr.loading.landmarks import embeddings, last_convolution
from onnxattr.loading.places import nearest


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
