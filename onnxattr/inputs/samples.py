"""From paths to samples for a model, batch by batch: the only place that reads what is explained from files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.errors import ShapeError, few
from onnxattr.files import AnyPath
from onnxattr.inputs.array_files import read_arrays
from onnxattr.inputs.csv_rows import Table, warn_of_missing
from onnxattr.inputs.named import NamedFiles, are_named_files, is_path, named_files
from onnxattr.inputs.paths import as_text, files_in, kind_of
from onnxattr.inputs.photos import is_picture, read_photo
from onnxattr.inputs.pixels import pixel_input
from onnxattr.inputs.waveforms import sound_array
from onnxattr.loading.prepared import Prepared

#: Most samples of a batch unless a size is given.
SIZE = 32


@dataclass(frozen=True)
class Samples:
    """Samples that are explained together.

    Attributes:
        inputs: What ``explain`` takes: an array or table with a row for each sample, or a dict of arrays.
        names: What each sample is called: the file's name, with the row's number where a file has several.
    """

    inputs: Any
    names: tuple[str, ...]


def read_samples(
    paths: AnyPath | Iterable[AnyPath], prepared: Prepared, size: int | None = None
) -> Iterator[Samples]:
    """Reads samples from files, or from the files of folders, as a model takes them.

    Files are read as they are needed. Photos and sounds of one shape that follow each other make up a batch. An array
    (.npy) is a batch, or one sample if it has an axis less than the input.

    Args:
        paths: Photos, sounds, .csv, .npy or .npz files of one kind, or folders of them. All are found, and their
            kinds checked, at once.
        prepared: The model.
        size: Most samples of a batch; None for 32 photos or sounds, and for all that a table or array holds.

    Raises:
        ShapeError: If a file is missing, damaged, or does not fit the model.
        RuntimeMissingError: If a package that decodes the files is not installed.
    """
    files = files_in(paths)
    return _batches(files, prepared, size)


def _batches(files: Sequence[Path], prepared: Prepared, size: int | None) -> Iterator[Samples]:
    kind = kind_of(files[0])
    if kind in ("photo", "sound"):
        single = _photos(files, prepared) if kind == "photo" else _sounds(files, prepared)
        yield from _gathered(single, size or SIZE)
        return
    first: Any = None
    for path in files:
        whole = _whole(path, prepared)
        first = whole.inputs if first is None else first
        yield from _parts(replace(whole, inputs=_in_columns_of(first, whole.inputs, prepared, path)), size)


def _in_columns_of(first: Any, given: Any, prepared: Prepared, path: Path) -> Any:
    """Rows with their columns in the order of the first file's; rows without names have the model's order.

    Raises:
        ShapeError: If a model that has no names for columns would take those of two files for one another.
    """
    own = next(iter(prepared.features.values()), ()) if len(prepared.inputs) == 1 else ()
    wanted, names = _columns_of(first, own), _columns_of(given, own)
    if names == wanted or not (names and wanted):
        return given
    if sorted(names) == sorted(wanted) and len(set(names)) == len(names):
        return Table(wanted, np.asarray(given)[:, [names.index(name) for name in wanted]])
    if own or len(prepared.inputs) > 1:
        return given  # it is refused with what the model wants
    raise ShapeError(
        f"{path} has the columns {few(names)}, and the first file {few(wanted)}; the model has no names of "
        "columns, and takes them in order. Give files with the same columns, or one at a time."
    )


def _columns_of(given: Any, own: Sequence[str]) -> list[str]:
    """The names of the columns of a table, or of an array that has as many as the model."""
    if isinstance(given, Table):
        return list(given.columns)
    return list(own) if np.ndim(given) == 2 and np.shape(given)[1] == len(own) else []


def _photos(photos: Iterable[Any], prepared: Prepared) -> Iterator[tuple[str, np.ndarray]]:
    """Each photo as a batch of one, with its name."""
    taken = pixel_input(prepared)
    for number, photo in enumerate(photos):
        name = _name_of(photo, number)
        told = name if is_picture(photo) else os.fspath(photo)
        yield name, taken.array(read_photo(photo, taken.channels), told)


def _sounds(files: Iterable[Path], prepared: Prepared) -> Iterator[tuple[str, np.ndarray]]:
    first = None
    for path in files:
        array, rate = sound_array(path, prepared, first)
        first = rate if first is None else first
        yield as_text(path.name), array


def _name_of(photo: Any, number: int) -> str:
    given = getattr(photo, "filename", "") if is_picture(photo) else os.fspath(photo)
    return as_text(os.path.basename(given or "")) or f"image {number}"


def _gathered(single: Iterable[tuple[str, np.ndarray]], size: int) -> Iterator[Samples]:
    """Batches of at most ``size`` samples of one shape that follow each other."""
    names: list[str] = []
    arrays: list[np.ndarray] = []
    for name, array in single:
        if arrays and (len(arrays) == size or array.shape != arrays[0].shape):
            yield Samples(np.concatenate(arrays), tuple(names))
            names, arrays = [], []
        names.append(name)
        arrays.append(array)
    if arrays:
        yield Samples(np.concatenate(arrays), tuple(names))


def _whole(path: Path, prepared: Prepared) -> Samples:
    """All samples of a table or of arrays."""
    inputs = read_arrays(path, numbers := _numbers(prepared))
    if path.suffix.lower() == ".csv":
        warn_of_missing(path, inputs, numbers)
    plain = isinstance(inputs, np.ndarray) and inputs.dtype.names is None  # records are rows of named columns
    if plain and len(prepared.inputs) == 1 and not prepared.rows.mixed:
        shape = prepared.inputs[0].shape
        inputs = inputs[None] if shape is not None and inputs.ndim == len(shape) - 1 else inputs
    first = next(iter(inputs.values()), np.empty(0)) if isinstance(inputs, Mapping) else inputs
    count = len(first) if np.ndim(first) and not prepared.rows.mixed else 1
    name = as_text(path.name)
    return Samples(inputs, (name,) if count == 1 else tuple(f"{name}, {row}" for row in range(count)))


def _numbers(prepared: Prepared) -> set[str] | None:
    """The columns of numbers of a model that takes columns by name; None of one that takes them in order.

    What it does not take is refused by its name, whatever it holds.
    """
    if len(prepared.inputs) == 1 and not prepared.features and prepared.inputs[0].dtype != ir.DataType.STRING:
        return None
    names = [str(value.name) for value in prepared.inputs if value.dtype != ir.DataType.STRING]
    return {column for name in names for column in prepared.features.get(name, (name,))}


def _parts(whole: Samples, size: int | None) -> Iterator[Samples]:
    count = len(whole.names)
    if size is None or count <= size:
        yield whole
        return
    for start in range(0, count, size):
        rows = slice(start, start + size)
        given = whole.inputs
        part = (
            {name: array[rows] if array.ndim else array for name, array in given.items()}
            if isinstance(given, Mapping)
            else given[rows]
        )
        yield Samples(part, whole.names[rows])


def named_samples(given: NamedFiles, size: int = SIZE) -> list[Samples]:
    """The samples of files that were given for each input of a model, in batches of one shape."""
    return [Samples(inputs, names) for inputs, names in given.batches(size)]


def groups_of(batches: Sequence[Samples]) -> list[tuple[Samples, list[int]]]:
    """Samples of one shape together, with their places among all; tables and several inputs stay as they are."""
    ends = np.cumsum([len(batch.names) for batch in batches])
    groups: dict[Any, list[tuple[Samples, range]]] = {}
    for number, (batch, end) in enumerate(zip(batches, ends.tolist(), strict=True)):
        array = (
            isinstance(batch.inputs, np.ndarray)
            and batch.inputs.ndim > 0
            and len(batch.inputs) == len(batch.names)
        )
        key = (batch.inputs.shape[1:], batch.inputs.dtype) if array else number
        groups.setdefault(key, []).append((batch, range(end - len(batch.names), end)))
    found = []
    for parts in groups.values():
        first, names = parts[0][0].inputs, [name for batch, _ in parts for name in batch.names]
        inputs = np.concatenate([batch.inputs for batch, _ in parts]) if len(parts) > 1 else first
        found.append((Samples(inputs, tuple(names)), [place for _, places in parts for place in places]))
    return found


def is_files(given: Any, prepared: Prepared) -> bool:
    """Whether something stands for samples in files: a path, an image of Pillow, a list of these, or paths by input.

    Texts are the samples themselves of a model that takes text.
    """
    if are_named_files(given, {str(v.name) for v in prepared.inputs if v.dtype != ir.DataType.STRING}):
        return True
    if any(value.dtype == ir.DataType.STRING for value in prepared.inputs):
        return isinstance(given, os.PathLike)
    one = isinstance(given, (str, os.PathLike)) or is_picture(given)
    several = isinstance(given, (list, tuple)) and bool(given)
    return one or (several and all(isinstance(g, (str, os.PathLike)) or is_picture(g) for g in given))


def are_photos(given: Any, prepared: Prepared) -> bool:
    """Whether something stands for photos: paths of them or of folders that hold them, or images of Pillow."""
    if not is_files(given, prepared):
        return False
    if isinstance(given, Mapping):
        return any(are_photos(part, prepared) for part in given.values() if is_path(part))
    first = given[0] if isinstance(given, (list, tuple)) else given
    return is_picture(first) or kind_of(files_in(first)[0]) == "photo"


def samples_of(given: Any, prepared: Prepared, size: int = SIZE) -> list[Samples]:
    """The samples that a caller of a method names; the arguments and errors are those of ``read_samples``.

    Args:
        given: A path of a file or folder, an image of Pillow, a list of these, or by the names of inputs a path or an
            array for each.
        prepared: The model.
        size: Most photos or sounds of a batch.
    """
    if isinstance(given, Mapping):
        return named_samples(named_files(given, prepared), size)
    parts = list(given) if isinstance(given, (list, tuple)) else [given]
    if not any(map(is_picture, parts)):
        return list(read_samples(parts, prepared))
    mixed: list[Any] = []
    for part in parts:
        mixed += [part] if is_picture(part) else files_in(part)
    if odd := [path for path in mixed if not is_picture(path) and kind_of(path) != "photo"]:
        raise ShapeError(
            f"{odd[0]} is no photo, and images were given with it; give files of one kind in a call."
        )
    return list(_gathered(_photos(mixed, prepared), size))


def together(given: Any, prepared: Prepared) -> Any:
    """The samples that a caller names as one batch; the arguments and errors are those of ``samples_of``.

    Raises:
        ShapeError: If they have different shapes.
    """
    found = samples_of(given, prepared, sys.maxsize if isinstance(given, Mapping) else SIZE)
    if len(found) == 1:
        return found[0].inputs
    tables = [part.inputs for part in found if isinstance(part.inputs, Table)]
    if len(tables) == len(found) and all(table.columns == tables[0].columns for table in tables):
        return Table(tables[0].columns, np.concatenate([np.asarray(table) for table in tables]))
    shapes = sorted({np.shape(part.inputs)[1:] for part in found})
    told = f"columns, {few(tables[-1].columns)} in one" if tables else "kinds"
    told = f"shapes, {shapes[:3]}" if len(shapes) > 1 else told
    if len(shapes) > 1 or not all(isinstance(part.inputs, np.ndarray) for part in found):
        raise ShapeError(
            f"The files hold samples of different {told}, which are no one batch: give them one by one."
        )
    return np.concatenate([part.inputs for part in found])
