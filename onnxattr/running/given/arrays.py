"""Turns what the caller gives into the arrays a model takes; refuses what does not fit before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Number
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.errors import ModelError, ShapeError
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.values import dims_of
from onnxattr.inputs.samples import is_files, together
from onnxattr.inputs.tensors import dense, not_yet_an_array, plain
from onnxattr.loading.prepared import Prepared
from onnxattr.running.given.fitting_shapes import ragged, way_out
from onnxattr.running.given.input_values import check_range
from onnxattr.running.given.lengths import check_lengths_of
from onnxattr.running.given.pixel_values import check_pixels
from onnxattr.running.given.tables import parts_given


def as_array(value: Any, what: str) -> np.ndarray:
    """A numpy array of numbers or booleans from an array, a nested list, or a tensor of another framework.

    What is masked in a masked array is missing, NaN; a sparse matrix or tensor is written out. Objects that are all
    numbers, as the values of a table with columns of several kinds are, are these numbers.

    Raises:
        ShapeError: If the value is ragged, holds text or other objects, or cannot be read.
    """
    if (todo := not_yet_an_array(value)) is not None:
        raise ShapeError(f"{what} is a {type(value).__name__}: {todo}.")
    try:
        array = np.asarray(_written_out(plain(value)))
    except (ValueError, TypeError, RuntimeError) as error:
        raise ShapeError(f"{what} is not an array: {ragged(value) or error}.") from error
    if array.dtype.kind == "O":
        array = _numbers(array, what)
    if array.dtype.kind not in "fiub" and array.dtype.name != "bfloat16":
        raise ShapeError(f"{what} holds {array.dtype} values; expected numbers.")
    return array


def _numbers(array: np.ndarray, what: str) -> np.ndarray:
    """An array of objects as numbers: integers if all are, else floats.

    Raises:
        ShapeError: Shows the first that is none.
    """
    others = [
        value for value in array.ravel().tolist() if not isinstance(value, (Number, np.number, np.bool_))
    ]
    if others:
        raise ShapeError(f"{what} holds object values such as {others[0]!r:.80}; expected numbers.")
    found = np.array(array.tolist())
    return found if found.dtype.kind != "O" else array.astype(np.float64)


def text_array(value: Any, what: str) -> np.ndarray:
    """A numpy array of text.

    Raises:
        ShapeError: If something else is in it.
    """
    array = np.asarray(value, object)
    wrong = [text for text in array.ravel().tolist() if not isinstance(text, str)]
    if wrong:
        missing = " Fill missing values in, or leave these rows out." if wrong[0] is None else ""
        raise ShapeError(f"{what} holds {wrong[0]!r}; expected text, as the model was trained on.{missing}")
    return array


def _written_out(value: Any) -> Any:
    """Masked arrays with NaN for what is masked, a sparse matrix with its zeros; anything else as it is."""
    value = dense(value)
    if isinstance(value, (list, tuple)) and any(isinstance(row, np.ma.MaskedArray) for row in value):
        value = np.ma.stack(value)  # of masked rows NumPy makes an array without the masks
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value) and value.dtype.kind in "fiub":
        floats = value.dtype if value.dtype.kind == "f" else np.dtype(np.float64)
        return np.ma.filled(value.astype(floats), np.nan)
    return value


def model_inputs(prepared: Prepared, given: Any) -> dict[str, np.ndarray]:
    """The model's feeds, by name, from one array or table, a list of them in the model's order, or a dict.

    The columns of a table are matched by name, where the model has names for them or an input for each. Paths and
    images of Pillow are read.

    Raises:
        ShapeError: If an input is missing or unknown, has the wrong rank, size or kind, is empty, or is beyond the
            range of the model's dtype; if samples are too short for a recurrent layer.
    """
    parts = parts_given(prepared, together(given, prepared) if is_files(given, prepared) else given)
    check_pixels(prepared, parts)
    feeds = {
        str(v.name): _checked(
            v, _array_of(v, part, len(parts) > 1), prepared.rows.mixed, _with_batch_axis(part)
        )
        for v, part in zip(prepared.inputs, parts, strict=True)
    }
    for name in prepared.wrt:
        if name in feeds and feeds[name].size == 0:
            raise ShapeError(f"Input {name!r} has shape {feeds[name].shape}: there is no value to explain.")
    rows = {name: len(feeds[name]) for name in feeds if feeds[name].ndim}
    if prepared.rows.apart and len(set(rows.values())) > 1:
        raise ShapeError(f"The inputs have different numbers of samples: {rows}.{_repeating(rows)}")
    check_lengths_of(prepared, feeds)
    return feeds


def _repeating(rows: Mapping[str, int]) -> str:
    """What to do about inputs of one row beside others of several, such as positions that all samples share."""
    most, single = max(rows.values()), [name for name, count in rows.items() if count == 1]
    if set(rows.values()) != {1, most}:
        return ""
    return (
        f" If all samples share {', '.join(map(repr, single))}, repeat it: np.repeat(array, {most}, axis=0)."
    )


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


def _with_batch_axis(part: Any) -> str:
    """How a sample is written as a batch of one."""
    if hasattr(part, "to_frame"):
        return "series.to_frame().T, or keep the row a table: frame.iloc[[i]]"
    return "[x]" if isinstance(part, (list, tuple)) else "x[None]"


def _checked(value: ir.Value, array: np.ndarray, one_sample: bool, batched: str) -> np.ndarray:
    dims = dims_of(value)
    what = f"Input {value.name!r}"
    if dims is not None:
        expected = "(" + ", ".join(str(d if d is not None else "?") for d in dims) + ")"
        if array.ndim != len(dims):
            hint = way_out(dims, array.shape, batched)
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
                f"{'' if one_sample else way_out(dims, array.shape, batched)}"
            )
    if array.ndim and len(array) == 0:
        raise ShapeError(f"{what} is an empty batch (shape {array.shape}); at least one sample is needed.")
    assert value.dtype is not None
    if value.dtype == ir.DataType.STRING:
        return array
    if value.dtype in FLOATS:
        with np.errstate(over="ignore", under="ignore"):
            cast = array.astype(value.dtype.numpy(), copy=False)
        if cast.dtype.itemsize < array.dtype.itemsize:
            check_range(what, array, cast)
        return np.ascontiguousarray(cast) if cast.ndim else cast
    if array.dtype.kind == "f":
        _check_exact(what, array)
    with np.errstate(invalid="ignore"):
        cast = array.astype(value.dtype.numpy(), copy=False)
    changed = array[cast != array]
    if changed.size:
        raise ShapeError(
            f"{what} is {array.dtype} and holds {changed.flat[0]}; the model expects {value.dtype.name.lower()}. "
            "Round or encode the values first."
        )
    return cast


def _check_exact(what: str, array: np.ndarray) -> None:
    """Refuses floats for integers from where on floats leave integers out: 2^24 of float32, 2^53 of float64.

    Raises:
        ShapeError: Shows the first.
    """
    least = 2.0 ** (np.finfo(array.dtype).nmant + 1)
    beyond = array[np.isfinite(array) & (np.abs(array) >= least)]
    if beyond.size:
        raise ShapeError(
            f"{what} holds the {array.dtype} {beyond.flat[0]!r}, which may have been another integer: from {least:.0f} "
            f"on {array.dtype} does not hold them all. Give integers, as an array or a .npy file."
        )


def take(feeds: Mapping[str, np.ndarray], rows: slice | Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
    """The given rows of every feed; feeds without a batch axis stay as they are."""
    return {name: array[rows] if array.ndim else array for name, array in feeds.items()}
