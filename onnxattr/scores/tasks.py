"""The scores that have names: Xplique's tasks."""

from __future__ import annotations

from enum import Enum
from typing import Any

import onnx_ir as ir

from onnxattr.scores.detection import named, wide
from onnxattr.scores.score import Dims, Score, TargetKind


def segmentation(f: Any, x: Any, y: Any) -> Any:
    """The mean of f(x) over the zone and the classes that y marks: sum of f(x) * y / number of y that are not 0."""
    y, axes = wide(y), tuple(range(1, y.ndim))
    return (wide(f(x)) * y).sum(axis=axes) / (y != 0).astype(y.dtype).sum(axis=axes)


def _mask(dims: Dims, dtype: ir.DataType) -> TargetKind:
    what = "a mask of the zone and class to explain"
    return TargetKind(dims[1:], dtype, labels=False, what=what, not_zero=True)


def _of_numbers(dims: Dims, dtype: ir.DataType) -> TargetKind:
    """Weights on an output of numbers."""
    return TargetKind(dims[1:], dtype, numbers=True)


#: Scores by name.
TASKS: dict[str, Score] = {
    str(score.name): score
    for score in (
        Score("classification", unit="classification"),
        Score("regression", target=_of_numbers, unit="regression"),
        Score("semantic segmentation", segmentation, _mask, str(segmentation.__doc__), one_output=True),
        named("object detection", probability=True, classes=True),
        named("object detection box position", probability=False, classes=False),
        named("object detection box proba", probability=True, classes=False),
        named("object detection box class", probability=False, classes=True),
    )
}


class Tasks(Enum):
    """The scores that have names, as Xplique has them."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"
    SEMANTIC_SEGMENTATION = "semantic segmentation"
    OBJECT_DETECTION = "object detection"
    OBJECT_DETECTION_BOX_POSITION = "object detection box position"
    OBJECT_DETECTION_BOX_PROBA = "object detection box proba"
    OBJECT_DETECTION_BOX_CLASS = "object detection box class"

    @classmethod
    def from_string(cls, name: str) -> Tasks:
        """The task of a name.

        Raises:
            ValueError: If there is none.
        """
        return cls(name)
