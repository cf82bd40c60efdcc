"""PyArrow, which is an extra, and Parquet files of tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from onnxattr.errors import RuntimeMissingError
from onnxattr.files import AnyPath, whole_file


def pyarrow_module() -> Any:
    """PyArrow.

    Raises:
        RuntimeMissingError: If it is not installed.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise RuntimeMissingError(
            "Arrow batches and Parquet files need PyArrow: pip install onnxattr[bulk] (or pip install pyarrow)."
        ) from error
    return pyarrow


def write_parquet(columns: Mapping[str, list[Any] | np.ndarray], path: AnyPath) -> None:
    """Writes columns of one length, by their names.

    Raises:
        RuntimeMissingError: If PyArrow is not installed.
        ParameterError: If the file cannot be written.
    """
    pa = pyarrow_module()
    import pyarrow.parquet as pq

    table = pa.table({name: pa.array(column) for name, column in columns.items()})
    with whole_file(path) as file:
        pq.write_table(table, file)
