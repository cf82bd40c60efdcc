"""Comparing a converted estimator with its original, at the rows of the sample, between them and beyond them."""

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from onnxattr.autodiff.refused import TREES
from onnxattr.errors import ConversionError

from ..common.verify import TOLERANCE, Session
from .layers import step_difference
from .names import parts_of
from .rounded import in_float32, nearest, say_rounded
from .steps import steps_of

# What float32 makes of badly scaled features stays below this part of the largest value.
_ROUNDING = 1e-2
_FURTHER_ROWS = 16
_LARGEST = 1e30
# Classes may differ at this part of the rows, where scores are equal but for rounding.
_OTHER_LABELS = 0.05


class OtherNumbersError(ConversionError):
    """A converted estimator gives other numbers than its original."""


def compare(
    converted: onnx.ModelProto, estimator: Any, rows: np.ndarray, names: list[str] | None = None
) -> None:
    """Compare the model with what the estimator computes in float64, on the sample, between its rows and beyond.

    A row may give what the estimator gives for it, or for what float32 makes of it; where the latter alone is so, and
    is something else, a warning says it.

    Args:
        converted: The model.
        estimator: What it was converted from.
        rows: (n, features), in the type in which they were given.
        names: Those of the features, if they have some.

    Raises:
        OtherNumbersError: They differ by more than 1e-4 of the largest value.
        ConversionError: The estimator does not take the sample.
    """
    session, source = Session(converted), converted.graph.input[0].name
    rows = rows.astype(np.float64)
    further = [_between(rows), _around(rows, 1.0, _FURTHER_ROWS), _around(rows, 3.0, _FURTHER_ROWS)]
    further += [_zeros(rows), _missing(rows), np.full_like(rows[:1], np.nan)]
    least = 0.0
    certain = [(batch, _expected(estimator, batch)) for batch in (rows, rows[:1])]
    for batch, expected in (*certain, *((batch, _taken(estimator, batch)) for batch in further)):
        if expected is None:
            continue
        found = np.asarray(session.run({source: batch.astype(np.float32)})[-1])
        for small in _in_float32(batch):
            if (rounded := _taken(estimator, small)) is not None:
                expected = nearest(found, expected, rounded)
        # Numbers that float32 does not hold are none of the model's.
        held = ~(np.abs(expected) > _LARGEST).any(1)
        worst = _difference(found[held], expected[held], least)
        least = least or _size(expected)
        if not worst <= TOLERANCE:
            raise OtherNumbersError(
                f"The converted {type(estimator).__name__} differs from the original by {worst:.2g} of its largest "
                f"value. {_advice(converted.graph, estimator, worst)}."
            )
    if converted.graph.output[0].name == "label":
        every = np.concatenate([rows, *further[:2]])
        labels = session.run({source: every.astype(np.float32)})[0]
        compare_labels(labels, estimator, [every, *_in_float32(every)])
    found = np.asarray(session.run({source: rows.astype(np.float32)})[-1])
    say_rounded(estimator, found, certain[0][1], names or range(rows.shape[1]), rows)


def _advice(graph: onnx.GraphProto, estimator: Any, worst: float) -> str:
    """What to do with an estimator of other numbers, without a full stop."""
    if any(type(part).__name__ == "KNNImputer" for part in parts_of(estimator)):
        return (
            "Its KNNImputer takes any of several rows that are equally near, as rows of rounded numbers often are. Use "
            "an IterativeImputer or a SimpleImputer, or fill what is missing before the pipeline"
        )
    if any(node.op_type.startswith("TreeEnsemble") for node in graph.node):
        return f"It has decision trees, which compare in float32. {TREES[0].upper()}{TREES[1:]}"
    if worst < _ROUNDING:
        return "Scale the features: it computes in float64, its ONNX form in float32"
    return (
        "Scale the features, if they are large or of different sizes: it computes in float64, ONNX in float32. "
        "Otherwise skl2onnx writes something else: try other settings, another solver"
    )


def _in_float32(batch: np.ndarray) -> list[np.ndarray]:
    """Rows with what float32 makes of some or all of their columns."""
    found = []
    for columns in in_float32(dict(enumerate(batch.T))):
        small = batch.copy()
        small[:, list(columns)] = np.stack(list(columns.values()), 1)
        found.append(small)
    return found


