"""What to do with estimators of other packages, for which skl2onnx has no converter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from onnxattr.autodiff.refused import TREES

_ADVICE = {
    **dict.fromkeys(("lightgbm", "xgboost", "catboost"), f"Boosted {TREES}"),
    "imblearn": "Its samplers take no part in predictions: give a Pipeline of scikit-learn with the other fitted "
    "steps, Pipeline([(name, step) for name, step in pipeline.steps if not hasattr(step, 'fit_resample')])",
    "skorch": "It holds a PyTorch module: explain that, estimator.module_, at rows as the steps before it give them, "
    "pipeline[:-1].transform(rows), with sample= these rows as a tensor",
}


def advice(estimator: Any) -> str:
    """What to do instead, by the packages that an estimator and those inside it come from.

    Args:
        estimator: One that skl2onnx could not convert.

    Returns:
        A sentence without its full stop.
    """
    for one in _inside(estimator):
        package = type(one).__module__.partition(".")[0]
        if package in _ADVICE:
            return f"{type(one).__name__} is of {package}. {_ADVICE[package]}"
    return "Fit the estimator first, and use steps that skl2onnx supports"


def _inside(estimator: Any) -> Iterator[Any]:
    """An estimator and the parameters of it and of those inside, the estimators among them."""
    yield estimator
    try:
        yield from estimator.get_params(deep=True).values()
    except Exception:  # of another package, whatever it raises
        return
