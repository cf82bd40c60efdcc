"""Matching samples of several inputs: rows of a table with files whose names a column holds, files with files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from onnxattr.errors import ShapeError, few
from onnxattr.inputs.array_files import read_arrays
from onnxattr.inputs.csv_rows import Table
from onnxattr.inputs.paths import as_text


def rows_by_name(path: Path, rows: Table, files: list[str], own: tuple[str, ...]) -> tuple[Table, str | None]:
    """A table of numbers, in the order of the files that a column of it names, and that column; None without one.

    Args:
        path: The table's file.
        rows: Its rows as text.
        files: Names of the other input's files.
        own: The names of the model's columns, which name no files; with them a name may leave out its suffix.
    """
    known = dict(zip(files, files, strict=True))
    if own:
        known = dict(zip(map(_stem, files), files, strict=True)) | known
    keys = [
        name for name in rows.columns
        if name not in own and rows.columns.count(name) == 1 and any(_name(each) in known for each in rows[name])
    ]  # fmt: skip
    if len(keys) > 1:
        raise ShapeError(f"{path}: the columns {few(keys)} hold names of files; leave one of them.")
    table = read_arrays(path, set(rows.columns) - set(keys))
    if not keys:
        return table, None
    (key,) = keys
    named = [known.get(_name(each), _name(each)) for each in rows[key]]
    twice = [name for given in (files, named) for name, times in Counter(given).items() if times > 1]
    without, beyond = [n for n in files if n not in named], [n for n in named if n not in files]
    if twice or without or beyond:
        what = (("files without a row", without), ("rows without a file", beyond), ("more than once", twice))
        raise ShapeError(
            f"{path}, column {key!r}: rows are matched with files by their names; "
            f"{', '.join(f'{kind}: {few(odd)}' for kind, odd in what if odd)}. Give one row for each file."
        )
    places = [place for place, name in enumerate(rows.columns) if name != key]
    values = np.asarray(table)[[named.index(name) for name in files]][:, places]
    return Table([rows.columns[place] for place in places], values.astype(np.float64)), key


def _name(field: Any) -> str:
    """The name of a file that a field may hold."""
    return str(field).strip().replace("\\", "/").rsplit("/", 1)[-1]


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]


def check_pairs(single: Mapping[str, list[Path]]) -> None:
    """Refuses files of two inputs of which some have the same name, and others have none of theirs at their place.

    Raises:
        ShapeError: If there are some.
    """
    first, *others = [[_stem(as_text(path.name)) for path in paths] for paths in single.values()] or [[]]
    for stems in others:
        odd = [pair for pair in zip(first, stems, strict=True) if pair[0] != pair[1]]
        if odd and set(first) & set(stems):
            raise ShapeError(
                f"Files of {list(single)} have the same names, but {odd[0][0]!r} stands beside {odd[0][1]!r}. Give the "
                "same names in each folder, or all files in the order of their samples under other names."
            )
