"""Targets: what the caller gives, checked against the model's output, as labels or as weights on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.callers import warn_caller
from onnxattr.errors import ShapeError, TargetError
from onnxattr.graph.values import dims_of, shape_text
from onnxattr.loading.heads import is_binary, threshold
from onnxattr.loading.meaning.class_names import one_label, texts_of, with_labels
from onnxattr.loading.prepared import Prepared
from onnxattr.running.given.arrays import as_array
from onnxattr.running.given.class_targets import by_class, warn_of_names
from onnxattr.running.given.corners import LAYOUT, check_corners, warn_of_none
from onnxattr.running.given.frames import is_frame
from onnxattr.running.given.target_types import check_kept
from onnxattr.scores.score import TargetKind

#: How a zone or a map of classes becomes a mask.
_MASK = (
    "A mask has the layout of the output, with zeros in all classes but those explained: of a zone (N, H, W) and class "
    "3, mask = np.zeros(output.shape); mask[:, 3] = zone, or mask[..., 3] = zone where classes are the last axis."
)


@dataclass(frozen=True)
class Targets:
    """What to explain: ``labels`` (N,) int64, -1 for the predicted class, or ``weights`` of the output's shape."""

    labels: np.ndarray | None = None
    weights: np.ndarray | None = None

    def part(self, rows: slice) -> Targets:
        """Those of some rows."""
        labels, weights = self.labels, self.weights
        return Targets(
            labels if labels is None else labels[rows], weights if weights is None else weights[rows]
        )


def as_targets(prepared: Prepared, given: Any, rows: int, kind: TargetKind | None = None) -> Targets:
    """Checks targets: one-hot or any float weights of the output's shape, integer labels (N,), or None.

    None is the predicted class for an output (N, C) or a unit that tells two classes apart, the output itself for other
    outputs (N,).

    Args:
        prepared: The model.
        given: What the caller gave.
        rows: The number of rows.
        kind: What the score takes as targets; None for weights of the output's shape.

    Raises:
        TargetError: If the shape does not fit (nothing is broadcast), a label is out of range, or a value not finite.
    """
    output = prepared.value(prepared.output)
    dims = dims_of(output) or []
    assert output.dtype is not None
    kind = kind or TargetKind(dims[1:], output.dtype)
    labelled = kind.labels and (len(dims) == 2 or is_binary(prepared.unit))
    if given is None:
        several = len(dims) == 2 and dims[1] != 1
        if labelled and several and (kind.numbers or _are_values(prepared)):
            warn_caller(
                f"The output {prepared.output!r} gives {dims[1]} numbers, no classes: without targets the largest is "
                "explained, which may be another one in each sample. Pass targets= with the index of one."
            )
        return _default_targets(output, kind, labelled, rows)
    if not labelled and texts_of(given) is not None:
        raise TargetError(
            f"targets={given!r:.80} names classes, which are columns of an output (N, classes); {prepared.output!r} "
            f"is none. Targets are {kind.what} of shape {shape_text([rows, *kind.dims])}. To explain one unit, "
            "pass neuron=."
        )
    given, named = _by_name(prepared, given, rows) if labelled else (given, False)
    try:
        array = as_array(given, "targets")
    except ShapeError as error:
        raise TargetError(str(error)) from error
    two = labelled and class_count(prepared, dims) == 2
    if array.ndim == 1 and labelled and array.dtype.kind in ("iub" if two else "iu"):
        labels = _labels(prepared, array, rows)
        if not named and len(prepared.class_names) == class_count(prepared, dims):
            warn_of_names(array, prepared.class_names)
        return labels
    return _weights(array, kind, rows, labelled, _if_labels(prepared, dims) if kind.labels else None)


def _are_values(prepared: Prepared) -> bool:
    """Whether a model says that its output gives numbers, as a regressor of several targets does."""
    meaning = prepared.meaning.outputs.get(prepared.output)
    return meaning is not None and meaning.kind == "value"


def _by_name(prepared: Prepared, given: Any, rows: int) -> tuple[Any, bool]:
    """Targets in which names of classes are numbers and one label is one for each row, and whether names were given."""
    given = by_class(given, prepared.class_names) if is_frame(given) else given
    classes = class_count(prepared, dims_of(prepared.value(prepared.output)) or [])
    found = with_labels(given, prepared.class_names, classes, rows)
    label = one_label(found)
    return found if label is None else np.full(rows, label), found is not given


