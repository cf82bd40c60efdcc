"""Groups of features: masks of one sample and of each, of several inputs, over maps of layers and in noise tunnels."""

import itertools

import numpy as np
import pytest
from onnx import TensorProto, helper
from support.explained import LABELS, close
from support.layer_maps import IMAGE, SEGMENTS, TABLE, TOKENS, everywhere, sums
from support.small_models import build, mlp, node, random, rows, two_inputs
from support.tiny_graphs import parse

import onnxattr
from onnxattr import GradCAM, GradientInput, IntegratedGradients, NoiseTunnel, Saliency, SmoothGrad, VarGrad
from onnxattr.errors import ParameterError, ShapeError

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
