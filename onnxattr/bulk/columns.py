"""Which columns of a table go into a model, and how."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from onnxattr.errors import ParameterError, ShapeError
from onnxattr.graph.values import dims_of
from onnxattr.inputs import arrow
from onnxattr.inputs.photos import read_photo
from onnxattr.inputs.pixels import pixel_input
from onnxattr.loading.prepared import Prepared

if TYPE_CHECKING:
    import pyarrow as pa

_LISTED = 12


@dataclass(frozen=True)
class Feeding:
    """What goes into each input: one column of arrays, or columns of numbers side by side.

    Attributes:
        columns: Names of columns by input; a single one for a column of arrays, or of numbers for an input (N,).
        named: Whether the columns are the model's features, which are matched by name.
    """

    columns: Mapping[str, tuple[str, ...]]
    named: bool = False

    def of_pictures(self, schema: pa.Schema) -> bool:
        """Whether the only column that is fed holds pictures."""
        return len(self.used) == 1 and arrow.holds_files(schema.field(self.used[0]).type)

    @property
    def used(self) -> tuple[str, ...]:
        """All columns that are fed."""
        return tuple(name for names in self.columns.values() for name in names)


def feeding_of(
    schema: pa.Schema,
    prepared: Prepared,
    column: str | Mapping[str, str] | None,
    apart: Collection[str | None] = (),
) -> Feeding:
    """Finds the columns that a model takes.

    In this order: the columns that are named; those called as the model's features; those called as its inputs; for a
    model of one input the only column of arrays, tensors or pictures, or the columns of numbers in their order, where
    they are as many as the input has.

    Args:
        schema: The table's.
        prepared: The model.
        column: The name of the column, or names by input; None to find them.
        apart: Columns of numbers that are none of the model's, such as that of the targets.

    Raises:
        ParameterError: If a named column or input does not exist.
        ShapeError: If no columns fit.
    """
    inputs = [str(value.name) for value in prepared.inputs]
    if column is not None:
        return _given(schema, inputs, column)
    features = {name: prepared.features[name] for name in inputs if prepared.features.get(name)}
    wanted = {name: tuple(features.get(name, (name,))) for name in inputs}
    if all(name in schema.names for names in wanted.values() for name in names):
        return _once(schema, Feeding(wanted, named=bool(features)))
    arrays = [field.name for field in schema if arrow.is_array(field.type)]
    if len(inputs) == 1 and len(arrays) == 1:
        return _once(schema, Feeding({inputs[0]: (arrays[0],)}))
    numbers = [field.name for field in schema if arrow.is_number(field.type) and field.name not in apart]
    size = _width(prepared.inputs[0]) if len(inputs) == 1 and not features else None
    if not arrays and numbers and len(numbers) == size:
        return _once(schema, Feeding({inputs[0]: tuple(numbers)}))
    missing = [name for names in wanted.values() for name in names if name not in schema.names]
    raise ShapeError(
        f"The columns {_few(schema.names)} do not tell what the model takes: there is no column {_few(missing)}, and "
        f"{len(arrays)} columns hold arrays. Name it: column='NAME' (--column NAME), or by input a dict."
        + (
            f" Columns of numbers are taken in their order if there are {size}; here are {len(numbers)}."
            if size
            else ""
        )
    )


def _width(value: ir.Value) -> int | None:
    """How many numbers a row of a flat input (N, C) has; None for other inputs, and where a run tells."""
    dims = dims_of(value) or []
    return (
        dims[1] if len(dims) == 2 and isinstance(dims[1], int) and value.dtype != ir.DataType.STRING else None
    )


def _given(schema: pa.Schema, inputs: Sequence[str], column: str | Mapping[str, str]) -> Feeding:
    if isinstance(column, str):
        if len(inputs) > 1:
            raise ParameterError(
                f"column={column!r}: the model has {len(inputs)} inputs; give a dict of columns by input, "
                f"{_few(inputs)}."
            )
        column = {inputs[0]: column}
    if not isinstance(column, Mapping) or not all(isinstance(own, str) for own in column.values()):
        raise ParameterError(
            f"column={column!r}: expected the name of a column, or a dict of one for each input. Columns of numbers "
            "are found by the names of the model's features or inputs; for a model without names put them side by side "
            "into one column of lists."
        )
    if odd := [name for name in (*column, *inputs) if name not in inputs or name not in column]:
        raise ParameterError(
            f"column={dict(column)!r}: {odd[0]!r}; expected a column for each of {_few(inputs)}."
        )
    if missing := [name for name in column.values() if name not in schema.names]:
        raise ParameterError(f"There is no column {missing[0]!r}; the table has {_few(schema.names)}.")
    return _once(schema, Feeding({name: (own,) for name, own in column.items()}))


def _once(schema: pa.Schema, feeding: Feeding) -> Feeding:
    """Refuses columns of one name, which cannot be told apart.

    Raises:
        ShapeError: If one of the columns that are fed has another beside it.
    """
    if twice := [name for name in feeding.used if schema.names.count(name) > 1]:
        raise ShapeError(
            f"The table has {schema.names.count(twice[0])} columns {twice[0]!r}; leave out or rename them."
        )
    return feeding


def _few(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:_LISTED])) + (", ..." if len(names) > _LISTED else "")


def batches_of(table: pa.Table, feeding: Feeding, prepared: Prepared) -> list[tuple[int, Any]]:
    """What ``explain`` takes, in runs of rows that have one shape: (number of rows, inputs).

    Raises:
        ShapeError: If a column does not fit its input.
    """
    if feeding.named and len(feeding.columns) == 1:
        return [(len(table), table.select(feeding.used))]
    if feeding.of_pictures(table.schema):
        return _photos(table, feeding.used[0], prepared)
    arrays = {value: _array(table, feeding.columns[str(value.name)], value) for value in prepared.inputs
              if not _pictures(table, feeding.columns[str(value.name)])}  # fmt: skip
    if len(arrays) == len(prepared.inputs):
        return [(len(table), {str(value.name): array for value, array in arrays.items()})]
    raise ShapeError("Pictures in a column are read for models of one input.")


def _pictures(table: pa.Table, names: Sequence[str]) -> bool:
    return len(names) == 1 and arrow.holds_files(table.schema.field(names[0]).type)


def _photos(table: pa.Table, name: str, prepared: Prepared) -> list[tuple[int, Any]]:
    taken = pixel_input(prepared)
    runs: list[list[np.ndarray]] = []
    for file in arrow.files(table.column(name), name):
        array = taken.array(read_photo(file, taken.channels), file.name)
        if not runs or runs[-1][0].shape != array.shape:
            runs.append([])
        runs[-1].append(array)
    return [(len(run), np.concatenate(run)) for run in runs]


def _array(table: pa.Table, names: Sequence[str], value: ir.Value) -> np.ndarray:
    """The array for an input; flat arrays get the shape of a sample, and arrays for a flat input become flat."""
    read = arrow.texts if value.dtype == ir.DataType.STRING else arrow.numbers
    columns = [read(table.column(name), name) for name in names]
    dims = (dims_of(value) or [None])[1:]
    if len(columns) > 1:
        return np.stack(columns, axis=1)
    (array,) = columns
    if array.ndim - 1 == len(dims):
        return array
    known = [size for size in dims if isinstance(size, int)]
    free = len(dims) - len(known)
    size, rest = int(np.prod(array.shape[1:])), int(np.prod(known))
    if (
        not _fits(array.shape[1:], dims)
        or free > 1
        or (free == 0 and size != rest)
        or (free and (rest == 0 or size % rest))
    ):
        raise ShapeError(
            f"Column {names[0]!r} has arrays of the shape {list(array.shape[1:])}; the input {value.name!r} takes "
            f"{[d if isinstance(d, int) else '?' for d in dims]}."
        )
    return array.reshape(len(array), *(d if isinstance(d, int) else size // rest for d in dims))


def _fits(shape: Sequence[int], dims: Sequence[Any]) -> bool:
    """Whether one of two shapes is flat, or they agree; axes of size 1 do not count.

    Arrays of several axes are laid out along a flat input of a known size alone.
    """
    given, wanted = ([size for size in sizes if size != 1] for sizes in (shape, dims))
    if len(given) <= 1 or len(wanted) <= 1:
        return len(given) <= 1 or all(isinstance(dim, int) for dim in wanted)
    return len(given) == len(wanted) and all(
        size == dim or not isinstance(dim, int) for size, dim in zip(given, wanted, strict=True)
    )