def _if_labels(prepared: Prepared, dims: Sequence[Any]) -> str | None:
    """How labels are given instead, where weights on an output of one number look like them; None for other outputs."""
    if is_binary(prepared.unit):
        return "Give classes as integer labels of shape (N,), or weights: +1 for class 1, -1 for class 0."
    if prepared.unit is None and list(dims[1:]) in ([], [1]):
        return (
            "If the output is the logit of a binary classifier, pass operator='classification' for labels 0 and 1, or "
            "weights: +1 for class 1, -1 for class 0; operator='regression' for a number."
        )
    return None


def _weights(
    array: np.ndarray, kind: TargetKind, rows: int, labelled: bool, if_labels: str | None
) -> Targets:
    """Targets that are weights on the output.

    Raises:
        TargetError: If they have another shape, are not finite, or explain nothing.
    """
    if kind.one_box and array.ndim == len(kind.dims):
        array = array[:, None]
    fits = array.ndim == 1 + len(kind.dims) and len(array) == rows
    fits = fits and all(
        not isinstance(d, int) or d == n for d, n in zip(kind.dims, array.shape[1:], strict=True)
    )
    if not fits:
        also = f", or integer labels of shape ({rows},)" if labelled else ""
        also += f", or ({rows}, {kind.dims[-1]}) for one box each" if kind.one_box else ""
        other = LAYOUT if kind.corners else _MASK if kind.not_zero else if_labels or _as_place(array, kind)
        advice = _as_labels(array, rows) if labelled else f" {other}".rstrip()
        raise TargetError(
            f"targets are {array.dtype} of shape {array.shape}; expected {kind.what} of shape "
            f"{shape_text([rows, *kind.dims])}{also}. Targets are not broadcast.{advice}"
        )
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        given, array = array, array.astype(kind.dtype.numpy())
        check_kept(given, array, kind)
        _check_weights(array, kind, if_labels)
    return Targets(weights=array)


def _as_place(array: np.ndarray, kind: TargetKind) -> str:
    """How one unit of an output of several axes is named, if integer targets may be its place."""
    if array.dtype.kind not in "iu" or len(kind.dims) < 2:
        return ""
    place = array.reshape(-1, len(kind.dims))[0].tolist() if array.shape[-1:] == (len(kind.dims),) else None
    one = "..." if place is None else f"({', '.join(map(str, place))})"
    return f"To explain one unit of it, or one channel, give its place when the method is made: neuron={one}."


def _as_labels(array: np.ndarray, rows: int) -> str:
    """How targets are written as labels, if they look like some: whole numbers, one for each row."""
    if array.size == rows and bool(np.isnan(array).any()):
        return " Labels that are NaN or masked are none: leave these samples out, or give -1, the predicted class."
    whole = array.size == rows and bool(np.all(array == np.floor(array)))
    return " If these are labels, give np.ravel(targets).astype(int)." if whole else ""


def _default_targets(output: ir.Value, kind: TargetKind, labelled: bool, samples: int) -> Targets:
    """What is explained where nothing is given: the predicted class, or the only number there is.

    Raises:
        TargetError: If there is more than one number and no class.
    """
    dims = dims_of(output) or []
    assert output.dtype is not None
    if labelled:
        return Targets(labels=np.full(samples, -1, np.int64))
    if len(dims) == 1 and kind.labels:
        return Targets(weights=np.ones(samples, output.dtype.numpy()))
    if kind.optional:
        sizes = [dim if isinstance(dim, int) else 1 for dim in kind.dims]
        return Targets(weights=np.zeros((samples, *sizes), kind.dtype.numpy()))
    raise TargetError(
        f"The output {output.name!r} has rank {len(dims)}: give targets, {kind.what} of shape "
        f"{shape_text([samples, *kind.dims])}."
    )


