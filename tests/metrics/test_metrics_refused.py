"""What metrics refuse, in one sentence and before any work."""

import numpy as np
import pytest
from support.linear_score import LINEAR, ONES, X
from support.small_models import build, node, two_inputs

from onnxattr import metrics
from onnxattr.attributions import Saliency
from onnxattr.errors import ModelError, NonFiniteError, ParameterError, ShapeError

MIXED = build(
    [node("ReduceMean", ["x", "rows"], ["m"], keepdims=1), node("Sub", ["x", "m"], ["y"])],
    {"x": ["N", 6]}, {"y": ["N", 6]}, {"rows": np.array([0])},
)  # fmt: skip
CLASSES = build([node("MatMul", ["x", "w"], ["y"])], {"x": ["N", 6]}, {"y": ["N", 3]}, {"w": X[:3].T})
NAN = np.full((4, 6), np.nan, np.float32)
REFUSED = {
    "NaN map": (NonFiniteError, "sample 0 holds nan", lambda: metrics.Deletion(LINEAR, X, ONES)(NAN)),
    "NaN map, alone": (NonFiniteError, "sample 0", lambda: metrics.Complexity()(NAN)),
    "map of another shape": (
        ShapeError, r"explanations have shape \(4, 5\), the inputs \(4, 6\)",
        lambda: metrics.Deletion(LINEAR, X, ONES)(np.ones((4, 5))),
    ),
    "fewer maps": (ShapeError, "expected one map per input", lambda: metrics.MuFidelity(LINEAR, X, ONES)(X[:3])),
    "maps of two inputs": (
        ShapeError, "several inputs", lambda: metrics.Deletion(LINEAR, X, ONES)({"a": X, "b": X}),
    ),
    "two inputs explained": (
        ModelError, r"wrt=<name>", lambda: metrics.Deletion(two_inputs().model, two_inputs().inputs),
    ),
    "no step": (ParameterError, "steps=0", lambda: metrics.Deletion(LINEAR, X, ONES, steps=0)),
    "no feature": (
        ParameterError, "none of 6 features",
        lambda: metrics.Deletion(LINEAR, X, ONES, max_percentage_perturbed=0.1),
    ),
    "more than all": (
        ParameterError, "at most 1", lambda: metrics.Deletion(LINEAR, X, ONES, max_percentage_perturbed=1.5),
    ),
    "baseline": (ParameterError, "broadcasts", lambda: metrics.Deletion(LINEAR, X, ONES, baseline_mode=np.ones(5))),
    "activation": (ParameterError, "'relu'", lambda: metrics.Deletion(LINEAR, X, ONES, activation="relu")),
    "operator twice": (
        ParameterError, "beside a method", lambda: metrics.Deletion(Saliency(LINEAR), X, ONES, operator="regression"),
    ),
    "score": (
        NonFiniteError, "score of sample 0",
        lambda: metrics.Deletion(
            build([node("Log", ["x"], ["y"])], {"x": ["N", 6]}, {"y": ["N", 6]}), np.abs(X), [0] * 4
        )(X),
    ),
    "masks": (ParameterError, "masks has shape", lambda: metrics.MuFidelity(LINEAR, X, ONES, masks=np.ones((9, 5)))),
    "perturbation": (
        ParameterError, "perturbation gave",
        lambda: metrics.Infidelity(LINEAR, X, ONES, perturbation=lambda x, _: x)(X),
    ),
    "maps for a method": (ParameterError, "takes a method", lambda: metrics.MaxSensitivity(LINEAR, X, ONES)(X)),
    "maps at the inputs of one column": (
        ShapeError, r"maps of the 4 inputs have shape \(4, 1\), those of changed inputs \(10, 6\)",
        lambda: metrics.MaxSensitivity(LINEAR, X, ONES)(Saliency(LINEAR), X[:, :1]),
    ),
    "more maps at the inputs": (
        ShapeError, r"maps of the 4 inputs have shape \(5, 6\)",
        lambda: metrics.AverageStability(LINEAR, X, ONES)(Saliency(LINEAR), np.ones((5, 6))),
    ),
    "fewer maps at the inputs": (
        ShapeError, r"maps of the 4 inputs have shape \(3, 6\)",
        lambda: metrics.AverageStability(LINEAR, X, ONES)(Saliency(LINEAR), X[:3]),
    ),
    "a function of one map": (
        ShapeError, r"maps of shape \(1, 6\) for 4 inputs",
        lambda: metrics.AverageStability(LINEAR, X, ONES)(lambda x, y: x[:1]),
    ),
    "channels along the samples": (
        ParameterError, "channel_axis=0: expected an axis of maps",
        lambda: metrics.Sparseness(channel_axis=0)(np.ones((4, 5, 5, 3))),
    ),
    "function for a model": (
        ParameterError, "takes a method of this package",
        lambda: metrics.ModelRandomizationMetric(LINEAR, X, ONES)(lambda x, y: x),
    ),
    "unknown": (
        ParameterError, r"Deletion has no parameters \['step'\]. Here, for step take steps=. Beside the model it takes",
        lambda: metrics.Deletion(LINEAR, X, step=3),
    ),
    "rows not apart": (ModelError, "mixes samples", lambda: metrics.Deletion(MIXED, X, [0] * 4)),
    "layer": (
        ParameterError, "no layer with weights",
        lambda: metrics.ModelRandomizationMetric(
            LINEAR, X, ONES, metrics.ProgressiveLayerRandomization("dense")
        )(Saliency(LINEAR)),
    ),
    "no weights": (
        ModelError, "no weights in initializers",
        lambda: metrics.ModelRandomizationMetric(
            build([node("Tanh", ["x"], ["y"])], {"x": ["N", 6]}, {"y": ["N", 6]}), X, [0] * 4
        )(Saliency(build([node("Tanh", ["x"], ["y"])], {"x": ["N", 6]}, {"y": ["N", 6]}))),
    ),
    "ssim of a table": (
        ParameterError, "compares images",
        lambda: metrics.ModelRandomizationMetric(LINEAR, X, ONES, similarity="ssim"),
    ),
    "the explained class as the other one": (
        ParameterError, "classes: of sample 1 it is 2, the class that is explained itself",
        lambda: metrics.RandomLogitMetric(CLASSES, X, [0, 2, 1, 0], similarity="spearman", classes=[1, 2, 0, 1]),
    ),
    "one class": (
        ModelError, "no other class", lambda: metrics.RandomLogitMetric(LINEAR, X, ONES, similarity="spearman"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    error, text, act = REFUSED[name]
    with pytest.raises(error, match=text):
        act()
