"""Labels of classifiers that skl2onnx writes otherwise: by a threshold, and those of which several go together."""

from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from onnxattr.errors import ConversionError

from .steps import chosen

_THRESHOLDS = "FixedThresholdClassifier", "TunedThresholdClassifierCV"


def write_labels(graph: onnx.GraphProto, estimator: Any) -> None:
    """Write the labels of classifiers with a threshold, and of linear classifiers of labels that go together.

    Those of some others lie along another axis, or are those of the largest scores.

    Raises:
        ConversionError: A support vector machine breaks ties by scores that the model does not have.
    """
    from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
    from sklearn.linear_model import RidgeClassifier, RidgeClassifierCV
    from sklearn.multiclass import OneVsOneClassifier

    last = _deciding(estimator)
    if len(graph.output) < 2:
        return
    if isinstance(last, (RidgeClassifier, RidgeClassifierCV)):
        if last._label_binarizer.y_type_.startswith("multilabel"):
            positive = _node(graph, "Greater", graph.output[-1].name, np.zeros(1, np.float32))
            _give_labels(graph, "Cast", positive, to=onnx.TensorProto.INT64)
            graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    elif getattr(last, "break_ties", False) and len(last.classes_) > 2:
        if last.probability:
            raise ConversionError(
                f"{type(last).__name__}(break_ties=True, probability=True) predicts by scores that the converted model "
                "does not have beside its probabilities. Fit it with break_ties=False, or without probabilities."
            )
        largest = _node(graph, "ArgMax", graph.output[-1].name, axis=1, keepdims=0)
        _give_labels(graph, "Gather", _written(last.classes_), largest)
    elif isinstance(last, QuadraticDiscriminantAnalysis):
        _give_labels(graph, "Reshape", f"{graph.output[0].name}_before", np.array([-1]))
    elif isinstance(last, OneVsOneClassifier):  # skl2onnx makes numbers of names too
        largest = _node(graph, "ArgMax", graph.output[-1].name, axis=1, keepdims=0)
        _give_labels(graph, "Gather", _written(last.classes_), largest)
    elif members := _linear_members(last):
        largest = _node(graph, "ArgMax", _linear_scores(graph, members), axis=1, keepdims=0)
        _give_labels(graph, "Gather", _written(last.classes_), largest)
    elif type(last).__name__ in _THRESHOLDS:
        threshold = getattr(last, "best_threshold_", getattr(last, "threshold", None))
        has_probabilities = hasattr(last, "predict_proba")
        if threshold == "auto":
            threshold = 0.5 if has_probabilities else 0.0
        classes = np.asarray(last.classes_)
        wanted = last._curve_scorer._get_pos_label() if hasattr(last, "_curve_scorer") else last.pos_label
        place = 1 if wanted is None else int(np.flatnonzero(classes == wanted)[0])
        column = _node(
            graph, "Gather", graph.output[-1].name, np.array([place if has_probabilities else -1]), axis=1
        )
        if not has_probabilities and place == 0:
            column = _node(graph, "Neg", column)
        below = _node(graph, "Less", _node(graph, "Squeeze", column, np.array([1])), np.float32(threshold))
        classes = _written(classes)
        _give_labels(graph, "Where", below, classes[[1 - place]], classes[[place]])


def _linear_members(last: Any) -> list[Any]:
    """What decides among three and more classes by x w + b, where probabilities may saturate or are clipped."""
    from sklearn.linear_model import SGDClassifier
    from sklearn.multiclass import OneVsRestClassifier

    if isinstance(last, OneVsRestClassifier) and not last.multilabel_:
        members = list(last.estimators_)
    else:
        members = [last] if isinstance(last, SGDClassifier) else []
    known = members and all(hasattr(one, "coef_") and hasattr(one, "predict_proba") for one in members)
    return members if known and len(last.classes_) > 2 else []


def _linear_scores(graph: onnx.GraphProto, members: list[Any]) -> str:
    """The scores x w + b of the members of a last step."""
    products = [node for node in graph.node if node.op_type in ("LinearClassifier", "MatMul")]
    weights = np.concatenate([one.coef_ for one in members]).T.astype(np.float32)
    bias = np.concatenate([np.atleast_1d(one.intercept_) for one in members]).astype(np.float32)
    return _node(graph, "Add", _node(graph, "MatMul", products[-1].input[0], weights), bias)


def _written(classes: Any) -> np.ndarray:
    """Classes as skl2onnx writes them: numbers as integers, floats too."""
    array = np.asarray(classes)
    return array.astype(np.int64) if array.dtype.kind in "biuf" else array


def _deciding(estimator: Any) -> Any:
    """The last step of a pipeline or search, thresholds included."""
    from sklearn.pipeline import Pipeline

    while True:
        if isinstance(estimator, Pipeline):
            estimator = estimator.steps[-1][1]
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        else:
            return estimator if type(estimator).__name__ in _THRESHOLDS else chosen(estimator)


def _give_labels(graph: onnx.GraphProto, op_type: str, *inputs: Any, **attributes: Any) -> None:
    """Make a new node give the first output; what gave it before gives a value that nothing reads."""
    name = graph.output[0].name
    for node in graph.node:
        node.output[:] = [f"{one}_before" if one == name else one for one in node.output]
        node.input[:] = [f"{one}_before" if one == name else one for one in node.input]
    _node(graph, op_type, *inputs, result=name, **attributes)


def _node(graph: onnx.GraphProto, op_type: str, *inputs: Any, result: str = "", **attributes: Any) -> str:
    """Add a node at the end; arrays become constants."""
    output = result or f"labels_{len(graph.node)}"
    names = []
    for value in inputs:
        if not isinstance(value, str):
            array = np.asarray(value, object) if np.asarray(value).dtype.kind in "UO" else np.asarray(value)
            value = f"{output}_{len(graph.initializer)}"
            graph.initializer.append(numpy_helper.from_array(array, value))
        names.append(value)
    graph.node.append(onnx.helper.make_node(op_type, names, [output], output, **attributes))
    return output
