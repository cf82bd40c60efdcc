"""Tables with named columns, of pandas, polars or a CSV file: their columns are matched with a model's by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from onnxattr.callers import warn_caller
from onnxattr.errors import ShapeError, few

_INDEX = "A column without a name is an index: to_csv(..., index=False) leaves it out."


class Columns:
    """A dict of columns as a table."""

    def __init__(self, columns: Mapping[str, Any]):
        """Columns by name."""
        self.columns, self._given = list(columns), columns

    def __getitem__(self, key: Any) -> Any:
        """A column by its name."""
        return self._given[key]


def is_frame(value: Any) -> bool:
    """Whether something is a table with named columns; a NumPy array with named fields is one."""
    if isinstance(value, np.ndarray):
        return value.dtype.names is not None
    named = hasattr(value, "columns") or hasattr(value, "column_names")
    return (
        named
        and not isinstance(value, Mapping)
        and (hasattr(value, "__array__") or hasattr(value, "to_numpy"))
    )


def columns_of(frame: Any) -> list[Any]:
    """The names of the columns of a table, in its order."""
    if isinstance(frame, np.ndarray):
        return list(frame.dtype.names or ())
    return list(frame.column_names if hasattr(frame, "column_names") else frame.columns)


def column(frame: Any, name: Any) -> np.ndarray:
    """A column as numbers, (rows,); missing ones as NaN.

    Raises:
        ShapeError: If it holds something else.
    """
    return _numbers(frame[name], name)


def _numbers(given: Any, name: Any) -> np.ndarray:
    array = np.asarray(given)
    if array.dtype.kind in "fiub" or array.dtype.name == "bfloat16":
        return array
    try:
        if array.dtype.kind != "O":
            raise TypeError(array.dtype)
        if any(isinstance(value, str) and "_" in value for value in array.ravel()):
            raise ValueError("a code or a name: Python reads 2021_01 as 202101")
        if hasattr(given, "isna"):  # pandas: a missing value of its own kind is no float
            given = given.to_numpy(dtype=np.float64, na_value=np.nan)
        return np.asarray(given, np.float64)
    except (ValueError, TypeError) as error:
        shown = next((repr(v) for v in array.tolist() if not isinstance(v, (int, float))), "no numbers")
        raise ShapeError(
            f"Column {name!r} holds {getattr(given, 'dtype', array.dtype)} values such as {shown}; expected "
            "numbers. Encode text, categories and dates as the model was trained on them."
        ) from error


def _all_columns(frame: Any) -> list[np.ndarray]:
    """The columns of a table in its order; by their places where two have one name."""
    names = columns_of(frame)
    if len(set(names)) == len(names):
        return [column(frame, name) for name in names]
    rows = frame.iloc if hasattr(frame, "iloc") else np.asarray(frame)
    return [_numbers(rows[:, place], name) for place, name in enumerate(names)]


def matched(
    frame: Any, wanted: Sequence[str], what: str, texts: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """The columns that a model wants, by name; those of ``texts`` as they are, the others as numbers.

    Columns without names, which frames made of plain arrays have numbers for, are taken in order, with a warning.

    Raises:
        ShapeError: If columns are missing, unknown or named twice: lists them.
    """
    given = columns_of(frame)
    if any(isinstance(name, tuple) for name in given):
        raise ShapeError(
            f"{what}: the columns of the table have names of several levels, {few(given)}; the model's have one, "
            f"{few(wanted)}. Give a table with these: frame.columns = frame.columns.get_level_values(-1)."
        )
    if given and not any(isinstance(name, str) for name in given) and len(given) == len(wanted):
        warn_caller(
            f"{what}: the columns of the table have no names, so they are taken in the model's order, {few(wanted)}."
        )
        return {name: _column(frame, own, name in texts) for name, own in zip(wanted, given, strict=True)}
    twice = [name for name, count in Counter(given).items() if count > 1]
    missing = [name for name in wanted if name not in given]
    unknown = [name for name in given if name not in wanted]
    if twice or missing or unknown:
        told = (("missing", missing), ("unknown", unknown), ("named twice", twice))
        leave = f" {_INDEX}" if any(map(_is_index, unknown)) else ""
        raise ShapeError(
            f"{what}: the columns of the table are not those of the model; "
            f"{', '.join(f'{kind}: {few(names)}' for kind, names in told if names)}. Give exactly these, in any "
            f"order: {few(wanted)}.{leave}"
        )
    columns = {name: _column(frame, name, name in texts) for name in wanted}
    shapes = {name: np.shape(values) for name, values in columns.items()}
    odd = next(
        (name for name, shape in shapes.items() if len(shape) != 1 or shape != shapes[wanted[0]]), None
    )
    if odd is not None:
        raise ShapeError(
            f"{what}: column {odd!r} has the shape {shapes[odd]}, and {wanted[0]!r} {shapes[wanted[0]]}; expected one "
            "value for each row in every column. A single row is written as columns of one value."
        )
    return columns


def _is_index(name: Any) -> bool:
    """Whether a name is what pandas writes in front of a table, or how it reads that."""
    return name == "" or str(name).startswith("Unnamed: ")


def _column(frame: Any, name: Any, text: bool) -> np.ndarray:
    return np.asarray(frame[name], object) if text else column(frame, name)


def parts_of(
    frame: Any,
    features: Mapping[str, Sequence[str]],
    ranks: Mapping[str, int],
    texts: Collection[str] = (),
) -> dict[str, np.ndarray]:
    """The arrays that a model takes of a table: columns side by side, or one column for each input of that name.

    A single input without names of features takes the columns in order.

    Args:
        frame: The table.
        features: Names of the columns of each input that has some.
        ranks: Rank of each input of the model.
        texts: Names of the inputs that take text.

    Raises:
        ShapeError: If the columns do not match the names.
    """
    if len(ranks) == 1 and not features and list(ranks) != (given := columns_of(frame)):
        if len(given) > 1 and _is_index(given[0]) and not any(map(_is_index, given[1:])):
            raise ShapeError(
                f"The input: the first column of the table, {given[0]!r}, has no name, and the others, "
                f"{few(given[1:])}, have one. {_INDEX}"
            )
        return {name: np.stack(_all_columns(frame), axis=1) for name in ranks}
    wanted = {name: list(features.get(name, (name,))) for name in ranks}
    columns = matched(frame, [name for names in wanted.values() for name in names], "The input", texts)
    return {
        name: np.stack([columns[c] for c in wanted[name]], axis=1) if rank == 2 else columns[wanted[name][0]]
        for name, rank in ranks.items()
    }


def order_of(frame: Any, features: Mapping[str, Sequence[str]]) -> dict[str, list[int]]:
    """Where the columns of a table stand among those of the model's input, in the order of the table."""
    given = columns_of(frame)
    return {
        name: [list(columns).index(column) for column in given]
        for name, columns in features.items()
        if sorted(map(str, given)) == sorted(columns) and list(columns) != given
    }


def in_order(array: np.ndarray, order: Sequence[int] | None) -> np.ndarray:
    """A map (rows, features) with its columns in the order of the table that was given; None for the model's."""
    return (
        array if order is None or array.ndim != 2 or array.shape[1] != len(order) else array[:, list(order)]
    )
