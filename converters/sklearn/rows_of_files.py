"""Rows of a sample's file as a scikit-learn estimator takes them: tables with columns of text as pandas reads them."""

import os
from typing import Any

import numpy as np

from onnxattr.errors import ConversionError
from onnxattr.inputs.array_files import read_arrays
from onnxattr.inputs.csv_rows import Table
from onnxattr.inputs.parquet_rows import is_parquet

#: Truth values as Python, R and JSON spell them.
_TRUTH = {text: text.lower() == "true" for text in ("True", "TRUE", "true", "False", "FALSE", "false")}


def read_rows(path: str | os.PathLike[str], estimator: Any, by_column: bool = False) -> Any:
    """The rows of a file: an array or table of numbers; with columns of text, or for `by_column`, a pandas table.

    Args:
        path: The file.
        estimator: What takes the rows; it tells which columns of a .csv file are text that looks like numbers.
        by_column: Whether the columns stay apart though all of them are numbers.

    Raises:
        ConversionError: Text has no names of columns, or pandas is not installed.
        ShapeError: The file cannot be read.
    """
    if not os.fspath(path).lower().endswith(".csv") and not is_parquet(path):
        return read_arrays(path)
    table = read_arrays(path, ())
    if not isinstance(table, Table):
        return table
    texts = _text_of(estimator)
    columns = {
        name: _column(np.asarray(table)[:, place], name in texts or is_parquet(path))
        for place, name in enumerate(table.columns)
    }
    if len(columns) < len(table.columns):
        raise ConversionError(f"The sample {path} has two columns of one name; rename one.")
    if not by_column and all(column.dtype.kind == "f" for column in columns.values()):
        # A Parquet file's own types matter, and reading it again is cheap.
        return (
            read_arrays(path) if is_parquet(path) else Table(table.columns, np.stack([*columns.values()], 1))
        )
    try:
        import pandas as pd
    except ImportError as error:
        raise ConversionError(
            f"The sample {path} has columns of text, which an estimator takes as a pandas table: pip install pandas"
        ) from error
    return pd.DataFrame(columns)


def _text_of(estimator: Any) -> set[str]:
    """The names of the columns that the parts of an estimator were fitted on as text."""
    found: set[str] = set()
    waiting, seen = [estimator], set()
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, (list, tuple)):
            waiting += part
        elif hasattr(part, "fit"):
            names = getattr(part, "feature_names_in_", ())
            known: Any = getattr(part, "categories_", None) or getattr(part, "statistics_", ())
            if len(names) == len(known):
                found |= {str(name) for name, one in zip(names, known, strict=True) if _has_text(one)}
            waiting += vars(part).values()
    return found


def _has_text(values: Any) -> bool:
    return any(isinstance(value, str) for value in np.ravel(values).tolist())


def _column(values: np.ndarray, typed: bool) -> np.ndarray:
    """A column of a table in the type that all of its values have: numbers, truth values or text.

    Args:
        values: The values, None for those that are missing.
        typed: Whether text is text, whatever it looks like.
    """
    given = values.tolist()
    if typed and _has_text(given):
        return np.array(given, object)
    known = [value for value in given if value is not None]
    if (
        known
        and len(known) == len(given)
        and all(value in _TRUTH or isinstance(value, bool) for value in known)
    ):
        return np.array([_TRUTH.get(value, value) for value in given], bool)
    try:
        return np.array([np.nan if value is None else _number(value) for value in given], np.float64)
    except ValueError:
        return np.array(given, object)


def _number(value: Any) -> float:
    if isinstance(value, str) and "_" in value:  # a code, which Python would read as a number
        raise ValueError(value)
    return float(value)
