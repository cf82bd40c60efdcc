"""The driven rendering at any chunk size and exported files in plain ONNX Runtime give the same attributions."""

from functools import cache

import numpy as np
import onnx
import pytest
from support.explained import (
    FIVE_DRAWS,
    GIVEN_OR_PREDICTED,
    as_list,
    in_chunks,
    largest_difference,
    plain_run,
)
from support.methods import ON_A_PATH, ON_ANY_MODEL
from support.small_models import SMALL, Small

import onnxattr.attributions as attributions
from models import emotion, gunpoint, photos

# Two of the models end in probabilities, and the emotion model is explained at its logits.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

CHUNKS = (1, 3, 7, 32, None)
LOOPS = (1, 4, 32)
TOLERANCE = 1e-6
# VarGrad squares differences to the gradient at x, so a gradient's rounding counts 2 |g| / sigma times: here five.
VARIANCE_TOLERANCE = 5 * TOLERANCE


def emotion_faces() -> Small:
    face = emotion.preprocess(photos.face())
    faces = np.stack([face, face[:, ::-1], 0.5 * face]).astype(np.float32)
    return Small(onnx.load(emotion.ONNX_FILE), {"input_1": faces}, 7)


def gunpoint_series() -> Small:
    return Small(onnx.load(gunpoint.ONNX_FILE), {"series": gunpoint.data()[2][:3]}, 2)


MODELS = SMALL | {"emotion": emotion_faces, "gunpoint": gunpoint_series}
CUTS = {"emotion": -2, "gunpoint": -2}  # the layer before the softmax
#: All numbers behind an image of zeros are equal, up to rounding: another kernel, another winner of each max pool.
UNEQUAL = (0.05 * np.random.default_rng(0).normal(size=(64, 64, 1))).astype(np.float32)
BASELINES = {("emotion", "IntegratedGradients"): {"baseline_value": UNEQUAL}}


@cache
def small(name) -> Small:
    return MODELS[name]()


def make(name, method, **given):
    options = {"output_layer": CUTS.get(name), "progress": False} | FIVE_DRAWS.get(method, {})
    options |= BASELINES.get((name, method), {}) | given
    return getattr(attributions, method)(small(name).model, **options)


def exported_run(explainer, feeds, path, rendering="batch"):
    explainer.export(path, rendering)
    feeds = feeds | {"target": GIVEN_OR_PREDICTED}
    if hasattr(explainer, "nb_samples"):
        feeds["seed"] = np.array(explainer.options.seed)
    return plain_run(path, feeds)


#: The real network's other methods take as long as all of the small models.
CASES = [
    pytest.param(
        name,
        method,
        marks=[pytest.mark.slow]
        * (name == "emotion" and method not in ("IntegratedGradients", "SquareGrad")),
    )
    for name in MODELS
    for method in ON_ANY_MODEL
]


@pytest.mark.parametrize(("name", "method"), CASES)
def test_renderings_agree(name, method, tmp_path):
    case = small(name)
    tolerance = VARIANCE_TOLERANCE if method == "VarGrad" else TOLERANCE
    reference = make(name, method, batch_size=None)
    expected = reference.explain(case.given, GIVEN_OR_PREDICTED)
    predicted = reference.predict(case.given)
    if method in ON_A_PATH:
        own = reference.convergence_delta(case.given, GIVEN_OR_PREDICTED)
        size = np.abs(own / reference.relative_gap(case.given, GIVEN_OR_PREDICTED))
    assert all(np.abs(maps).max() > 0 for maps in as_list(expected))
    assert make(name, method, batch_size=7)._plan.driver.chunk == 7  # what is set anew from here on
    for chunk in CHUNKS:
        maps = in_chunks(reference, chunk).explain(case.given, GIVEN_OR_PREDICTED)
        assert largest_difference(maps, expected) <= tolerance, f"chunks of {chunk}"
    for rendering, chunk in [("batch", 32), *(("loop", chunk) for chunk in LOOPS if method in FIVE_DRAWS)]:
        explainer = in_chunks(reference, chunk)
        outputs = exported_run(explainer, case.inputs, tmp_path / "explainer.onnx", rendering)
        prediction, delta = outputs.pop("prediction"), outputs.pop("convergence_delta", None)
        gap = outputs.pop("relative_gap", None)
        where = f"{rendering} of {chunk}"
        assert largest_difference(list(outputs.values()), expected) <= tolerance, where
        np.testing.assert_allclose(prediction, predicted, rtol=1e-6, atol=1e-6)
        assert (delta is not None) == (method in ON_A_PATH)
        if delta is not None:
            np.testing.assert_allclose(delta, own, rtol=0, atol=1e-5 * (1 + np.abs(prediction).max()))
            np.testing.assert_allclose(gap * size, np.abs(own), rtol=0, atol=1e-5 * (1 + size.max()))
