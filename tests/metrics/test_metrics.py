"""Metrics whose numbers are known: closed forms on a linear model, and Captum's."""

import json
import warnings

import numpy as np
import pytest
from golden import captum_metrics as captum
from support.linear_score import ABOVE, LINEAR, ONES, PARTS, W, X, gradient
from support.small_models import build, node

from onnxattr import metrics
from onnxattr.attributions import GradientInput
from onnxattr.metrics.similarity import ranks, spearman


def falling(parts):
    """Sums of the largest 0, 1, 2, ... parts of each row."""
    ordered = np.sort(parts.astype(np.float64), axis=1)[:, ::-1]
    return np.concatenate([np.zeros((len(parts), 1)), np.cumsum(ordered, axis=1)], axis=1)


def area(curves):
    return (curves[:, 1:] + curves[:, :-1]).mean(axis=1) / 2


NEIGHBOURS = np.random.default_rng(9).uniform(0, 0.3, (5, 6)).astype(np.float32)
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
    "sparseness, zeros": (metrics.Sparseness, np.zeros((4, 6)), np.zeros(4)),
    "sparseness, of hardly anything": (metrics.Sparseness, 1e-30 * np.eye(4, 6), np.full(4, 1 - 1 / 6)),
    "complexity, zeros": (metrics.Complexity, np.zeros((4, 6)), np.full(4, np.log(6))),
    "complexity, of hardly anything": (metrics.Complexity, np.full((4, 6), 1e-30), np.full(4, np.log(6))),
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


def test_ranks():
    values = np.array([[30.0, 10, 20, 20, 10], [1, 1, 1, 1, 1]])
    np.testing.assert_array_equal(ranks(values), [[4, 0.5, 2.5, 2.5, 0.5], [2] * 5])
    np.testing.assert_allclose(spearman(values, -values), [-1, 0])


def test_more_steps_than_features_are_one_each():
    with pytest.warns(UserWarning, match="steps=50, and there are 6 features"):
        many = metrics.Deletion(LINEAR, X, ONES, steps=50)(PARTS)
    assert many == metrics.Deletion(LINEAR, X, ONES, steps=-1)(PARTS)


def test_nothing_drawn_anew_is_said():
    metric = metrics.ModelRandomizationMetric(LINEAR, X, ONES)
    with pytest.warns(UserWarning, match="None of the 1 layers"):
        assert metric(gradient(LINEAR)) == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["AverageDropMetric", "AverageIncreaseMetric", "AverageGainMetric"])
@pytest.mark.parametrize("scale", [1e-10, 1e-30])
def test_masks_do_not_depend_on_the_scale_of_maps(name, scale):
    metric = getattr(metrics, name)(LINEAR, X, ONES, activation="sigmoid")
    maps = np.abs(PARTS)
    np.testing.assert_allclose(metric.of_samples(scale * maps), metric.of_samples(maps), rtol=1e-5)


@pytest.mark.parametrize(("name", "score"), [("AverageDropMetric", 0), ("AverageGainMetric", 1 + 2**-22)])
def test_rounded_probabilities_are_probabilities(name, score):
    """A softmax may underflow to 0, and a mean of ones be a little above 1."""
    flat = build(
        [node("Mul", ["x", "zero"], ["z"]), node("ReduceMean", ["z"], ["m"], axes=[1]), node("Add", ["m", "p"], ["y"])],
        {"x": ["N", 6]}, {"y": ["N", 1]}, {"zero": np.float32(0), "p": np.float32(score)}, opset=13,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert getattr(metrics, name)(flat, X, ONES)(X) == 0


@pytest.mark.parametrize(
    ("name", "sign", "said"), [("AverageDropMetric", -1, "0 or below"), ("AverageGainMetric", 1, "above 1")]
)
def test_scores_that_are_no_probabilities_are_said(name, sign, said):
    inputs = sign * 3 * np.sign(W).T.repeat(4, axis=0)
    metric = getattr(metrics, name)(LINEAR, inputs, ONES)
    with pytest.warns(
        UserWarning, match=f"{name} divides by scores as by probabilities: 4 of 4 are {said}"
    ) as found:
        metric(inputs)
    assert found[0].filename == __file__
