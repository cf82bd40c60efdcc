"""Names of features: those of an estimator that was fitted on a table, which its columns are matched with."""

import copy
from typing import Any

import numpy as np

from onnxattr.errors import ConversionError, ShapeError
from onnxattr.running.given.frames import columns_of, is_frame, matched


def feature_names(estimator: Any, sample: Any) -> list[str] | None:
    """The names of an estimator's features, else those of the sample's columns; None where neither has any."""
    fitted = getattr(estimator, "feature_names_in_", None)
    names = list(fitted) if fitted is not None else columns_of(sample) if is_frame(sample) else []
    return [str(name) for name in names] if names and all(isinstance(name, str) for name in names) else None


def numbers_of(sample: Any, names: list[str] | None) -> Any:
    """The columns of a sample in the order of the names; a sample that is no table as it is.

    Raises:
        ConversionError: The columns are others, or hold more than numbers.
    """
    if names is None or not is_frame(sample):
        return sample
    try:
        return np.stack(list(matched(sample, names, "The sample").values()), axis=1)
    except ShapeError as error:
        raise ConversionError(str(error)) from error


def by_position(estimator: Any) -> Any:
    """A copy of an estimator that takes arrays: its ColumnTransformers choose columns by position, not by name."""
    if not any(hasattr(part, "feature_names_in_") for part in parts_of(estimator)):
        return estimator
    copied = copy.deepcopy(estimator)
    for part in parts_of(copied):
        names = getattr(part, "feature_names_in_", None)
        if names is None:
            continue
        places = {name: place for place, name in enumerate(names)}
        if hasattr(part, "transformers_"):
            chosen = {name: _places(columns, places) for name, _, columns in part.transformers_}
            part.transformers_ = [(name, step, chosen[name]) for name, step, _ in part.transformers_]
            part.transformers = [
                (name, step, chosen.get(name, _places(c, places))) for name, step, c in part.transformers
            ]
        if "feature_names_in_" in vars(part):
            del part.feature_names_in_
    return copied


def _places(columns: Any, places: dict[str, int]) -> Any:
    if isinstance(columns, str):
        return places.get(columns, columns)
    if isinstance(columns, (list, tuple, np.ndarray)) and all(isinstance(name, str) for name in columns):
        return [places[name] for name in columns]
    return columns


def parts_of(estimator: Any) -> list[Any]:
    """An estimator and those inside it."""
    found, waiting, seen = [], [estimator], set()
    while waiting:
        part = waiting.pop()
        # The classifiers of CalibratedClassifierCV are no estimators, and hold one.
        inside = (
            hasattr(part, "get_params") or hasattr(part, "calibrators") or isinstance(part, (list, tuple))
        )
        if id(part) in seen or not inside:
            continue
        seen.add(id(part))
        if isinstance(part, (list, tuple)):
            waiting += part
            continue
        found.append(part)
        waiting += list(vars(part).values())
    return found
