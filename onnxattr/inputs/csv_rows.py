"""Reads rows of numbers and text from a CSV file, with the names of its columns where it has a first line of names."""

from __future__ import annotations

import csv
import os
import re
import warnings
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from onnxattr.errors import ShapeError
from onnxattr.home import at_home

#: What stands for missing values in files of other programs.
_MISSING = ("na", "n/a", "#n/a", "<na>", "null", "none", "nil", "-", "?", ".")
#: Those that pandas reads as missing in columns of text.
_MISSING_TEXTS = ("na", "n/a", "#n/a", "<na>", "null", "none", "nan")
#: How files spell the truth values of a column of numbers, and how Excel names its separator in a line of its own.
_TRUTH = {"true": 1.0, "false": 0.0}
_SEPARATOR = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE)
_ONE_KIND = "Write one kind in a column: True and False, or numbers."
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
    """Reads a CSV file: a table if its first line holds names, else an array. Empty fields are NaN, True 1 and False 0.

    Args:
        path: The file.
        numbers: Names of the columns that hold numbers; the others are read as text, None where a field is empty. None
            if all columns hold numbers.

    Raises:
        ShapeError: If the file cannot be read, a field is no number (names the line and the column), a column holds
            numbers beside truth values, or the first line counts its columns, as a header of columns without names
            does, or is a row with a field that is no number.
    """
    path = at_home(path)
    lines = _lines(path)
    named = bool(lines) and not _is_row([line for _, line in lines])
    names = [name.strip() for name in lines[0][1]] if named else []
    rows = lines[1:] if named else lines
    if not rows:
        raise ShapeError(f"{path} holds no rows of numbers.")
    if named:
        _check_names(path, lines[0])
    else:
        _check_first(path, [line for _, line in lines])
    width = len(lines[0][1])
    texts = [numbers is not None and name not in numbers for name in names] or [False] * width
    _check_truth(path, rows, [not text for text in texts], names)
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
            if not (_is_number(field) or _is_truth(field)):
                told = _told(names, column)
                raise ShapeError(f"{path}, line {number}, {told}: {field!r} is no number. {_advice(field)}")
            values[place, column] = _number(field)
    return Table(names, values) if named else values


def warn_of_missing(path: str | os.PathLike[str], table: Any, numbers: Collection[str] | None) -> None:
    """Says of columns of text that hold what stands for missing values in files of other programs, such as NA.

    Args:
        path: The file.
        table: What ``read_csv`` gave.
        numbers: Names of the columns that hold numbers; None if all do.
    """
    if numbers is None or not isinstance(table, Table):
        return
    for name in (name for name in table.columns if name not in numbers):
        found = next(
            (v for v in table[name] if isinstance(v, str) and v.strip().lower() in _MISSING_TEXTS), None
        )
        if found is not None:
            warnings.warn(
                f"{path}, column {name!r}: {found!r} is read as a text, and as no missing value, which pandas makes of "
                "it. Fill missing values in, or leave these rows out.",
                stacklevel=3,
            )


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
            named = _SEPARATOR.fullmatch(first)
            if named is None:
                file.seek(0)
            separator = named[1] if named else max(",;\t", key=first.count)
            reader = csv.reader(file, delimiter=separator)
            return [(reader.line_num + (named is not None), line) for line in reader if line]
    except UnicodeDecodeError as error:
        raise ShapeError(f"{path} cannot be read as a CSV file: {error}. Save it as UTF-8.") from error
    except (OSError, csv.Error) as error:
        raise ShapeError(f"{path} cannot be read as a CSV file: {error}") from error


def _advice(field: str) -> str:
    """What to do about a field that is no number."""
    if _is_number(field.replace(",", "")):
        return "Write numbers with a point for decimals and nothing between thousands."
    if _is_truth(field):
        return _ONE_KIND
    if _is_missing(field):
        return "Leave the fields of missing values empty."
    return (
        "Leave out columns that the model does not take, such as an id. Encode text and categories "
        "first; for inputs of text name the columns as the model does, or give a .npz file, "
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


def _check_names(path: str | os.PathLike[str], first: tuple[int, Sequence[str]]) -> None:
    """Refuses a first line of numbers with a field that stands for a missing one, or is written in another way.

    It would be taken for names of columns, and be no row. Of other text beside decimals a warning tells that.

    Raises:
        ShapeError: If it is one.
    """
    number, fields = first
    numbers = [field for field in fields if field.strip() and _is_number(field)]
    others = [field for field in fields if not _is_number(field)]
    if numbers and all(
        _is_missing(field) or _is_truth(field) or _is_number(field.replace(",", "")) for field in others
    ):
        place = list(fields).index(others[0]) + 1
        raise ShapeError(
            f"{path}, line {number}, field {place}: {others[0]!r} is no number, and other fields of the first line "
            f"are. {_advice(others[0])}"
        )
    if any(not _is_whole(field) for field in numbers):
        warnings.warn(
            f"{path}: the first line, {', '.join(fields[:_LISTED])}, is read as names of columns. It holds decimals: "
            f"if it is a row, write {others[0]!r} as a number.",
            stacklevel=3,
        )


def _check_truth(
    path: str | os.PathLike[str],
    rows: Sequence[tuple[int, Sequence[str]]],
    checked: Sequence[bool],
    names: Sequence[str],
) -> None:
    """Refuses truth values and numbers in one column.

    Raises:
        ShapeError: If a column has both.
    """
    for column in (place for place, check in enumerate(checked) if check):
        known = [(line, row[column]) for line, row in rows if column < len(row) and row[column].strip()]
        truths = [(line, field) for line, field in known if _is_truth(field)]
        odd = next((field for _, field in known if _is_number(field)), None)
        if truths and odd is not None:
            line, field = truths[0]
            raise ShapeError(
                f"{path}, line {line}, {_told(names, column)}: {field!r} is a truth value, and the column holds "
                f"{odd!r} too. {_ONE_KIND}"
            )


def _is_row(lines: Sequence[Sequence[str]]) -> bool:
    """Whether a first line holds values: numbers, or truth values above truth values; False and True may be names."""
    return all(
        _is_number(field)
        or (
            _is_truth(field)
            and all(_is_truth(line[k]) or not line[k].strip() for line in lines[1:] if k < len(line))
        )
        for k, field in enumerate(lines[0])
    )


def _told(names: Sequence[str], column: int) -> str:
    return f"column {names[column]!r}" if names else f"field {column + 1}"


def _is_truth(field: str) -> bool:
    return field.strip().lower() in _TRUTH


def _is_missing(field: str) -> bool:
    return field.strip().lower() in _MISSING


def _number(field: str) -> float:
    """The number that a field holds; NaN if it is empty."""
    text = field.strip()
    return _TRUTH[text.lower()] if _is_truth(text) else float(text or "nan")


def _is_whole(field: str) -> bool:
    return field.strip().isdigit()


def _is_number(field: str) -> bool:
    """Whether a field is a number or empty; 2021_01, which Python reads as 202101, is a code or a name."""
    try:
        float(field.strip() or "nan")
    except ValueError:
        return False
    return "_" not in field
