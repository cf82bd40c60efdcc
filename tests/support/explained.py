"""What tests of explanations share: methods with few steps, and how maps are compared."""

import numpy as np
import onnx

import onnxattr.attributions as attributions
from support.methods import NEEDED

FEW = {
    "IntegratedGradients": {"steps": 4},
    **{m: {"nb_samples": 3} for m in ("SmoothGrad", "SquareGrad", "VarGrad")},
    **{m: needed | {"nb_samples": 3} for m, needed in NEEDED.items()},
}
LABELS = np.array([2, 0, 1])  # a class for each of three rows


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
    explainer.batch_size = plan._batch_size = batch_size
    for driver in plan._drivers.values():
        driver.chunk = batch_size
    return explainer
