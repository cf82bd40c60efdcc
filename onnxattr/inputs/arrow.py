"""Arrays of columns of PyArrow."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxattr.errors import ShapeError
from onnxattr.results.arrow_tables import pyarrow_module

if TYPE_CHECKING:
    import pyarrow as pa


def is_list(kind: pa.DataType) -> bool:
    """Whether a column has an array in each row."""
    types = pyarrow_module().types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def holds_files(kind: pa.DataType) -> bool:
    """Whether a column has the content of a file in each row: bytes, or an object of bytes and path."""
    types = pyarrow_module().types
    if types.is_struct(kind):
        return bool(any(field.name == "bytes" and holds_files(field.type) for field in kind))
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def is_array(kind: pa.DataType) -> bool:
    """Whether each row of a column is a sample of its own: an array, a tensor, or a picture's file."""
    return is_list(storage(kind)) or holds_files(kind)


def storage(kind: pa.DataType) -> pa.DataType:
    """The type that an extension type is stored as; others as they are."""
    while hasattr(kind, "storage_type"):
        kind = kind.storage_type
    return kind


def whole(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column in one piece, without extension types and dictionaries, as tables of categories have them."""
    array = column.combine_chunks() if hasattr(column, "chunks") else column
    if hasattr(array, "chunks"):  # what has no rows stays in chunks
        array = pyarrow_module().array([], array.type)
    while hasattr(array, "storage"):
        array = array.storage
    if pyarrow_module().types.is_dictionary(array.type):
        array = array.dictionary.take(array.indices)
    return array


def numbers(column: pa.ChunkedArray | pa.Array, name: str) -> np.ndarray:
    """A column of numbers, or of arrays of one shape, (rows, ...). Missing numbers are NaN.

    Raises:
        ShapeError: If a row is missing, rows differ in shape, or hold no numbers: names the column.
    """
    array, shape = whole(column), [len(column)]
    sizes = _sizes(column)
    while is_list(array.type):
        if array.null_count:
            raise ShapeError(f"Column {name!r}: row {_first_null(array)} is null; expected an array.")
        if hasattr(array.type, "list_size"):
            size = array.type.list_size
        else:
            lengths = np.diff(array.offsets.to_numpy())
            size = int(lengths[0]) if len(lengths) else 0
            if odd := np.flatnonzero(lengths != size).tolist():
                raise ShapeError(
                    f"Column {name!r}: the arrays have different lengths, {size} and {int(lengths[odd[0]])}."
                )
        array = array.flatten()
        shape.append(size)
    types = pyarrow_module().types
    if types.is_decimal(array.type):
        array = array.cast("float64")
    kind = array.type
    if not is_number(kind):
        raise ShapeError(
            f"Column {name!r} holds {kind}; expected numbers, or arrays of numbers. "
            "Leave it out if the model does not take it."
        )
    found = np.asarray(array.to_numpy(zero_copy_only=False)).reshape(shape)
    if sizes is None:
        return found
    physical, axes = sizes
    return found.reshape(len(found), *physical).transpose(0, *(axis + 1 for axis in axes))


def texts(column: pa.ChunkedArray | pa.Array, name: str) -> np.ndarray:
    """A column of text, (rows,).

    Raises:
        ShapeError: If a row is null, or it holds something else: names the column.
    """
    array = whole(column)
    if not is_text(array.type):
        raise ShapeError(f"Column {name!r} holds {array.type}; expected text, as the model was trained on.")
    if array.null_count:
        raise ShapeError(f"Column {name!r}: row {_first_null(array)} is null; expected text.")
    found = np.empty(len(array), object)
    found[:] = array.to_pylist()
    return found


def is_number(kind: pa.DataType) -> bool:
    """Whether a column has a number in each row; True and False are 1 and 0."""
    types = pyarrow_module().types
    return bool(
        types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind)
    )


def is_text(kind: pa.DataType) -> bool:
    """Whether a column has a text in each row."""
    types = pyarrow_module().types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _sizes(column: pa.ChunkedArray | pa.Array) -> tuple[list[int], list[int]] | None:
    """The shape in which a column of tensors is stored, and the order in which it names its axes; None for others."""
    sizes = getattr(column.type, "shape", None)
    if sizes is None or not all(isinstance(size, int) for size in sizes):
        return None
    given = getattr(column.type, "permutation", None)
    return list(sizes), list(range(len(sizes)) if given is None else given)


def files(column: pa.ChunkedArray | pa.Array, name: str) -> list[Any]:
    """The files that a column holds, open for reading.

    Raises:
        ShapeError: If a row is null.
    """
    array = whole(column)
    if pyarrow_module().types.is_struct(array.type):
        array = array.field("bytes")
    if array.null_count:
        raise ShapeError(f"Column {name!r}: row {_first_null(array)} is null; expected the bytes of a file.")
    return [_file(content, f"column {name!r}, row {row}") for row, content in enumerate(array.to_pylist())]


def _file(content: bytes, name: str) -> io.BytesIO:
    file = io.BytesIO(content)
    file.name = name
    return file


def _first_null(array: pa.Array) -> int:
    nulls: Sequence[bool] = array.is_null().to_pylist()
    return nulls.index(True)
