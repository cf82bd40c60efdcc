"""A copy of an estimator in the form that skl2onnx takes, where settings that change no number keep it from that."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from .names import parts_of
from .steps import chosen, chosen_last


def simplified(estimator: Any) -> Any:
    """An estimator that gives the same numbers, without what skl2onnx refuses; itself if there is nothing of it.

    Steps of pipelines that pass everything on are left out. Votes have an array of weights, one for each estimator that
    votes, and are not flattened: that concerns only their transform. Columns are chosen by position. What passes on the
    numbers of another estimator is left out, and a selector that predicts is two steps.
    """
    if not _refused(estimator):
        return estimator
    copied = _predicting(_inner(copy.deepcopy(estimator)))
    for part in parts_of(copied):
        put = _predicting if _predicts(part) else _as_it_is
        vars(part).update({name: put(_inner(value)) for name, value in vars(part).items()})
        vars(part).update(_changed(part))
    return copied


def _refused(estimator: Any) -> bool:
    """Whether there is something of it."""
    from sklearn.feature_selection import RFE

    parts = parts_of(estimator)
    values = [estimator, *(value for part in parts for value in vars(part).values())]
    read = [value for part in parts if _predicts(part) for value in vars(part).values()]
    members = [one for value in read for one in (value if type(value) in (list, tuple) else [value])]
    if any(isinstance(chosen_last(one), RFE) for one in (estimator, *members)):
        return True
    return any(_inner(value) is not value for value in values) or any(_changed(part) for part in parts)


def _predicts(part: Any) -> bool:
    """Whether one computes with what the estimators in its attributes predict."""
    return hasattr(part, "predict") or hasattr(part, "calibrators")


def _as_it_is(value: Any) -> Any:
    return value


def _inner(value: Any) -> Any:
    """An estimator without those around it that pass its numbers on; in lists and tuples too."""
    if type(value) in (list, tuple):
        found = [_inner(one) for one in value]
        same = all(new is old for new, old in zip(found, value, strict=True))
        return value if same else type(value)(found)
    return chosen(value) if hasattr(value, "get_params") and not isinstance(value, type) else value


def _predicting(estimator: Any) -> Any:
    """An estimator whose last step, if that selects features and predicts with them, is written as two.

    In lists too; pairs of a name and a step stay.
    """
    from sklearn.feature_selection import RFE
    from sklearn.pipeline import Pipeline

    if type(estimator) is list:
        return [_predicting(one) for one in estimator]
    if isinstance(estimator, RFE) and hasattr(estimator, "estimator_"):
        return Pipeline([("selected", estimator), ("predicted", _inner(estimator.estimator_))])
    if isinstance(estimator, Pipeline):
        name, last = estimator.steps[-1]
        last = _predicting(_inner(last))
        # In one row: what calibrates a pipeline looks for the scores of its last step.
        estimator.steps[-1:] = last.steps if isinstance(last, Pipeline) else [(name, last)]
    return estimator


def with_named_columns(estimator: Any) -> Any:
    """A simplified copy of an estimator whose ColumnTransformers choose columns by name, where these have some.

    A table may leave out those that nothing reads, or have another order.
    """
    copied = copy.deepcopy(simplified(estimator))
    table = getattr(estimator, "feature_names_in_", np.empty(0))
    for part in parts_of(copied):
        if hasattr(part, "transformers_"):
            # Behind another step the features have names in scikit-learn alone.
            names = table if np.array_equal(getattr(part, "feature_names_in_", ()), table) else table[:0]
            columns_of = [(name, step, _named(columns, names)) for name, step, columns in part.transformers_]
            part.transformers_ = part.transformers = columns_of
    return copied


def _named(columns: Any, names: np.ndarray) -> Any:
    """Columns by name instead of position, where they have names."""
    places = np.asarray(columns)
    return names[places].tolist() if len(names) and places.dtype.kind in "iu" else columns


def columns_by_name(columns: Any, names: np.ndarray) -> Any:
    """Columns of a table, chosen in any way, by name."""
    return _named(_positions(columns, list(names)), names)


def _changed(part: Any) -> dict[str, Any]:
    """The attributes of an estimator that are to be others; skl2onnx takes unsigned classes for texts."""
    classes = vars(part).get("classes_")
    unsigned = isinstance(classes, np.ndarray) and classes.dtype.kind == "u"
    return {**_other_settings(part), **({"classes_": classes.astype(np.int64)} if unsigned else {})}


def _other_settings(part: Any) -> dict[str, Any]:
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import VotingClassifier, VotingRegressor
    from sklearn.linear_model import RidgeClassifier, RidgeClassifierCV
    from sklearn.pipeline import FeatureUnion, Pipeline
    from sklearn.preprocessing import KBinsDiscretizer

    if isinstance(part, KBinsDiscretizer) and part.encode == "onehot":
        return {"encode": "onehot-dense"}
    if isinstance(part, (RidgeClassifier, RidgeClassifierCV)) and hasattr(part, "_label_binarizer"):
        binarizer = copy.copy(part._label_binarizer)
        if binarizer.y_type_.startswith("multilabel") and len(binarizer.classes_) == 2:
            # skl2onnx takes two labels that go together for two classes of one score; labels are written anew.
            binarizer.classes_ = np.arange(3)
            return {"_label_binarizer": binarizer}
    if isinstance(part, Pipeline):
        steps = [step for step in part.steps if step[1] not in (None, "passthrough")]
        steps = [*_transforming(steps[:-1]), *steps[-1:]]
        return {"steps": steps} if steps and steps != part.steps else {}
    if isinstance(part, FeatureUnion):
        steps = _transforming(part.transformer_list)
        return {"transformer_list": steps} if steps != part.transformer_list else {}
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


def _transforming(steps: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Steps that transform, with a projection in the place of a LinearDiscriminantAnalysis.

    skl2onnx writes that as a classifier wherever it stands.
    """
    from sklearn.decomposition import FastICA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    found = []
    for name, step in steps:
        if isinstance(analysis := chosen(step), LinearDiscriminantAnalysis) and hasattr(
            analysis, "scalings_"
        ):
            step = FastICA()
            step.components_ = analysis.scalings_[:, : analysis._max_components].T
            step.n_features_in_ = analysis.n_features_in_
            step.mean_ = getattr(analysis, "xbar_", np.zeros(step.n_features_in_))
        found.append((name, step))
    return found


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