def _check_weights(array: np.ndarray, kind: TargetKind, if_labels: str | None) -> None:
    """Checks weights on the output; ``if_labels``: see the function of this name.

    Raises:
        TargetError: If they are not finite, no boxes, or explain nothing where something must be explained.
    """
    if not np.isfinite(array.astype(np.float32)).all():
        raise TargetError("targets hold NaN or infinite values; expected finite weights.")
    if kind.not_zero and (empty := np.flatnonzero(~array.reshape(len(array), -1).any(axis=1))).size:
        raise TargetError(
            f"targets are 0 everywhere in sample {empty[0]}; expected {kind.what}, with a target in each sample."
        )
    if kind.corners:
        check_corners(array)
        warn_of_none(array)
    if if_labels is not None and (array == 0).any():
        warn_caller(
            f"targets of shape {array.shape} are weights on the output's only unit: a weight of 0 explains nothing, "
            f"its map is 0. {if_labels}"
        )


def _labels(prepared: Prepared, array: np.ndarray, rows: int) -> Targets:
    if len(array) != rows:
        raise TargetError(f"{len(array)} labels were given for {rows} samples; give one for each.")
    classes = class_count(prepared, dims_of(prepared.value(prepared.output)) or [])
    check_labels(array, classes if isinstance(classes, int) else None, prepared.class_names)
    if classes == 1 and prepared.unit is None and (array == 0).any():
        warn_caller(
            f"Label 0 explains the output's only column as it is. {_ONE_COLUMN} operator='regression' for a number."
        )
    return Targets(labels=array.astype(np.int64))


_ONE_COLUMN = (
    "It is not behind a sigmoid: if it is the logit of a binary classifier, pass operator='classification' for labels "
    "0 and 1, or weights of shape (N, 1), +1 for class 1 and -1 for class 0;"
)


def class_count(prepared: Prepared, shape: Sequence[Any]) -> Any:
    """The number of classes that labels tell apart on an output of some shape; one unit may stand for two."""
    return 2 if is_binary(prepared.unit) else shape[1]


def check_labels(labels: np.ndarray, classes: int | None, names: Sequence[str] = ()) -> None:
    """Checks labels against the number of classes; None where only a prediction will show it.

    Args:
        labels: The labels.
        classes: The number of classes.
        names: The names of the classes, which a label that is out of range may be meant for.

    Raises:
        TargetError: If a label is out of range.
    """
    wrong = labels[(labels < -1) | (labels >= classes if classes is not None else False)]
    if wrong.size:
        last = "the last class" if classes is None else classes - 1
        advice = f" {_ONE_COLUMN.removesuffix(';')}." if classes == 1 else ""
        if str(wrong[0]) in names:
            place = list(names).index(str(wrong[0]))
            advice = f" The class called {str(wrong[0])!r} is {place}: give that, or its name as a text."
        raise TargetError(
            f"Label {wrong[0]} is out of range: labels go from 0 to {last} (-1 for the predicted class).{advice}"
        )


def label_weights(prepared: Prepared, labels: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Weights on the output for labels (N,), where -1 stands for the predicted class.

    One-hot rows for (N, C); for a unit that tells two classes apart 1 for class 1 and -1 for class 0.

    Raises:
        TargetError: If a label is out of range.
    """
    check_labels(labels, class_count(prepared, prediction.shape), prepared.class_names)
    if is_binary(prepared.unit):
        predicted = prediction.reshape(-1) > threshold(prepared.unit)
        positive = np.where(labels < 0, predicted, labels == 1)
        return np.where(positive, 1, -1).astype(prediction.dtype).reshape(prediction.shape)
    chosen = np.where(labels < 0, prediction.argmax(axis=1), labels)
    return np.eye(prediction.shape[1], dtype=prediction.dtype)[chosen]


def without_prediction(prepared: Prepared, targets: Targets) -> Targets:
    """Targets as weights where that takes no prediction: labels of known classes, none of them the predicted one.

    Raises:
        TargetError: If a label is out of range.
    """
    labels, output = targets.labels, prepared.value(prepared.output)
    dims = (dims_of(output) or [None])[1:]
    sizes = [dim for dim in dims if isinstance(dim, int)]
    if labels is None or output.dtype is None or len(sizes) < len(dims) or (labels < 0).any():
        return targets
    like = np.zeros((len(labels), *sizes), output.dtype.numpy())
    return Targets(weights=label_weights(prepared, labels, like))


def weights_of(prepared: Prepared, targets: Targets, prediction: np.ndarray | None) -> np.ndarray:
    """The targets as weights, where they are labels by the prediction."""
    if targets.weights is not None:
        return targets.weights
    assert targets.labels is not None
    assert prediction is not None
    return label_weights(prepared, targets.labels, prediction)
