"""Parts of an estimator that change in steps, whose effect gradients do not show beside parts that have one."""

from typing import Any

import numpy as np
import onnx

from .names import parts_of

_NEIGHBOURS = "fit it with weights='distance'"
_BINS = "use a SplineTransformer, or the column itself"
_STEPS = frozenset(("Ceil", "Floor", "Round"))
_OF_CLASSES = {
    "AdaBoostClassifier": "it counts the classes that its members predict; leave it out, or use another classifier",
    "Binarizer": _BINS,
    "KBinsDiscretizer": _BINS,
}


def stepped_parts(estimator: Any, graph: onnx.GraphProto, by_scores: set[int]) -> dict[str, str]:
    """By the class of each part of an estimator that changes in steps, what to use instead.

    Args:
        estimator: Fitted.
        graph: What it was converted to.
        by_scores: The ids of those parts that the scores are read of, though they may have probabilities.
    """
    parts = parts_of(estimator)
    # Those of targets are inverted behind the prediction, where quantiles that are one number make no step.
    of_targets = {id(getattr(part, "transformer_", None)) for part in parts}
    parts = [part for part in parts if id(part) not in of_targets]
    found = [(type(part).__name__, _instead(part, graph, by_scores)) for part in parts]
    return {name: said for name, said in found if said}


def _instead(part: Any, graph: onnx.GraphProto, by_scores: set[int]) -> str:
    name, classes = type(part).__name__, int(np.size(getattr(part, "classes_", ())))
    if name in ("KNeighborsClassifier", "KNeighborsRegressor"):
        return "" if part.weights == "distance" else _NEIGHBOURS
    if name == "BernoulliNB":
        return "" if part.binarize is None else "fit a GaussianNB"
    if name in ("SVC", "NuSVC") and classes > 2 and part.decision_function_shape == "ovr":
        voted = not part.probability or id(part) in by_scores
        return "its scores count votes of pairs of classes; fit it with decision_function_shape='ovo'" * voted
    if name == "OneVsOneClassifier" and classes > 2:
        return "its scores count votes of pairs of classes; use OneVsRestClassifier"
    if name == "QuantileTransformer" and hasattr(part, "quantiles_"):
        repeated = bool((np.diff(part.quantiles_, axis=0) == 0).any())
        return "it jumps where several quantiles are one number; use a PowerTransformer" * repeated
    if name == "FunctionTransformer" and any(node.op_type in _STEPS for node in graph.node):
        return "leave out its roundings"
    return _OF_CLASSES.get(name, "")
