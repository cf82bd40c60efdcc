"""Reads arrays from .npy, .npz, .csv and .parquet files without running what is in them."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Collection
from typing import Any

import numpy as np

from onnxattr.errors import ShapeError
from onnxattr.files import AnyPath
from onnxattr.home import at_home
from onnxattr.inputs.csv_rows import read_csv
from onnxattr.inputs.parquet_rows import is_parquet, read_parquet
from onnxattr.loading.checks.memory import check_fits

#: The longest axis of an array of no bytes.
_MOST_EMPTY = 2**20
#: How archives begin, those of nothing too.
_ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06")


def read_arrays(path: AnyPath, numbers: Collection[str] | None = None) -> Any:
    """The array of a .npy file, or those of a .npz file by name; the rows of a .csv or .parquet file. Never unpickles.

    Args:
        path: The file.
        numbers: Names of the columns of rows that hold numbers, where others hold text; see ``read_csv``.

    Raises:
        ShapeError: If the file is missing, damaged, or holds anything but arrays of numbers or text.
    """
    path = at_home(path)
    if os.fspath(path).lower().endswith(".csv"):
        return read_csv(path, numbers)
    if is_parquet(path):
        return read_parquet(path, numbers)
    try:
        if not os.path.isfile(path):
            raise OSError("there is no such file")
        with open(path, "rb") as file:
            archive = file.read(len(_ARCHIVES[0])) in _ARCHIVES
        if archive:
            return _members(path)
        check_fits(os.path.getsize(path))
        loaded = np.load(path, allow_pickle=False)
        _check_rows(loaded)
        return loaded
    except Exception as error:
        # What NumPy, zipfile and zlib raise on damaged files is no closed list.
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ShapeError(
            f"{os.fspath(path)} is not a .npy file of numbers, or .npz of several: {reason}. Save it with numpy.save, "
            "or rows as .csv."
        ) from error


def _members(path: AnyPath) -> dict[str, np.ndarray]:
    """The arrays of an archive. NumPy's own reader gives one of x and x.npy twice.

    Raises:
        ValueError: If two have one name, one is no array, or they need more memory than there is.
    """
    arrays: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        check_fits(sum(entry.file_size for entry in entries))
        for entry in entries:
            name = entry.filename.removesuffix(".npy")
            if name in arrays:
                raise ValueError(f"two arrays in it are called {name!r}")
            with archive.open(entry) as content:
                arrays[name] = np.lib.format.read_array(content, allow_pickle=False)
            _check_rows(arrays[name])
    return arrays


def _check_rows(array: np.ndarray) -> None:
    """Refuses more rows without a byte than there is work for, which a file of a few bytes may say that it has.

    Raises:
        ValueError: If there are.
    """
    if not array.nbytes and max(array.shape, default=0) > _MOST_EMPTY:
        raise ValueError(f"its shape is {array.shape}, and it holds no number")
