"""Turns what the caller gives into the arrays a model takes; refuses what does not fit before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.errors import ModelError, ShapeError, TargetError
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.values import dims_of
from onnxattr.inputs.samples import is_files, together
from onnxattr.loading.class_names import one_label, with_labels
from onnxattr.loading.heads import is_binary, threshold
from onnxattr.loading.prepared import Prepared
from onnxattr.running.callers import warn_caller
from onnxattr.running.class_targets import by_class, warn_of_names
from onnxattr.running.frames import is_frame, parts_given
from onnxattr.running.input_values import check_range
from onnxattr.running.pixel_values import check_pixels
from onnxattr.scores.score import TargetKind


def as_array(value: Any, what: str) -> np.ndarray:
    """A numpy array of numbers or booleans from an array, a nested list, or a tensor of another framework.

    What is masked in a masked array is missing, NaN; a sparse matrix of SciPy is written out.

    Raises:
        ShapeError: If the value is ragged, holds text or objects, or cannot be read.
    """
    try:
        detached = value.detach().cpu() if hasattr(value, "detach") else value
        array = np.asarray(_written_out(detached))
    except (ValueError, TypeError, RuntimeError) as error:
        raise ShapeError(f"{what} is not an array: {error}.") from error
    if array.dtype.kind not in "fiub" and array.dtype.name != "bfloat16":
        raise ShapeError(f"{what} holds {array.dtype} values; expected numbers.")
    return array


def text_array(value: Any, what: str) -> np.ndarray:
    """A numpy array of text.

    Raises:
        ShapeError: If something else is in it.
    """
    array = np.asarray(value, object)
    wrong = [text for text in array.ravel().tolist() if not isinstance(text, str)]
    if wrong:
        raise ShapeError(f"{what} holds {wrong[0]!r}; expected text, as the model was trained on.")
    return array


def _written_out(value: Any) -> Any:
    """A masked array with NaN for what is masked, a sparse matrix with its zeros; anything else as it is."""
    if is_sparse(value):
        return value.toarray()
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value) and value.dtype.kind in "fiub":
        floats = value.dtype if value.dtype.kind == "f" else np.dtype(np.float64)
        return np.ma.filled(value.astype(floats), np.nan)
    return value


def is_sparse(value: Any) -> bool:
    """Whether something is a sparse matrix or array of SciPy, which NumPy takes for an object."""
    return hasattr(value, "toarray") and hasattr(value, "nnz")


def model_inputs(prepared: Prepared, given: Any) -> dict[str, np.ndarray]:
    """The model's feeds, by name, from one array or table, a list of them in the model's order, or a dict.

    The columns of a table are matched by name, where the model has names for them or an input for each. Paths and
    images of Pillow are read.

    Raises:
        ShapeError: If an input is missing or unknown, has the wrong rank, size or kind, is empty, or is beyond the
            range of the model's dtype.
    """
    parts = parts_given(prepared, together(given, prepared) if is_files(given, prepared) else given)
    check_pixels(prepared, parts)
    feeds = {
        str(v.name): _checked(v, _array_of(v, part, len(parts) > 1), prepared.rows.mixed)
        for v, part in zip(prepared.inputs, parts, strict=True)
    }
    rows = {name: len(feeds[name]) for name in feeds if feeds[name].ndim}
    if prepared.rows.apart and len(set(rows.values())) > 1:
        raise ShapeError(f"The inputs have different numbers of samples: {rows}.")
    return feeds


def _array_of(value: ir.Value, part: Any, several: bool) -> np.ndarray:
    """An array for an input; of a model with several, a column (N,) is taken for an input (N, 1)."""
    read = text_array if value.dtype == ir.DataType.STRING else as_array
    array, dims = read(part, f"Input {value.name!r}"), dims_of(value) or []
    return array[:, None] if several and array.ndim == 1 and len(dims) == 2 and dims[1] == 1 else array


def row_count(feeds: Mapping[str, np.ndarray]) -> int:
    """The number of rows of a model's feeds.

    Raises:
        ModelError: If none has a batch axis.
    """
    counts = [len(array) for array in feeds.values() if array.ndim]
    if not counts:
        raise ModelError(
            "No input of the model has a batch axis; expected one whose first axis is that of samples."
        )
    return counts[0]


def _checked(value: ir.Value, array: np.ndarray, one_sample: bool) -> np.ndarray:
    dims = dims_of(value)
    what = f"Input {value.name!r}"
    if dims is not None:
        expected = "(" + ", ".join(str(d if d is not None else "?") for d in dims) + ")"
        if array.ndim != len(dims):
            hint = " Add the batch axis with x[None]." if array.ndim == len(dims) - 1 else ""
            if one_sample:
                hint = " The whole first axis is one sample: give one at a time."
            raise ShapeError(
                f"{what} has shape {array.shape}; the model expects {expected}, rank {len(dims)}.{hint}"
            )
        first = 0 if one_sample else 1
        clash = [i for i, d in enumerate(dims) if i >= first and isinstance(d, int) and array.shape[i] != d]
        if clash:
            raise ShapeError(
                f"{what} has shape {array.shape}; the model expects {expected}: axis {clash[0]} differs."
            )
    if array.ndim and len(array) == 0:
        raise ShapeError(f"{what} is an empty batch (shape {array.shape}); at least one sample is needed.")
    assert value.dtype is not None
    if value.dtype == ir.DataType.STRING:
        return array
    if value.dtype in FLOATS:
        with np.errstate(over="ignore"):
            cast = array.astype(value.dtype.numpy(), copy=False)
        if cast.dtype.itemsize < array.dtype.itemsize:
            check_range(what, array, cast)
        return np.ascontiguousarray(cast) if cast.ndim else cast
    with np.errstate(invalid="ignore"):
        cast = array.astype(value.dtype.numpy(), copy=False)
    changed = array[cast != array]
    if changed.size:
        raise ShapeError(
            f"{what} is {array.dtype} and holds {changed.flat[0]}; the model expects {value.dtype.name.lower()}. "
            "Round or encode the values first."
        )
    return cast


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
    shape = f"({', '.join([str(rows), *(str(d if d is not None else '?') for d in kind.dims)])}{',' * (not kind.dims)})"
    if given is None:
        return _default_targets(output, kind, labelled, rows, shape)
    if labelled and is_frame(given):
        given = by_class(given, prepared.class_names)
    numbers = given
    if labelled:
        given = with_labels(given, prepared.class_names, class_count(prepared, dims), rows)
        numbers = given if given is numbers else None
        given = given if (label := one_label(given)) is None else np.full(rows, label)
    try:
        array = as_array(given, "targets")
    except ShapeError as error:
        raise TargetError(str(error)) from error
    two = labelled and class_count(prepared, dims) == 2
    if array.ndim == 1 and labelled and array.dtype.kind in ("iub" if two else "iu"):
        labels = _labels(prepared, array, rows)
        if numbers is not None:
            warn_of_names(array, prepared.class_names)
        return labels
    if kind.one_box and array.ndim == len(kind.dims):
        array = array[:, None]
    fits = array.ndim == 1 + len(kind.dims) and len(array) == rows
    fits = fits and all(
        not isinstance(d, int) or d == n for d, n in zip(kind.dims, array.shape[1:], strict=True)
    )
    if not fits:
        also = f", or integer labels of shape ({rows},)" if labelled else ""
        also += f", or ({rows}, {kind.dims[-1]}) for one box each" if kind.one_box else ""
        raise TargetError(
            f"targets are {array.dtype} of shape {array.shape}; expected {kind.what} of shape {shape}{also}. Targets "
            "are not broadcast."
        )
    array = array.astype(kind.dtype.numpy())
    _check_weights(array, kind, labelled and is_binary(prepared.unit))
    return Targets(weights=array)


def _default_targets(output: ir.Value, kind: TargetKind, labelled: bool, samples: int, shape: str) -> Targets:
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
        f"The output {output.name!r} has rank {len(dims)}: give targets, {kind.what} of shape {shape}."
    )


def _check_weights(array: np.ndarray, kind: TargetKind, one_unit: bool) -> None:
    """Checks weights on the output; ``one_unit``: whether the output is one unit that tells two classes apart.

    Raises:
        TargetError: If they are not finite, or explain nothing where something must be explained.
    """
    if not np.isfinite(array.astype(np.float32)).all():
        raise TargetError("targets hold NaN or infinite values; expected finite weights.")
    if kind.not_zero and (empty := np.flatnonzero(~array.reshape(len(array), -1).any(axis=1))).size:
        raise TargetError(
            f"targets are 0 everywhere in sample {empty[0]}; expected {kind.what}, with a target in each sample."
        )
    if one_unit and (array == 0).any():
        warn_caller(
            f"targets of shape {array.shape} are weights on the output's only unit: a weight of 0 explains nothing, "
            "its map is 0. Give classes as integer labels of shape (N,), or weights: +1 for class 1, -1 for class 0."
        )


def _labels(prepared: Prepared, array: np.ndarray, rows: int) -> Targets:
    if len(array) != rows:
        raise TargetError(f"{len(array)} labels were given for {rows} samples; give one for each.")
    classes = class_count(prepared, dims_of(prepared.value(prepared.output)) or [])
    check_labels(array, classes if isinstance(classes, int) else None)
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


def check_labels(labels: np.ndarray, classes: int | None) -> None:
    """Checks labels against the number of classes; None where only a prediction will show it.

    Raises:
        TargetError: If a label is out of range.
    """
    wrong = labels[(labels < -1) | (labels >= classes if classes is not None else False)]
    if wrong.size:
        last = "the last class" if classes is None else classes - 1
        advice = f" {_ONE_COLUMN.removesuffix(';')}." if classes == 1 else ""
        raise TargetError(
            f"Label {wrong[0]} is out of range: labels go from 0 to {last} (-1 for the predicted class).{advice}"
        )


def label_weights(prepared: Prepared, labels: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Weights on the output for labels (N,), where -1 stands for the predicted class.

    One-hot rows for (N, C); for a unit that tells two classes apart 1 for class 1 and -1 for class 0.

    Raises:
        TargetError: If a label is out of range.
    """
    check_labels(labels, class_count(prepared, prediction.shape))
    if is_binary(prepared.unit):
        predicted = prediction.reshape(-1) > threshold(prepared.unit)
        positive = np.where(labels < 0, predicted, labels == 1)
        return np.where(positive, 1, -1).astype(prediction.dtype).reshape(prediction.shape)
    chosen = np.where(labels < 0, prediction.argmax(axis=1), labels)
    return np.eye(prediction.shape[1], dtype=prediction.dtype)[chosen]


def weights_of(prepared: Prepared, targets: Targets, prediction: np.ndarray | None) -> np.ndarray:
    """The targets as weights, where they are labels by the prediction."""
    if targets.weights is not None:
        return targets.weights
    assert targets.labels is not None
    assert prediction is not None
    return label_weights(prepared, targets.labels, prediction)


def take(feeds: Mapping[str, np.ndarray], rows: slice | Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
    """The given rows of every feed; feeds without a batch axis stay as they are."""
    return {name: array[rows] if array.ndim else array for name, array in feeds.items()}
