"""Reads rows of numbers from a CSV file, with the names of its columns where it has a first line of names."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxattr.errors import ShapeError


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


def read_csv(path: str | os.PathLike[str]) -> Table | np.ndarray:
    """Reads numbers of a CSV file: a table if its first line holds names, else an array. Empty fields are NaN.

    Raises:
        ShapeError: If the file cannot be read, a field is no number (names the line and the column), or the first line
            counts its columns, as a header of columns without names does.
    """
    try:
        if not os.path.isfile(path):
            raise OSError("there is no such file")
        with open(path, newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            separator = max(",;\t", key=first.count)
            lines = [line for line in csv.reader(file, delimiter=separator) if line]
    except UnicodeDecodeError as error:
        raise ShapeError(f"{path} cannot be read as a CSV file: {error}. Save it as UTF-8.") from error
    except (OSError, csv.Error) as error:
        raise ShapeError(f"{path} cannot be read as a CSV file: {error}") from error
    named = bool(lines) and not all(_is_number(field) for field in lines[0])
    names = [name.strip() for name in lines[0]] if named else []
    rows = lines[1:] if named else lines
    if not rows:
        raise ShapeError(f"{path} holds no rows of numbers.")
    if not named:
        _check_first(path, lines)
    values = np.empty((len(rows), len(lines[0])), np.float64)
    for number, row in enumerate(rows):
        line = number + 1 + named
        if len(row) != len(lines[0]):
            raise ShapeError(
                f"{path}, line {line}: {len(row)} fields; expected {len(lines[0])}, as in the first line."
            )
        for column, field in enumerate(row):
            if not _is_number(field):
                name = f"column {names[column]!r}" if names else f"field {column + 1}"
                advice = (
                    "Write numbers with a point for decimals and nothing between thousands."
                    if _is_number(field.replace(",", ""))
                    else "Encode text and categories first."
                )
                raise ShapeError(f"{path}, line {line}, {name}: {field!r} is no number. {advice}")
            values[number, column] = float(field) if field.strip() else np.nan
    return Table(names, values) if named else values


def _check_first(path: str | os.PathLike[str], lines: Sequence[Sequence[str]]) -> None:
    """Refuses a first line 0, 1, 2, ..., which pandas writes above columns without names.

    Raises:
        ShapeError: If it is one, with rows below it; of one or two columns it may well be a row.
    """
    first = [field.strip() for field in lines[0]]
    if len(first) > 2 and len(lines) > 1 and first == [str(place) for place in range(len(first))]:
        raise ShapeError(
            f"{path}: the first line is 0, 1, 2, ..., {len(first) - 1}, as above columns that have no names. Remove it "
            "(pandas: header=False); if it is a row of numbers, write it as 0.0, 1.0, ..."
        )


def _is_number(field: str) -> bool:
    try:
        float(field.strip() or "nan")
    except ValueError:
        return False
    return True
