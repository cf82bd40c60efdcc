"""Scalers of features that are large beside their spread, which lose it in float32; norms of the largest magnitude."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np

from .writing import Writer

# Rounding in float32 in parts of a scaled feature, from which on the scaling is computed in float64.
_ROUNDING = 1e-5


@contextlib.contextmanager
def in_doubles() -> Iterator[None]:
    """Inside the `with` block skl2onnx scales features that are large beside their spread in float64.

    It writes scalers as they are otherwise, and normalizers that divide by the largest value, not by the largest
    magnitude.
    """
    import skl2onnx.common._registration as registration

    pool = registration._converter_pool
    changed = {
        name: type(entry)(_scaled(entry._fct), entry.get_allowed_options())
        for name in ("SklearnScaler", "SklearnRobustScaler", "SklearnMinMaxScaler")
        for entry in [pool[name]]
    }
    normalizer = pool["SklearnNormalizer"]
    changed["SklearnNormalizer"] = type(normalizer)(
        _normalized(normalizer._fct), normalizer.get_allowed_options()
    )
    with mock.patch.dict(pool, changed):
        yield


def _scaled(write: Callable[..., None]) -> Callable[..., None]:
    def convert(scope: Any, operator: Any, container: Any) -> None:
        scaler = operator.raw_operator
        origin, factor, start = _affine(scaler)
        if not (np.abs(origin * factor) * np.finfo(np.float32).eps > _ROUNDING).any():
            write(scope, operator, container)
            return
        op = Writer(scope, operator, container)
        doubles = op.in_doubles()
        y = doubles("Mul", doubles("Sub", doubles.x, origin), factor)
        y = doubles("Add", y, start) if start is not None else y
        if getattr(scaler, "clip", False):
            low, high = scaler.feature_range
            y = doubles("Min", doubles("Max", y, float(low)), float(high))
        op.finish(y)

    return convert


def _affine(scaler: Any) -> tuple[np.ndarray, np.ndarray, float | None]:
    """The three numbers of y = (x - origin) factor + start for each feature; no start is 0."""
    one = np.ones(scaler.n_features_in_)
    if hasattr(scaler, "data_min_"):
        return scaler.data_min_ * one, scaler.scale_ * one, float(scaler.feature_range[0])
    centre = scaler.center_ if hasattr(scaler, "center_") else getattr(scaler, "mean_", None)
    centred = getattr(scaler, "with_mean", getattr(scaler, "with_centering", False))
    origin = centre if centred and centre is not None else 0.0
    scale = getattr(scaler, "scale_", None)
    return origin * one, one / (1.0 if scale is None else scale), None


def _normalized(write: Callable[..., None]) -> Callable[..., None]:
    def convert(scope: Any, operator: Any, container: Any) -> None:
        if operator.raw_operator.norm != "max":
            write(scope, operator, container)
            return
        op = Writer(scope, operator, container)
        sizes = op("Abs", op.x)
        if container.target_opset < 18:
            largest = op("ReduceMax", sizes, axes=[1], op_version=13)
        else:
            largest = op("ReduceMax", sizes, np.array([1]), op_version=18)
        norm = op("Where", op("Equal", largest, 0.0), 1.0, largest)
        op.finish(op("Div", op.x, norm))

    return convert
