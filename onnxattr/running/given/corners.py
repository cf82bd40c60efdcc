"""Checks that boxes are corners, x1, y1, x2, y2: read as corners, boxes of another layout are other boxes."""

from __future__ import annotations

import numpy as np

from onnxattr.callers import warn_caller
from onnxattr.errors import TargetError

_COLUMNS = "x1, y1, x2, y2, probability, classes"
_OTHERS = (
    "Detectors whose boxes are centres and sizes (cx, cy, w, h), whose output is (N, columns, boxes) or which have no "
    "column of probability, as those of YOLO and DETR, need an operator that makes such boxes: docs/scores.md."
)
#: What an error says of reference boxes whose shape does not fit.
LAYOUT = f"The output's last axis is read as {_COLUMNS}. {_OTHERS}"
#: If more than this share of the predicted boxes has a negative width or height, their columns are not corners.
_MANY = 0.25


def check_corners(references: np.ndarray) -> None:
    """Refuses reference boxes (N, boxes, columns) of which a corner is on the wrong side of the other.

    Raises:
        TargetError: If there is one.
    """
    wrong = np.argwhere(_turned(references))
    if len(wrong):
        sample, box = wrong[0]
        numbers = ", ".join(f"{number:.4g}" for number in references[sample, box, :4].tolist())
        raise TargetError(
            f"Reference box {box} of sample {sample} is ({numbers}), of which x2 < x1 or y2 < y1; expected boxes of "
            f"{_COLUMNS}. {_OTHERS}"
        )


def warn_of_none(references: np.ndarray) -> None:
    """Warns of samples without a reference box (N, boxes, columns), of which nothing is explained."""
    without = np.flatnonzero(~references.any(axis=(1, 2)))
    if len(without):
        warn_caller(
            f"{len(without)} of {len(references)} samples have no reference box, sample {without[0]} is the first: "
            "their score is 0 whatever the model predicts, and their map is 0. Boxes of zeros are padding."
        )


def warn_of_corners(predicted: np.ndarray) -> None:
    """Warns if many predicted boxes (N, boxes, columns), read as corners, have a negative width or height."""
    turned, there = _turned(predicted), predicted.any(axis=-1)
    if turned.sum() > _MANY * there.sum():
        warn_caller(
            f"{turned.sum()} of the {there.sum()} boxes that the model predicts have x2 < x1 or y2 < y1, and the score "
            f"reads them as {_COLUMNS}. {_OTHERS}"
        )


def _turned(boxes: np.ndarray) -> np.ndarray:
    """Which boxes have a negative width or height."""
    return np.asarray((boxes[..., 2] < boxes[..., 0]) | (boxes[..., 3] < boxes[..., 1]))
