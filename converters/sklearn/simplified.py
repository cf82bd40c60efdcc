"""A copy of an estimator in the form that skl2onnx takes, where settings that change no number keep it from that."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from .names import parts_of


def simplified(estimator: Any) -> Any:
    """An estimator that gives the same numbers, without what skl2onnx refuses; itself if there is nothing of it.

    Steps of pipelines that pass everything on are left out. Votes have an array of weights, one for each estimator that
    votes, and are not flattened: that concerns only their transform. Columns are chosen by position.
    """
    if not any(_changed(part) for part in parts_of(estimator)):
        return estimator
    copied = copy.deepcopy(estimator)
    for part in parts_of(copied):
        vars(part).update(_changed(part))
    return copied


def _changed(part: Any) -> dict[str, Any]:
    """The attributes of an estimator that are to be others."""
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import VotingClassifier, VotingRegressor
    from sklearn.pipeline import Pipeline

    if isinstance(part, Pipeline):
        steps = [step for step in part.steps if step[1] not in (None, "passthrough")]
        return {"steps": steps} if 0 < len(steps) < len(part.steps) else {}
    if isinstance(part, (VotingClassifier, VotingRegressor)):
        found: dict[str, Any] = {}
        if getattr(part, "flatten_transform", False):
            found["flatten_transform"] = False
        if part.weights is not None and not isinstance(part.weights, np.ndarray):
            found["weights"] = np.array(part._weights_not_none)
        return found
    if isinstance(part, ColumnTransformer) and hasattr(part, "transformers_"):
        count = part.n_features_in_
        chosen = [(name, step, _positions(columns, count)) for name, step, columns in part.transformers_]
        if any(new is not old[2] for (_, _, new), old in zip(chosen, part.transformers_, strict=True)):
            places = {name: columns for name, _, columns in chosen}
            given = [(name, step, places.get(name, old)) for name, step, old in part.transformers]
            return {"transformers_": chosen, "transformers": given}
    return {}


def _positions(columns: Any, count: int) -> Any:
    """Columns that are masked, counted from the end or sliced, by position; others as they are."""
    if isinstance(columns, slice):
        if isinstance(columns.start, str) or isinstance(columns.stop, str):
            return columns
        return list(range(count)[columns])
    if isinstance(columns, str) or not isinstance(columns, (Sequence, np.ndarray)):
        return columns
    array = np.asarray(columns)
    if array.dtype == bool or (array.dtype.kind == "i" and (array < 0).any()):
        return [int(place) for place in np.arange(count)[array]]
    return columns
