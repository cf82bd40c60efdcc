"""Files for each input of a model, such as photos beside a table: as many samples for each, read batch by batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnxattr.errors import ShapeError
from onnxattr.inputs.array_files import read_arrays
from onnxattr.inputs.csv_rows import Table
from onnxattr.inputs.matching import check_pairs, rows_by_name
from onnxattr.inputs.paths import as_text, files_in, kind_of
from onnxattr.inputs.photos import read_photo
from onnxattr.inputs.pixels import pixel_input
from onnxattr.inputs.waveforms import sound_array
from onnxattr.loading.prepared import Prepared

#: A batch: by the name of each input its samples, and what each sample is called.
Batch = tuple[dict[str, Any], tuple[str, ...]]


@dataclass(frozen=True)
class _Part:
    """What is given for an input.

    Attributes:
        count: The number of samples.
        told: What it is called in messages.
        one: Reads a sample as a batch of one, where each has a file of its own.
        rows: All samples, where one file has them.
    """

    count: int
    told: str
    one: Callable[[int], np.ndarray] | None = None
    rows: Any = None

    def at(self, first: int, last: int) -> Any:
        """The samples from one number to another."""
        return self.rows[first:last]


@dataclass(frozen=True)
class NamedFiles:
    """What is given for each input, with as many samples for each.

    Attributes:
        names: What each sample is called: the name of its file, or the number of its row.
        told: How samples were matched.
        own: Whether samples have names of files.
    """

    parts: Mapping[str, _Part]
    names: tuple[str, ...]
    told: str
    own: bool

    def batches(self, size: int) -> Iterator[Batch]:
        """Batches of at most ``size`` samples that follow each other, of one shape."""
        single = {name: part.one for name, part in self.parts.items() if part.one is not None}
        arrays: dict[str, list[np.ndarray]] = {name: [] for name in single}
        first = 0
        for number in range(len(self.names)):
            read = {name: one(number) for name, one in single.items()}
            other = number > first and any(
                arrays[name][0].shape != array.shape for name, array in read.items()
            )
            if other or number - first == size:
                yield self._batch(arrays, first, number)
                arrays, first = {name: [] for name in single}, number
            for name, array in read.items():
                arrays[name].append(array)
        yield self._batch(arrays, first, len(self.names))

    def _batch(self, arrays: Mapping[str, list[np.ndarray]], first: int, last: int) -> Batch:
        found = {
            name: np.concatenate(arrays[name]) if name in arrays else part.at(first, last)
            for name, part in self.parts.items()
        }
        return found, self.names[first:last]


def are_named_files(given: Any, names: set[str]) -> bool:
    """Whether something names files for some of these inputs."""
    return isinstance(given, Mapping) and any(name in names and is_path(part) for name, part in given.items())


def is_path(given: Any) -> bool:
    """Whether something is a path, or a list of some."""
    several = isinstance(given, (list, tuple)) and bool(given)
    return isinstance(given, (str, os.PathLike)) or (several and all(map(is_path, given)))


def named_files(given: Mapping[str, Any], prepared: Prepared) -> NamedFiles:
    """Finds what is given for each input of a model, and matches the samples.

    Rows of a table with a column of names of the files of another input are matched by it, all others by their order:
    that of names in folders, that of rows in tables and arrays.

    Args:
        given: By the name of each input a file, a folder, several, or an array.
        prepared: The model.

    Raises:
        ShapeError: If an input is missing or unknown, a file cannot be read, or there are other numbers of samples.
    """
    wanted = [str(value.name) for value in prepared.inputs]
    unknown, missing = [n for n in given if n not in wanted], [n for n in wanted if n not in given]
    if unknown or missing:
        raise ShapeError(f"Inputs {wanted} are expected; missing: {missing}, unknown: {unknown}.")
    files = {name: files_in(part) for name, part in given.items() if is_path(part)}
    single = {name: paths for name, paths in files.items() if kind_of(paths[0]) in ("photo", "sound")}
    parts: dict[str, _Part] = {name: _files(name, paths, prepared) for name, paths in single.items()}
    _check_counts(parts)
    names = [as_text(path.name) for path in next(iter(single.values()), [])]
    check_pairs(single)
    told = []
    for name in (name for name in wanted if name not in single):
        paths, key = files.get(name), None
        rows = given[name] if paths is None else _rows(_only(name, paths), name, prepared)
        if paths is not None and isinstance(rows, Table):
            rows, key = rows_by_name(paths[0], rows, names, prepared.features.get(name, ()))
        if key is not None:
            told.append(f"rows of {files[name][0]} with files by their names in the column {key!r}")
        parts[name] = _Part(len(rows), str(paths[0]) if paths else f"the array of {name!r}", rows=rows)
    _check_counts(parts)
    count = next(iter(parts.values())).count
    if len(told) < len(parts) - 1:
        order = f": sample 0 is {', 1 is '.join(names[:2])}" if names else ""
        told.append(f"{' and '.join(part.told for part in parts.values())} in their order{order}")
    return NamedFiles(
        parts, tuple(names or map(str, range(count))), "matched " + "; ".join(told), bool(names)
    )


def _files(name: str, paths: list[Path], prepared: Prepared) -> _Part:
    told = f"{len(paths)} files of {name!r} ({as_text(paths[0].name)}" + (", ...)" if len(paths) > 1 else ")")
    if kind_of(paths[0]) == "photo":
        taken = pixel_input(prepared, name)

        def photo(number: int) -> np.ndarray:
            path = paths[number]
            return taken.array(read_photo(path, taken.channels), os.fspath(path))

        return _Part(len(paths), told, photo)
    rate = sound_array(paths[0], prepared, None, name)[1]
    return _Part(len(paths), told, lambda number: sound_array(paths[number], prepared, rate, name)[0])


def _rows(path: Path, name: str, prepared: Prepared) -> Any:
    """All samples that a file has for an input; columns of a table as text, where they may be names of files."""
    if kind_of(path) == "arrays":
        raise ShapeError(
            f"{path} holds several arrays: give a .npy file for the input {name!r}, or this file alone."
        )
    rows = read_arrays(path, () if kind_of(path) == "table" else None)
    (value,) = [value for value in prepared.inputs if value.name == name]
    rank = None if value.shape is None else len(value.shape)
    return (
        rows[None]
        if isinstance(rows, np.ndarray) and rows.dtype.names is None and rows.ndim + 1 == rank
        else rows
    )


def _only(name: str, paths: list[Path]) -> Path:
    if len(paths) > 1:
        raise ShapeError(f"{len(paths)} files are given for the input {name!r}; expected one table or array.")
    return paths[0]


def _check_counts(parts: Mapping[str, _Part]) -> None:
    """Raises an error where inputs have other numbers of samples.

    Raises:
        ShapeError: If they have.
    """
    if len({part.count for part in parts.values()}) > 1:
        told = ", ".join(f"{part.told}: {part.count}" for part in parts.values())
        raise ShapeError(
            f"The inputs have different numbers of samples; {told}. Give as many for each; a table may name the file "
            "of each row in a column."
        )
