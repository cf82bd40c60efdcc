"""Reads arrays from .npy, .npz, .csv and .parquet files without running what is in them."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any

import numpy as np

from onnxattr.errors import ShapeError
from onnxattr.files import AnyPath
from onnxattr.home import at_home
from onnxattr.inputs.csv_rows import read_csv
from onnxattr.inputs.parquet_rows import is_parquet, read_parquet

#: The longest axis of an array of no bytes.
_MOST_EMPTY = 2**20


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
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            _check_rows(loaded)
            return loaded
        with loaded:
            arrays = {name: loaded[name] for name in loaded.files}
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):
            raise ValueError("not all that is in it are arrays")
        for array in arrays.values():
            _check_rows(array)
        return arrays
    except Exception as error:
        # What NumPy, zipfile and zlib raise on damaged files is no closed list.
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ShapeError(
            f"{os.fspath(path)} is not a .npy file of numbers, or .npz of several: {reason}. Save it with numpy.save, "
            "or rows as .csv."
        ) from error


def _check_rows(array: np.ndarray) -> None:
    """Refuses more rows without a byte than there is work for, which a file of a few bytes may say that it has.

    Raises:
        ValueError: If there are.
    """
    if not array.nbytes and max(array.shape, default=0) > _MOST_EMPTY:
        raise ValueError(f"its shape is {array.shape}, and it holds no number")
