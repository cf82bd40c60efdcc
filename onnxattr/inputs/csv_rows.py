"""Reads rows of numbers and text from a CSV file, with the names of its columns where it has a first line of names."""

from __future__ import annotations

import csv
import os
import warnings
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from onnxattr.errors import ShapeError
from onnxattr.home import at_home

#: What stands for missing values in files of other programs.
_MISSING = ("na", "n/a", "#n/a", "<na>", "null", "none", "nil", "-", "?", ".")
_LISTED = 12


class Table:
    """Rows of named columns, as a CSV file has them."""

    columns: list[str]

    def __init__(self, columns: Sequence[str], values: np.ndarray):
        """Names of the columns, and the values, (rows, columns)."""
        self.columns, self._values = list(columns), values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self._values.astype(dtype) if dtype is not None else self._values

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, key: Any) -> Any:
        """A column by its name, a row by its number, or the rows of a slice as a table."""
        if isinstance(key, str):
            return self._values[:, self.columns.index(key)]
        return Table(self.columns, self._values[key]) if isinstance(key, slice) else self._values[key]

    @property
    def shape(self) -> tuple[int, ...]:
        """Numbers of rows and columns."""
        return self._values.shape


def read_csv(path: str | os.PathLike[str], numbers: Collection[str] | None = None) -> Table | np.ndarray:
    """Reads a CSV file: a table if its first line holds names, else an array. Empty fields are NaN.

    Args:
        path: The file.
        numbers: Names of the columns that hold numbers; the others are read as text, None where a field is empty. None
            if all columns hold numbers.

    Raises:
        ShapeError: If the file cannot be read, a field is no number (names the line and the column), or the first line
            counts its columns, as a header of columns without names does.
    """
    path = at_home(path)
    lines = _lines(path)
    named = bool(lines) and not all(_is_number(field) for field in lines[0][1])
    names = [name.strip() for name in lines[0][1]] if named else []
    rows = lines[1:] if named else lines
    if not rows:
        raise ShapeError(f"{path} holds no rows of numbers.")
    if not named:
        _check_first(path, [line for _, line in lines])
    width = len(lines[0][1])
    texts = [numbers is not None and name not in numbers for name in names] or [False] * width
    values = np.empty((len(rows), width), object if any(texts) else np.float64)
    for place, (number, row) in enumerate(rows):
        if len(row) != width:
            raise ShapeError(
                f"{path}, line {number}: {len(row)} fields; expected {width}, as in the first line."
            )
        for column, field in enumerate(row):
            if texts[column]:
                values[place, column] = field or None
                continue
            if not _is_number(field):
                name = f"column {names[column]!r}" if names else f"field {column + 1}"
                raise ShapeError(f"{path}, line {number}, {name}: {field!r} is no number. {_advice(field)}")
            values[place, column] = float(field) if field.strip() else np.nan
    return Table(names, values) if named else values


def _lines(path: str | os.PathLike[str]) -> list[tuple[int, list[str]]]:
    """The lines of a file that are not empty, with their numbers.

    Raises:
        ShapeError: If it cannot be read.
    """
    try:
        if not os.path.isfile(path):
            raise OSError("there is no such file")
        with open(path, newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            separator = max(",;\t", key=first.count)
            reader = csv.reader(file, delimiter=separator)
            return [(reader.line_num, line) for line in reader if line]
    except UnicodeDecodeError as error:
        raise ShapeError(f"{path} cannot be read as a CSV file: {error}. Save it as UTF-8.") from error
    except (OSError, csv.Error) as error:
        raise ShapeError(f"{path} cannot be read as a CSV file: {error}") from error


def _advice(field: str) -> str:
    """What to do about a field that is no number."""
    if _is_number(field.replace(",", "")):
        return "Write numbers with a point for decimals and nothing between thousands."
    if field.strip().lower() in _MISSING:
        return "Leave the fields of missing values empty."
    return (
        "Encode text and categories first; for inputs of text name the columns as the model does, or give a .npz file, "
        "an array for each input."
    )


def _check_first(path: str | os.PathLike[str], lines: Sequence[Sequence[str]]) -> None:
    """Refuses a first line 0, 1, 2, ..., which pandas writes above columns without names, behind a field for its index.

    Of one or two columns it may well be a row: there it is refused above decimals alone. Of other whole numbers above
    decimals, which may name columns too, a warning tells that they are a row.

    Raises:
        ShapeError: If it is one, with rows below it.
    """
    first = [field.strip() for field in lines[0]]
    if len(lines) < 2:
        return
    counted = first[1:] if not first[0] and len(first) > 1 else first
    decimals = not any(_is_whole(field) for line in lines[1:] for field in line)
    if counted == [str(place) for place in range(len(counted))] and (len(first) > 2 or decimals):
        raise ShapeError(
            f"{path}: the first line is 0, 1, 2, ..., {len(counted) - 1}, as above columns that have no names. Remove "
            "it (pandas: header=False, index=False); if it is a row of numbers, write it as 0.0, 1.0, ..."
        )
    if decimals and all(map(_is_whole, first)) and len(set(first)) == len(first):
        warnings.warn(
            f"{path}: the first line, {', '.join(first[:_LISTED])}, is read as a row of numbers. It holds whole "
            "numbers above decimals: remove it if these are names of columns.",
            stacklevel=3,
        )


def _is_whole(field: str) -> bool:
    return field.strip().isdigit()


def _is_number(field: str) -> bool:
    """Whether a field is a number or empty; 2021_01, which Python reads as 202101, is a code or a name."""
    try:
        float(field.strip() or "nan")
    except ValueError:
        return False
    return "_" not in field