def compare_labels(labels: Any, estimator: Any, several: Sequence[Any]) -> None:
    """Compare the classes that are predicted; scores that are equal but for rounding may decide otherwise.

    Args:
        labels: Those that the converted estimator predicts.
        estimator: The original.
        several: The same rows as it takes them, as they are and as float32 has them.

    Raises:
        OtherNumbersError: They differ at more than a twentieth of the rows.
    """
    found = np.asarray(labels)
    if found.ndim > 1 or not hasattr(estimator, "predict"):
        return
    differ: Any = True
    for rows in several:
        with contextlib.suppress(ValueError, IndexError):
            expected = np.asarray(estimator.predict(rows))
            expected = expected.astype(np.int64) if expected.dtype.kind in "biuf" else expected
            differ = (found != expected) & differ
    others = 0.0 if differ is True else differ.mean()
    if not others <= _OTHER_LABELS:
        raise OtherNumbersError(
            f"The converted {type(estimator).__name__} predicts another class than the original at {others:.0%} of the "
            "rows, though scores agree: where several of them are the largest, as clipped or saturated probabilities "
            "are, it decides by other numbers. Use a loss or an estimator whose probabilities do not saturate."
        )


def far_apart(estimator: Any, rows: np.ndarray) -> np.ndarray:
    """Rows of the sample and beyond it, if the estimator takes them."""
    small = rows.astype(np.float32)
    rows = rows if _taken(estimator, small) is None else small
    both = np.concatenate([_around(rows, 3.0), rows])
    return rows if _taken(estimator, both) is None else both


def _around(rows: np.ndarray, spread: float, count: int = 5) -> np.ndarray:
    """Random rows about the mean of the sample, `spread` of its standard deviations wide.

    Features that the sample has one value of are spread by a tenth of it.
    """
    mean, deviation = np.nanmean(rows, 0), np.nanstd(rows, 0)
    noise = spread * np.random.default_rng(0).normal(size=(count, rows.shape[1]))
    around: np.ndarray = mean + noise * (np.where(deviation > 0, deviation, np.abs(mean) / 10) + 1e-3)
    return around.astype(np.float32)


def _between(rows: np.ndarray) -> np.ndarray:
    """Rows at random places between two of the sample: what is right at the rows alone, as a step is, differs there."""
    rng = np.random.default_rng(0)
    first, second = rows[rng.integers(0, len(rows), (2, _FURTHER_ROWS))]
    between: np.ndarray = first + rng.uniform(0.1, 0.9, (_FURTHER_ROWS, 1)) * (second - first)
    # What both have, as a category, stays what it is.
    return np.where(first == second, first, between.astype(np.float32))


def _taken(estimator: Any, rows: np.ndarray) -> np.ndarray | None:
    """What the estimator gives for rows, if it takes them; an encoder knows no categories but those of its fit."""
    try:
        return _expected(estimator, rows)
    except (ConversionError, IndexError):
        return None


def _zeros(rows: np.ndarray) -> np.ndarray:
    """A row of zeros, and a row of the sample for each feature that is 0 there, of the first ones."""
    zeros: np.ndarray = rows[np.arange(min(rows.shape[1], _FURTHER_ROWS) + 1) % len(rows)].copy()
    zeros[0] = 0.0
    places = np.arange(1, len(zeros))
    zeros[places, places - 1] = 0.0
    return zeros


def _missing(rows: np.ndarray) -> np.ndarray:
    """Rows of the sample, one of whose features is missing; most estimators refuse them."""
    rng = np.random.default_rng(0)
    missing: np.ndarray = rows[rng.integers(0, len(rows), _FURTHER_ROWS)]
    missing[range(_FURTHER_ROWS), rng.integers(0, rows.shape[1], _FURTHER_ROWS)] = np.nan
    return missing


def _expected(estimator: Any, rows: np.ndarray) -> np.ndarray:
    """What the estimator gives for rows, of its last step."""
    with np.errstate(all="ignore"):
        return steps_of(estimator, rows.astype(np.float64))[-1].expected


def _size(array: np.ndarray) -> float:
    """The largest finite magnitude in an array; 0 if there is none."""
    return float(np.abs(array[np.isfinite(array)]).max(initial=0.0)) if array.dtype.kind in "fiu" else 0.0


def _difference(found: np.ndarray, expected: np.ndarray, least: float) -> float:
    """The difference in parts of the largest value of `expected`, or of `least` where that is larger."""
    size = _size(expected)
    return step_difference(found, expected) * (size / least if 0 < size < least else 1.0)
