"""Scores of object detectors, as D-RISE has them (Petsiuk et al., 2021, arXiv 2006.03204)."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.errors import OperatorError
from onnxattr.graph.values import shape_text
from onnxattr.scores import xp
from onnxattr.scores.score import Dims, Function, Score, TargetKind

#: Added to the union of two boxes and to the product of two norms, so that neither is 0.
EPSILON = 1e-4
_FORMULA = (
    "For each reference box of y the best of the predicted boxes by intersection over union{probability}{classes}; the "
    "mean over the reference boxes. Boxes are x1, y1, x2, y2, probability, classes; boxes of zeros are padding."
)


def detection(probability: bool, classes: bool) -> Function:
    """The score of predicted boxes f(x), (N, boxes, 4 + 1 + classes), for reference boxes y of the same columns.

    Args:
        probability: Whether the probability of the predicted box is a factor.
        classes: Whether the cosine between the classes of both boxes is a factor.
    """

    def score(f: Any, x: Any, y: Any) -> Any:
        y = wide(y)
        predicted, reference = wide(f(x))[:, None, :, :], y[:, :, None, :]
        pairs = overlap(predicted, reference)
        if probability:
            pairs = pairs * predicted[..., 4]
        if classes:
            p, r = predicted[..., 5:], reference[..., 5:]
            norms = xp.multiply(xp.vector_norm(p, axis=-1), xp.vector_norm(r, axis=-1))
            pairs = pairs * ((p * r).sum(axis=-1) / (norms + EPSILON))
        there, wanted = xp.any(predicted, axis=-1), xp.any(y, axis=-1)
        lowest = float(np.finfo(pairs.dtype).min)
        best = xp.where(there, pairs, lowest).max(axis=2)
        best = xp.where(xp.logical_and(wanted, xp.any(there, axis=2)), best, 0.0)
        return best.sum(axis=1) / xp.maximum(wanted.astype(best.dtype).sum(axis=1), 1.0)

    return score


def wide(array: Any) -> Any:
    """The same with numbers of 32 bits at least: areas of boxes and counts of pixels are above what 16 bits hold."""
    return array.astype(np.float32) if array.kind.bitwidth < 32 else array


def overlap(a: Any, b: Any) -> Any:
    """Intersection over union of boxes x1, y1, x2, y2, ..."""
    left, top = xp.maximum(a[..., 0], b[..., 0]), xp.maximum(a[..., 1], b[..., 1])
    right, bottom = xp.minimum(a[..., 2], b[..., 2]), xp.minimum(a[..., 3], b[..., 3])
    both = xp.maximum(right - left, 0.0) * xp.maximum(bottom - top, 0.0)
    areas = [(box[..., 2] - box[..., 0]) * (box[..., 3] - box[..., 1]) for box in (a, b)]
    return both / (areas[0] + areas[1] - both + EPSILON)


def boxes(dims: Dims, dtype: ir.DataType) -> TargetKind:
    """Targets of a detector: (N, boxes, 4 + 1 + classes), or one box for each sample without its axis.

    Raises:
        OperatorError: If the model's output holds no boxes.
    """
    if len(dims) != 3 or (isinstance(dims[2], int) and dims[2] < 5):
        raise OperatorError(
            f"The operator 'object detection' needs a model output of boxes (N, boxes, 4 + 1 + classes), before "
            f"non-maximum suppression; the output has the shape {shape_text(dims)}."
        )
    return TargetKind(
        ["boxes", dims[2]],
        dtype,
        labels=False,
        one_box=True,
        what="reference boxes",
        own_sizes=True,
        corners=True,
    )


def named(name: str, probability: bool, classes: bool) -> Score:
    """The score of a detector that goes by a name."""
    formula = _FORMULA.format(
        probability=", times its probability" if probability else "",
        classes=", times the cosine of the classes" if classes else "",
    )
    return Score(name, detection(probability, classes), boxes, formula, one_output=True)
