"""The scores that have names: Xplique's tasks."""

from __future__ import annotations

from enum import Enum
from typing import Any

import onnx_ir as ir

from onnxattr.scores.score import Dims, Score, TargetKind


def segmentation(f: Any, x: Any, y: Any) -> Any:
    """The mean of f(x) over the zone and the classes that y marks: sum of f(x) * y / number of y that are not 0."""
    axes = tuple(range(1, y.ndim))
    return (f(x) * y).sum(axis=axes) / (y != 0).astype(y.dtype).sum(axis=axes)


def _mask(dims: Dims, dtype: ir.DataType) -> TargetKind:
    return TargetKind(dims[1:], dtype, labels=False, what="masks of the zone and class to explain")


SEGMENTATION = Score("semantic segmentation", segmentation, _mask, str(segmentation.__doc__))

#: Scores by name.
TASKS: dict[str, Score] = {
    "classification": Score("classification", unit="classification"),
    "regression": Score("regression", unit="regression"),
    "semantic segmentation": SEGMENTATION,
}


class Tasks(Enum):
    """The scores that have names, as Xplique has them."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"
    SEMANTIC_SEGMENTATION = "semantic segmentation"

    @classmethod
    def from_string(cls, name: str) -> Tasks:
        """The task of a name.

        Raises:
            ValueError: If there is none.
        """
        return cls(name)
