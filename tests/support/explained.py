"""What tests of explanations share: methods with few steps, and how maps are compared."""

import numpy as np
import onnx
import onnxruntime

import onnxattr.attributions as attributions
from support.methods import NEEDED

FEW = {
    "IntegratedGradients": {"steps": 4},
    **{m: {"nb_samples": 3} for m in ("SmoothGrad", "SquareGrad", "VarGrad")},
    **{m: needed | {"nb_samples": 3} for m, needed in NEEDED.items()},
}
LABELS = np.array([2, 0, 1])  # a class for each of three rows
#: More points, so that chunks end within a sample's.
FIVE_DRAWS = {
    "IntegratedGradients": {"steps": 6, "baseline_value": -0.25},
    "SmoothGrad": {"nb_samples": 5, "seed": 9},
    "SquareGrad": {"nb_samples": 5, "seed": 9},
    "VarGrad": {"nb_samples": 5, "seed": 9},
    # A seed whose points have no unit of the emotion network at a kink: rounding would decide there.
    **{method: needed | {"nb_samples": 5, "seed": 24} for method, needed in NEEDED.items()},
}
GIVEN_OR_PREDICTED = np.array([1, -1, 0])  # the class that is predicted for the row in the middle


def make(method: str, model: onnx.ModelProto, **options):
    """The method of that name, with few points or samples."""
    return getattr(attributions, method)(model, **FEW.get(method, {}) | options)


def close(found: np.ndarray, expected: np.ndarray, tolerance=1e-6) -> None:
    """Assert equal shapes, and a difference within the tolerance, relative to the largest expected value."""
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def in_chunks(explainer, batch_size: int | None):
    """The same explainer with another ``batch_size``: its graphs and sessions, which do not depend on it, are kept."""
    plan = explainer._plan
    vars(explainer)["batch_size"] = plan._batch_size = batch_size
    for driver in plan._drivers.values():
        driver.chunk = batch_size
    return explainer


def as_list(maps):
    return maps if isinstance(maps, list) else list(maps.values()) if isinstance(maps, dict) else [maps]


def largest_difference(found, expected):
    """Relative to each map's maximum."""
    pairs = zip(as_list(found), as_list(expected), strict=True)
    return max(float(np.abs(f - e).max() / np.abs(e).max()) for f, e in pairs)


def plain(path):
    """A file as a function of its feeds, in a session that knows nothing of this package; outputs by name."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(names, feeds), strict=True))


def plain_run(path, feeds):
    """The outputs of a file by name, from such a session."""
    return plain(path)(feeds)
