"""The steps of a fitted scikit-learn estimator and the numbers that each should give for some rows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnxattr.errors import ConversionError

_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": lambda x: x,
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
}


# Where estimators hold the one whose numbers they pass on.
_PASSED_ON = {
    "FixedThresholdClassifier": ("estimator_", "estimator"),
    "FrozenEstimator": ("estimator",),
    "SelfTrainingClassifier": ("estimator_",),
    "TunedThresholdClassifierCV": ("estimator_",),
}


@dataclass(frozen=True)
class Linear:
    """Scores x w + b of rows x.

    Attributes:
        weights: (features, scores).
        bias: (scores,).
    """

    weights: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True)
class Step:
    """One step of an estimator, or one layer inside a step.

    Attributes:
        path: Names of the pipelines' steps, joined by "/".
        index: Position among the steps of the whole estimator; None for what is inside a step.
        class_name: Class of the step; "Hidden" and "Scores" for the layers inside one.
        expected: What it gives for the rows, two-dimensional.
        before: Path of the step that it takes its input from; empty for the estimator's own input.
        relu: Whether it ends in a ReLU.
        linear: What computes it from its input, where that may be part of one operator.
    """

    path: str
    index: int | None
    class_name: str
    expected: np.ndarray = field(repr=False)
    before: str
    relu: bool = False
    linear: Linear | None = None


def steps_of(estimator: Any, rows: np.ndarray) -> list[Step]:
    """The steps of an estimator in the order of computation, inner ones before those they are part of.

    An estimator that is no pipeline counts as a pipeline of itself, named as `make_pipeline` names it.

    Args:
        estimator: Fitted.
        rows: (n, features) as it takes them.

    Raises:
        ConversionError: The estimator does not take the rows, or neither predicts nor transforms.
    """
    try:
        return list(_steps(estimator, rows, "", "", predicts=True))
    except ValueError as error:
        raise ConversionError(
            f"{type(estimator).__name__} does not take the sample: {error} Give rows as it was fitted on."
        ) from error


def chosen(estimator: Any) -> Any:
    """The estimator that a search has chosen and fitted, or whose numbers another one passes on; any other itself."""
    while True:
        names = ("best_estimator_", *_PASSED_ON.get(type(estimator).__name__, ()))
        inner = next((getattr(estimator, name) for name in names if hasattr(estimator, name)), None)
        if inner is None:
            return estimator
        estimator = inner


def chosen_last(estimator: Any) -> Any:
    """The last step of a pipeline, of pipelines and searches inside it too; another estimator itself."""
    from sklearn.pipeline import Pipeline

    last = chosen(estimator)
    while isinstance(last, Pipeline):
        last = chosen(last.steps[-1][1])
    return last


def _steps(estimator: Any, x: np.ndarray, prefix: str, before: str, predicts: bool) -> Iterator[Step]:
    """The steps of a pipeline; `prefix` is its own path with a slash.

    All but the last transform; whether the last predicts, if it can do both, is up to where the pipeline stands.
    """
    from sklearn.pipeline import Pipeline

    estimator = chosen(estimator)
    named = estimator.steps if isinstance(estimator, Pipeline) else [(_name(estimator), estimator)]
    for position, (name, part) in enumerate(named):
        if part in (None, "passthrough"):
            continue
        path, index = prefix + name, None if prefix else position
        last = predicts and position == len(named) - 1
        yield from _inside(chosen(part), x, path, before, last)
        result = _numbers(chosen(part), x, last)
        yield Step(path, index, type(chosen(part)).__name__, result, before)
        x, before = result, path


def _inside(part: Any, x: np.ndarray, path: str, before: str, predicts: bool) -> Iterator[Step]:
    """What is inside a step: the steps of a pipeline or union, the layers of a network, the scores of a classifier."""
    from sklearn.compose import ColumnTransformer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import FeatureUnion, Pipeline

    if isinstance(part, Pipeline):
        yield from _steps(part, x, f"{path}/", before, predicts)
    elif isinstance(part, FeatureUnion):
        for name, branch in part.transformer_list:
            yield from _branch(name, branch, x, path, before)
    elif isinstance(part, ColumnTransformer):
        for name, branch, columns in part.transformers_:
            if not hasattr(x, "columns"):
                yield from _branch(name, branch, x[:, columns], path, before)
            elif (names := _names(columns, part, x)) is not None:
                yield from _branch(name, branch, x[names], path, before)
    elif isinstance(part, (MLPClassifier, MLPRegressor)):
        yield from _layers_of_network(part, x, path, before)
    elif predicts:
        yield from _scores_of_linear_model(part, x, path, before)


def _names(columns: Any, part: Any, table: Any) -> list[str] | None:
    """The names of the columns that a ColumnTransformer gives a branch, which takes a table; None of one column."""
    from .simplified import columns_by_name

    names = columns_by_name(columns, getattr(part, "feature_names_in_", np.array(table.columns)))
    return None if isinstance(names, str) else list(names)


def _branch(name: str, branch: Any, x: np.ndarray, path: str, before: str) -> Iterator[Step]:
    """A transformer of a union: it and what is inside it."""
    if isinstance(branch, str) or branch is None or x.shape[1] == 0:  # "drop", "passthrough"
        return
    own = f"{path}/{name}"
    yield from _inside(branch, x, own, before, predicts=False)
    yield Step(own, None, type(branch).__name__, _numbers(branch, x, predicts=False), before)


def _layers_of_network(network: Any, x: np.ndarray, path: str, before: str) -> Iterator[Step]:
    x = x.astype(np.float64)
    last = len(network.coefs_) - 1
    for number, (weights, bias) in enumerate(zip(network.coefs_, network.intercepts_, strict=True)):
        x = x @ weights + bias
        if number < last:
            x = _ACTIVATIONS[network.activation](x)
            yield Step(
                f"{path}/hidden{number + 1}", None, "Hidden", x, before, relu=network.activation == "relu"
            )
    if hasattr(network, "predict_proba"):
        yield Step(f"{path}/logits", None, "Scores", x, before)


def _scores_of_linear_model(part: Any, x: np.ndarray, path: str, before: str) -> Iterator[Step]:
    """The decision function of a linear classifier: its scores before they are made probabilities."""
    if not (hasattr(part, "decision_function") and hasattr(part, "coef_") and hasattr(part, "intercept_")):
        return
    scores = _rows_of(part.decision_function(x), len(x))
    weights = np.atleast_2d(np.asarray(part.coef_, np.float64)).T
    bias = np.broadcast_to(np.asarray(part.intercept_, np.float64), weights.shape[1:])
    name = "logits" if hasattr(part, "predict_proba") else "decision_function"
    linear = Linear(weights, bias) if weights.shape == (x.shape[1], scores.shape[1]) else None
    yield Step(f"{path}/{name}", None, "Scores", scores, before, linear=linear)


def _numbers(part: Any, x: np.ndarray, predicts: bool) -> np.ndarray:
    """What the converted form of an estimator gives for rows: probabilities, scores, predictions or features.

    Clusters are told by the distances from their centres, which have a gradient; their labels have none.
    """
    from sklearn.base import is_clusterer

    methods = ("predict_proba", "decision_function", "predict", "transform")
    for method in methods if predicts and not is_clusterer(part) else reversed(methods):
        if hasattr(part, method):
            return _rows_of(getattr(part, method)(x), len(x))
    raise ConversionError(f"{type(part).__name__} neither predicts nor transforms; give a fitted estimator.")


def _rows_of(result: Any, count: int) -> np.ndarray:
    """A result as rows, `count` of them: SparsePCA gives those of one row as one axis."""
    return np.asarray(result.toarray() if hasattr(result, "toarray") else result).reshape(count, -1)


def _name(estimator: Any) -> str:
    return type(estimator).__name__.lower()
