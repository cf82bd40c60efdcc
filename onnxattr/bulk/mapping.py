"""From Arrow batches to Arrow batches: what every engine of bulk jobs takes."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxattr.bulk.columns import Feeding, batches_of, feeding_of
from onnxattr.errors import ParameterError, ShapeError, TargetError
from onnxattr.inputs.arrow import is_text, numbers, whole
from onnxattr.loading.meaning.class_names import one_label
from onnxattr.results import Explanation
from onnxattr.results.arrow_tables import pyarrow_module
from onnxattr.running.explainers.explainer import load

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows that are explained in one run unless a number is given.
CHUNK = 64


def check_chunk(chunk: Any) -> None:
    """Checks how many rows a run takes.

    Raises:
        ParameterError: If it is no number of at least 1.
    """
    if isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1:
        raise ParameterError(f"chunk={chunk!r}: expected a number of samples, at least 1.")


def check_rows(targets: Any, keep: Any) -> None:
    """Checks what is the same for all rows: the target, and which columns are kept.

    Raises:
        ParameterError: If there are targets for each row, which every chunk would begin anew, or keep is unknown.
    """
    if targets is not None and not isinstance(targets, str) and one_label(targets) is None:
        raise ParameterError(
            f"targets={targets!r:.80}: expected one label or name of a class for all rows. Labels of each row are a "
            "column of Parquet files and Arrow batches: target_column='NAME' (--target-column NAME)."
        )
    if isinstance(keep, str) and keep not in ("others", "all"):
        raise ParameterError(f"keep={keep!r}: expected 'others', 'all' or a list of columns.")


class Mapper:
    """Explains the rows of Arrow tables, record batches, or iterators of record batches.

    Each row gets, beside the columns that are kept, ``attribution`` (list of float32, row-major; ``attribution_NAME``
    of each value where several are explained), ``attribution_shape`` (list of int32), ``score`` (float32), ``target``
    (int64; null where the target is no class) and ``gap`` (float32, |delta| / |f(x) - f(b)|; null without a path).

    It can be pickled: the model is loaded where the first batch comes, once in a process.
    """

    def __init__(
        self,
        explainer: Any,
        column: str | Mapping[str, str] | None = None,
        *,
        targets: int | str | None = None,
        target_column: str | None = None,
        keep: str | Sequence[str] = "others",
        chunk: int = CHUNK,
        seed: int | None = None,
        providers: Sequence[Any] | None = None,
        check_finite: str = "warn",
    ):
        """Says what is explained.

        Args:
            explainer: Path of an exported explainer; or a method or explainer, which cannot be pickled.
            column: The column that is explained, of arrays, tensors or pictures; for several inputs a dict of columns
                by input; None to find it by the names of the model's features and inputs, as the only one of arrays, or
                as columns of numbers, as many as the input has.
            targets: One label or class name for all rows; None for what the model gives most.
            target_column: The column that holds the label of each row.
            keep: "others": the columns that are not explained; "all"; or names of columns.
            chunk: Rows of a run.
            seed: Seed of the noise; None for the one that the explainer's method had. The noise of a row depends on its
                place in its chunk.
            providers: ONNX Runtime execution providers; None for the best present.
            check_finite: "warn", "error" or "ignore" results that are NaN or infinite.

        Raises:
            ParameterError: If both or a wrong kind of targets are given, or the chunk is below 1.
            RuntimeMissingError: If PyArrow is not installed.
        """
        pyarrow_module()
        if targets is not None and target_column is not None:
            raise ParameterError("Give targets or target_column, not both.")
        check_chunk(chunk)
        check_rows(targets, keep)
        self._source, self._column, self._targets = explainer, column, targets
        self._target_column, self._keep, self._chunk = target_column, keep, chunk
        self._options: dict[str, Any] = {"seed": seed, "providers": providers, "check_finite": check_finite}
        self._forget()

    def _forget(self) -> None:
        self._method: Any = None
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        if not isinstance(self._source, (str, os.PathLike)):
            raise TypeError(
                "A mapper of a loaded method cannot be pickled: give the path of an exported explainer."
            )
        return {name: value for name, value in vars(self).items() if name not in ("_method", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forget()

    @property
    def method(self) -> Any:
        """The explainer.

        Raises:
            ModelError: If it is missing or damaged.
            ParameterError: If a parameter has a row for each sample.
            ShapeError: If rows of its model are not independent.
        """
        with self._lock:
            if self._method is None:
                path = isinstance(self._source, (str, os.PathLike))
                found = load(self._source, **self._options) if path else self._source
                if found.one_sample:
                    raise ShapeError(
                        f"{found!r}: all rows of this model's inputs are one sample, so the rows of a table cannot be "
                        "explained one by one."
                    )
                if found.per_sample is not None:
                    raise ParameterError(
                        f"{found!r}: {found.per_sample} has a row for each sample, and batches would all take the "
                        "first rows of it."
                    )
                self._method = found
        return self._method

    def schema(self, schema: pa.Schema) -> pa.Schema:
        """The schema of what comes out for a schema that goes in.

        Raises:
            ParameterError: If a column is missing, or would be there twice.
            ShapeError: If no columns fit the model.
        """
        pa = pyarrow_module()
        feeding = self._feeding(schema)
        method = self._method_of(schema, feeding)
        fields = [schema.field(name) for name in self._kept(schema, feeding)]
        for value, column in _attributions(method).items():
            features = method.prepared.features.get(value)
            about = {"onnxattr.features": json.dumps(list(features))} if features else None
            shape = column.replace("attribution", "attribution_shape", 1)
            fields += [
                pa.field(column, pa.list_(pa.float32()), metadata=about),
                pa.field(shape, pa.list_(pa.int32())),
            ]
        fields += [
            pa.field("score", pa.float32()),
            pa.field("target", pa.int64()),
            pa.field("gap", pa.float32()),
        ]
        names = [field.name for field in fields]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ParameterError(
                f"The table has a column {twice[0]!r} already, as results have: rename it, or name the columns to keep "
                "without it, keep=[...] (--keep with commas between them)."
            )
        return pa.schema(fields)

    def _feeding(self, schema: pa.Schema) -> Feeding:
        """The columns that go into the model."""
        kept = () if isinstance(self._keep, str) else self._keep
        return feeding_of(schema, self.method.prepared, self._column, apart=(self._target_column, *kept))

    def _method_of(self, schema: pa.Schema, feeding: Feeding) -> Any:
        """The method that explains what is fed: for pictures with the preprocessing that its model expects."""
        return self.method.for_photos() if feeding.of_pictures(schema) else self.method

    def _kept(self, schema: pa.Schema, feeding: Feeding) -> list[str]:
        if isinstance(self._keep, str):
            used = feeding.used if self._keep == "others" else ()
            return [name for name in schema.names if name not in used]
        if missing := [name for name in self._keep if name not in schema.names]:
            raise ParameterError(f"keep: there is no column {missing[0]!r}; the table has {schema.names}.")
        return list(self._keep)

    def __call__(self, batches: Any) -> Any:
        """Explains a table or record batch, giving the same kind, or an iterator of record batches, giving another.

        Raises:
            ParameterError, ShapeError, TargetError: If columns or targets do not fit the model.
        """
        pa = pyarrow_module()
        if isinstance(batches, pa.Table):
            parts = list(self._stream(batches.to_batches(max_chunksize=self._chunk)))
            return pa.Table.from_batches(parts, self.schema(batches.schema))
        if isinstance(batches, pa.RecordBatch):
            found = self(pa.Table.from_batches([batches])).combine_chunks()
            return found.to_batches()[0] if found.num_rows else pa.RecordBatch.from_pylist([], found.schema)
        return self._stream(batches)

    def _stream(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            schema = self.schema(batch.schema)
            feeding = self._feeding(batch.schema)
            for start in range(0, batch.num_rows, self._chunk):
                yield self._explained(batch.slice(start, self._chunk), feeding, schema)

    def _explained(self, batch: pa.RecordBatch, feeding: Feeding, schema: pa.Schema) -> pa.RecordBatch:
        pa = pyarrow_module()
        table, columns, start = pa.Table.from_batches([batch]), [], 0
        method = self._method_of(batch.schema, feeding)
        for rows, inputs in batches_of(table, feeding, method.prepared):
            found = method.explain(inputs, self._targets_of(table, start, rows), full=True)
            columns.append(_columns(found, _attributions(method)))
            start += rows
        made = [pa.concat_arrays(parts) for parts in zip(*columns, strict=True)]
        kept = [batch.column(name) for name in self._kept(batch.schema, feeding)]
        return pa.RecordBatch.from_arrays([*kept, *made], schema=schema)

    def _targets_of(self, table: pa.Table, start: int, rows: int) -> Any:
        if self._target_column is None:
            return self._targets
        if self._target_column not in table.column_names:
            raise ParameterError(
                f"There is no column {self._target_column!r}; the table has {table.column_names}."
            )
        column = whole(table.column(self._target_column).slice(start, rows))
        if column.null_count:
            raise TargetError(
                f"Column {self._target_column!r} has no label in {column.null_count} of {rows} rows: fill them in, "
                "with -1 for the predicted class where labels are numbers, or leave these rows out."
            )
        if is_text(column.type):
            return column.to_pylist()
        return numbers(column, self._target_column)


def _attributions(method: Any) -> dict[str, str]:
    """By explained value the name of the column that its attributions get."""
    explained = [str(name) for name in method.explained]
    return {n: "attribution" if len(explained) == 1 else f"attribution_{n}" for n in explained}


def _columns(found: Explanation, values: Iterable[str]) -> list[pa.Array]:
    """The columns of some rows."""
    pa, rows = pyarrow_module(), found.sample_count
    columns = []
    for value in values:
        array = np.ascontiguousarray(found.attributions[value], np.float32)
        size = int(np.prod(array.shape[1:]))
        ends = np.arange(rows + 1, dtype=np.int32)
        columns.append(pa.ListArray.from_arrays(ends * size, pa.array(array.reshape(-1))))
        shape = np.tile(np.array(array.shape[1:], np.int32), rows)
        columns.append(pa.ListArray.from_arrays(ends * (array.ndim - 1), pa.array(shape, pa.int32())))
    label = found.targets.ndim == 1 and found.targets.dtype.kind in "iu"
    columns.append(pa.array(found.scores.astype(np.float32)))
    columns.append(pa.array(found.targets.astype(np.int64)) if label else pa.nulls(rows, pa.int64()))
    gap = found.relative_gap
    columns.append(pa.nulls(rows, pa.float32()) if gap is None else pa.array(gap.astype(np.float32)))
    return columns


#: By this name it is the function that ``mapInArrow``, ``map_batches`` and plain loops take.
mapper = Mapper
