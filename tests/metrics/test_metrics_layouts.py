"""Metrics of images, series and volumes in both layouts, and of maps with fewer axes or bits."""

import numpy as np
import onnx
import pytest
from support.small_models import build, cnn_nhwc, node

from onnxattr import metrics
from onnxattr.attributions import GradientInput

IMAGES = cnn_nhwc()
PICTURES, CLASSES = IMAGES.given, np.array([1, 4, 0])
SIGNED = np.random.default_rng(10).normal(size=PICTURES.shape).astype(np.float32)


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


def series(steps, axis, channels=2):
    """A convolution along time; the graph takes (N, T, C) with channels at axis 2, (N, C, T) at axis 1."""
    generator = np.random.default_rng(3)
    w, v = generator.normal(size=(4, channels, 5)), generator.normal(size=(4, 3))
    nodes = [
        node("Conv", "tw", "c"),
        node("Tanh", "c", "a"),
        node("ReduceMean", "a", "p", axes=[2], keepdims=0),
    ]
    turn = node("Transpose", "x", "t", perm=[0, 2, 1]) if axis == 2 else node("Identity", "x", "t")
    weights = {"w": w.astype(np.float32), "v": v.astype(np.float32)}
    shape = ["N", steps, channels] if axis == 2 else ["N", channels, steps]
    return build([turn, *nodes, node("MatMul", "pv", "y")], {"x": shape}, {"y": ["N", 3]}, weights, opset=17)


@pytest.mark.parametrize("grid", [4, None])
@pytest.mark.parametrize("name", ["MuFidelity", "Infidelity"])
def test_series_are_cut_along_time_in_either_layout(name, grid):
    x, maps = np.random.default_rng(4).normal(size=(2, 3, 20, 2)).astype(np.float32)
    options = {"grid_size": grid, "nb_samples": 40}
    last = getattr(metrics, name)(series(20, 2), x, [0, 1, 2], **options)
    turned = [np.ascontiguousarray(a.transpose(0, 2, 1)) for a in (x, maps)]
    first = getattr(metrics, name)(series(20, 1), turned[0], [0, 1, 2], **options)
    np.testing.assert_allclose(first.of_samples(turned[1]), last.of_samples(maps), rtol=1e-4, atol=1e-5)


def test_inner_values_of_series_are_cut_along_time():
    x = np.random.default_rng(4).normal(size=(3, 2, 20)).astype(np.float32)
    inner = metrics.MuFidelity(series(20, 1), x, [0, 1, 2], wrt="a", grid_size=4, nb_samples=20)
    kept = inner._subsets.keeps(np.zeros(20, int), np.arange(20))
    assert kept.shape == (20, 4, 16)
    np.testing.assert_array_equal(kept, np.repeat(kept[:, :, ::4], 4, axis=2))


@pytest.mark.parametrize("name", ["MuFidelity", "Infidelity"])
def test_volumes_are_cut_along_space_in_either_layout(name):
    x, maps = np.random.default_rng(4).normal(size=(2, 3, 2, 4, 5, 6)).astype(np.float32)
    weights = {"w": x[:3, :, :2, :2, :2], "v": x[0, 0, :3, :3, 0]}
    tail = [
        node("Conv", "tw", "c"),
        node("Tanh", "c", "a"),
        node("ReduceMean", "a", "p", axes=[2, 3, 4], keepdims=0),
        node("MatMul", "pv", "y"),
    ]
    heads = {
        (2, 4, 5, 6): node("Identity", "x", "t"),
        (4, 5, 6, 2): node("Transpose", "x", "t", perm=[0, 4, 1, 2, 3]),
    }
    found = []
    for shape, head in heads.items():
        model = build([head, *tail], {"x": ["N", *shape]}, {"y": ["N", 3]}, weights, opset=17)
        turned = [a if shape[0] == 2 else np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (x, maps)]
        metric = getattr(metrics, name)(model, turned[0], [0, 1, 2], grid_size=3, nb_samples=40)
        found.append(metric.of_samples(turned[1]))
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-5)


def test_maps_of_images_without_channels():
    """Class activation maps have a channel axis that such images have not."""
    x, maps = np.random.default_rng(5).normal(size=(2, 3, 6, 7)).astype(np.float32)
    flat = [node("Flatten", "x", "f"), node("Gemm", "fv", "y")]
    model = build(flat, {"x": ["N", 6, 7]}, {"y": ["N", 2]}, {"v": maps[:2].reshape(2, -1).T.copy()})
    metric = metrics.Deletion(model, x, [0, 1, 1])
    np.testing.assert_array_equal(metric.of_samples(maps[..., None]), metric.of_samples(maps))


@pytest.mark.parametrize("axis", [1, 2])
def test_maps_of_series_lack_channels(axis):
    """Also where there are as many channels as steps."""
    x, maps = np.random.default_rng(4).normal(size=(2, 3, 6, 6)).astype(np.float32)
    metric = metrics.Deletion(series(6, axis, channels=6), x, [0, 1, 2])
    reduced = maps.mean(axis=axis, keepdims=True)
    expected = metric.of_samples(reduced)
    assert (np.abs(expected - metric.of_samples(np.swapaxes(reduced, 1, 2))) > 1e-3).any()
    np.testing.assert_array_equal(metric.of_samples(reduced.squeeze(axis)), expected)


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e4])
@pytest.mark.parametrize("name", ["Deletion", "AverageGainMetric"])
def test_half_precision_maps_are_the_numbers_that_they_hold(name, scale):
    """Means over channels in half precision made ties, and rounded small maps coarsely."""
    maps = (scale * np.random.default_rng(6).normal(size=PICTURES.shape)).astype(np.float16)
    options = {"steps": -1} if name == "Deletion" else {"activation": "softmax"}
    metric = getattr(metrics, name)(IMAGES.model, PICTURES, CLASSES, **options)
    np.testing.assert_array_equal(metric.of_samples(maps), metric.of_samples(maps.astype(np.float32)))


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
