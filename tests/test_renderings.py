"""The driven rendering at any chunk size and exported files in plain ONNX Runtime give the same attributions."""

from functools import cache

import numpy as np
import onnx
import onnxruntime
import pytest
from support.explained import in_chunks
from support.methods import NEEDED, ON_A_PATH, ON_ANY_MODEL
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
OPTIONS = {
    "IntegratedGradients": {"steps": 6, "baseline_value": -0.25},
    "SmoothGrad": {"nb_samples": 5, "seed": 9},
    "SquareGrad": {"nb_samples": 5, "seed": 9},
    "VarGrad": {"nb_samples": 5, "seed": 9},
    # A seed whose points have no unit of the emotion network at a kink: rounding would decide there.
    **{method: needed | {"nb_samples": 5, "seed": 24} for method, needed in NEEDED.items()},
}
METHODS = ON_ANY_MODEL
LABELS = np.array([1, -1, 0])


def emotion_faces() -> Small:
    face = emotion.preprocess(photos.face())
    faces = np.stack([face, face[:, ::-1], 0.5 * face]).astype(np.float32)
    return Small(onnx.load(emotion.ONNX_FILE), {"input_1": faces}, 7)


def gunpoint_series() -> Small:
    return Small(onnx.load(gunpoint.ONNX_FILE), {"series": gunpoint.data()[2][:3]}, 2)


MODELS = SMALL | {"emotion": emotion_faces, "gunpoint": gunpoint_series}
CUTS = {"emotion": -2, "gunpoint": -2}  # the layer before the softmax


@cache
def small(name) -> Small:
    return MODELS[name]()


def make(name, method, **options):
    options = {"output_layer": CUTS.get(name), "progress": False} | OPTIONS.get(method, {}) | options
    return getattr(attributions, method)(small(name).model, **options)


def plain_run(path, feeds):
    """The outputs of a file by name, from a session that knows nothing of this package."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def exported_run(explainer, feeds, path, rendering="batch"):
    explainer.export(path, rendering)
    feeds = feeds | {"target": LABELS}
    if hasattr(explainer, "nb_samples"):
        feeds["seed"] = np.array(explainer.options.seed)
    return plain_run(path, feeds)


def as_list(maps):
    return maps if isinstance(maps, list) else list(maps.values()) if isinstance(maps, dict) else [maps]


def largest_difference(found, expected):
    """Relative to each map's maximum."""
    pairs = zip(as_list(found), as_list(expected), strict=True)
    return max(float(np.abs(f - e).max() / np.abs(e).max()) for f, e in pairs)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", MODELS)
def test_renderings_agree(name, method, tmp_path):
    case = small(name)
    tolerance = VARIANCE_TOLERANCE if method == "VarGrad" else TOLERANCE
    reference = make(name, method, batch_size=None)
    expected = reference.explain(case.given, LABELS)
    predicted = reference.predict(case.given)
    if method in ON_A_PATH:
        own = reference.convergence_delta(case.given, LABELS)
        size = np.abs(own / reference.relative_gap(case.given, LABELS))
    assert all(np.abs(maps).max() > 0 for maps in as_list(expected))
    assert make(name, method, batch_size=7)._plan.driver.chunk == 7  # what is set anew from here on
    for chunk in CHUNKS:
        maps = in_chunks(reference, chunk).explain(case.given, LABELS)
        assert largest_difference(maps, expected) <= tolerance, f"chunks of {chunk}"
    for rendering, chunk in [("batch", 32), *(("loop", chunk) for chunk in LOOPS if method in OPTIONS)]:
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
