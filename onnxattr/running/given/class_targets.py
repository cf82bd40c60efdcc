"""Targets and names of classes: weights in a table with a column for each, labels beside names that are numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxattr.callers import warn_caller
from onnxattr.errors import TargetError
from onnxattr.running.given.frames import column, columns_of

_LISTED = 8


def by_class(frame: Any, names: Sequence[str]) -> Any:
    """Weights on classes from a table with a column for each: by the names of the classes, or else by their numbers.

    Columns 0, 1, 2, ... are those of a plain array. Where the model has no names, other columns are taken in order.

    Raises:
        TargetError: If the columns are other classes than the model's.
    """
    given = columns_of(frame)
    texts, numbers = list(map(str, given)), list(map(str, range(len(given))))
    if len(given) < 2 or texts == numbers or (names and len(names) != len(given)):
        return frame
    wanted = list(names) or numbers
    if sorted(texts) != sorted(wanted):
        if not names:
            return frame
        raise TargetError(
            f"The columns of the targets, {texts[:_LISTED]}, are not the model's classes, {wanted[:_LISTED]}: name "
            "them so, in any order, or give a plain array in this order."
        )
    return np.stack([column(frame, given[texts.index(name)]) for name in wanted], axis=1)


def warn_of_names(labels: np.ndarray, names: Sequence[str]) -> None:
    """Warns where a label is the name of another class: 1 where classes are named 1, 2 and 3, -1 beside 1."""
    for label in np.unique(labels).tolist():
        if str(label) in names and (label < 0 or names[label] != str(label)):
            meant = (
                "the predicted class"
                if label < 0
                else f"the class at place {label}, counted from 0: {names[label]!r}"
            )
            warn_caller(
                f"Label {label} is {meant}; another class is named {str(label)!r}. To explain classes by these names, "
                "give them as text: np.asarray(labels).astype(str)."
            )
            return
