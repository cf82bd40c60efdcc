"""Reads rows of named columns, numbers and text, from a Parquet file."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from typing import Any

import numpy as np

from onnxattr.errors import ShapeError
from onnxattr.files import AnyPath
from onnxattr.home import at_home
from onnxattr.inputs import arrow
from onnxattr.inputs.csv_rows import Table
from onnxattr.loading.checks.memory import check_fits
from onnxattr.results.arrow_tables import pyarrow_module

SUFFIXES = (".parquet", ".pq")
#: How pandas calls the column that holds an index without a name.
_INDEX = re.compile(r"__index_level_\d+__")
#: Bytes of a number in an array; of a text at least those of where it begins.
_WIDTHS = {"BOOLEAN": 1, "INT64": 8, "DOUBLE": 8}


def is_parquet(path: AnyPath) -> bool:
    """Whether a file is a Parquet file by its name."""
    return os.path.splitext(os.fspath(path))[1].lower() in SUFFIXES


def read_parquet(path: AnyPath, numbers: Collection[str] | None = None) -> Table:
    """Reads all rows of a Parquet file, without an index that pandas wrote. Missing numbers are NaN.

    Args:
        path: The file.
        numbers: Names of the columns that hold numbers; the others are read as they are. None if all columns do.

    Raises:
        ShapeError: If the file cannot be read, or a column of numbers holds something else: names it.
        RuntimeMissingError: If PyArrow is not installed.
    """
    path, pa = at_home(path), pyarrow_module()
    import pyarrow.parquet as pq

    try:
        if not os.path.isfile(path):
            raise OSError("there is no such file")
        with pq.ParquetFile(path) as file:
            check_fits(_size(file.metadata))
            table = file.read()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ShapeError(f"{path} cannot be read as a Parquet file: {error}") from error
    places = [k for k, name in enumerate(table.column_names) if not _INDEX.fullmatch(name)]
    if not places or not table.num_rows:
        raise ShapeError(f"{path} holds no rows of numbers.")
    columns = [_column(table, place, numbers) for place in places]
    return Table([table.column_names[place] for place in places], np.stack(columns, axis=1))


def _size(metadata: Any) -> int:
    """Bytes that rows take when they are read, at least; runs of equal numbers take fewer in the file."""
    columns = [
        group.column(k)
        for group in map(metadata.row_group, range(metadata.num_row_groups))
        for k in range(group.num_columns)
    ]
    return sum(
        max(_WIDTHS.get(each.physical_type, 4) * each.num_values, each.total_uncompressed_size)
        for each in columns
    )


def _column(table: Any, place: int, numbers: Collection[str] | None) -> np.ndarray:
    name = table.column_names[place]
    if numbers is not None and name not in numbers:
        found = np.empty(table.num_rows, object)
        found[:] = arrow.whole(table.column(place)).to_pylist()
        return found
    found = arrow.numbers(table.column(place), name)
    if found.ndim > 1:
        raise ShapeError(
            f"Column {name!r} has an array in each row; expected one number. Columns of arrays are read by jobs: "
            "-o FOLDER/, or onnxattr.bulk in Python."
        )
    return found
