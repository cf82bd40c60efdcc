"""A copy of an estimator in the form that skl2onnx takes, where settings that change no number keep it from that."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from .names import parts_of
from .steps import chosen


def simplified(estimator: Any) -> Any:
    """An estimator that gives the same numbers, without what skl2onnx refuses; itself if there is nothing of it.

    Steps of pipelines that pass everything on are left out. Encoders that refuse unknown categories give NaN for them,
    not the number of a category. Votes have an array of weights, one for each estimator that votes, and are not
    flattened: that concerns only their transform. Columns are chosen by position. What passes on the numbers of another
    estimator is left out, and a selector that predicts is two steps.
    """
    copied = _predicting(_inner(copy.deepcopy(estimator)))
    for part in parts_of(copied):
        vars(part).update({name: _inner(value) for name, value in vars(part).items()})
        vars(part).update(_changed(part))
    return copied


def _inner(value: Any) -> Any:
    """An estimator without those around it that pass its numbers on; in lists and tuples too."""
    if type(value) in (list, tuple):
        return type(value)(_inner(one) for one in value)
    return chosen(value) if hasattr(value, "get_params") and not isinstance(value, type) else value


def _predicting(estimator: Any) -> Any:
    """An estimator whose last step, if that selects features and predicts with them, is written as two."""
    from sklearn.feature_selection import RFE
    from sklearn.pipeline import Pipeline

    if isinstance(estimator, RFE):
        return Pipeline([("selected", estimator), ("predicted", _inner(estimator.estimator_))])
    if isinstance(estimator, Pipeline):
        name, last = estimator.steps[-1]
        estimator.steps[-1] = (name, _predicting(_inner(last)))
    return estimator


def encoders_apart(estimator: Any) -> Any:
    """A simplified copy of an estimator whose ColumnTransformers have one encoder for each encoded column.

    What a column is encoded as is then one value of the graph, which explains it. Columns are chosen by name where they
    have some: a table may leave out those that nothing reads, or have another order.
    """
    copied = copy.deepcopy(simplified(estimator))
    table = getattr(estimator, "feature_names_in_", np.empty(0))
    for part in parts_of(copied):
        if not hasattr(part, "transformers_"):
            continue
        # Behind another step the features have names in scikit-learn alone.
        names = table if np.array_equal(getattr(part, "feature_names_in_", ()), table) else table[:0]
        chosen: list[tuple[str, Any, Any]] = []
        for name, step, columns in part.transformers_:
            columns = _named(columns, names)
            own = [] if isinstance(columns, str) else _one_by_one(step)
            named = zip(own, np.asarray(columns).tolist(), strict=True) if own else []
            chosen += [(f"{name}_{column}", one, [column]) for one, column in named] or [
                (name, step, columns)
            ]
        part.transformers_ = part.transformers = chosen
    return copied


def _named(columns: Any, names: np.ndarray) -> Any:
    """Columns by name instead of position, where they have names."""
    places = np.asarray(columns)
    return names[places].tolist() if len(names) and places.dtype.kind in "iu" else columns


def _one_by_one(encoder: Any) -> list[Any]:
    """Fitted encoders of one column each, if one of several columns has one number for each; else none."""
    from sklearn.preprocessing import OrdinalEncoder, TargetEncoder

    count = len(getattr(encoder, "categories_", []))
    several = isinstance(encoder, TargetEncoder) and len(getattr(encoder, "encodings_", [])) != count
    if not isinstance(encoder, (OrdinalEncoder, TargetEncoder)) or count < 2 or several:
        return []
    found = []
    for place in range(count):
        one = copy.copy(encoder)
        one.n_features_in_ = 1
        for name in ("categories_", "encodings_", "feature_names_in_", "_infrequent_indices"):
            if (values := getattr(encoder, name, None)) is not None:
                setattr(one, name, values[place : place + 1])
        if (missing := getattr(encoder, "_missing_indices", None)) is not None:
            one._missing_indices = {0: missing[place]} if place in missing else {}
        found.append(one)
    return found


def _changed(part: Any) -> dict[str, Any]:
    """The attributes of an estimator that are to be others."""
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import VotingClassifier, VotingRegressor
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder

    if isinstance(part, OrdinalEncoder) and part.handle_unknown == "error":
        return {"handle_unknown": "use_encoded_value", "unknown_value": np.nan}
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
        names = list(getattr(part, "feature_names_in_", range(part.n_features_in_)))
        chosen = [(name, step, _positions(columns, names)) for name, step, columns in part.transformers_]
        if any(new is not old[2] for (_, _, new), old in zip(chosen, part.transformers_, strict=True)):
            places = {name: columns for name, _, columns in chosen}
            given = [(name, step, places.get(name, old)) for name, step, old in part.transformers]
            return {"transformers_": chosen, "transformers": given}
    return {}


def _positions(columns: Any, names: list[Any]) -> Any:
    """Columns that are masked, counted from the end or sliced, by position; others as they are."""
    count = len(names)
    if isinstance(columns, slice):
        if not isinstance(columns.start, str) and not isinstance(columns.stop, str):
            return list(range(count)[columns])
        start = 0 if columns.start is None else names.index(columns.start)
        # A slice of names includes the last one.
        stop = count if columns.stop is None else names.index(columns.stop) + 1
        return list(range(start, stop))
    if isinstance(columns, str) or not isinstance(columns, (Sequence, np.ndarray)):
        return columns
    array = np.asarray(columns)
    if array.dtype == bool or (array.dtype.kind == "i" and (array < 0).any()):
        return [int(place) for place in np.arange(count)[array]]
    return columns
