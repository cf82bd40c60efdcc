"""What callers give as tables: rows and tables with named entries, matched with the columns of a model's inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from onnxattr.errors import ShapeError, few
from onnxattr.graph.values import dims_of
from onnxattr.running.given.frames import Columns, columns_of, is_frame, matched, order_of, parts_of

if TYPE_CHECKING:
    from onnxattr.loading.prepared import Prepared


def row_by_name(
    row: Any, features: Mapping[str, Sequence[str]], what: str = "baseline_value"
) -> np.ndarray | None:
    """The numbers of one row with named entries, such as a pandas Series, in the model's order.

    None if it has no names, or the model has none for a row of that kind.

    Raises:
        ShapeError: If the names are not those of the model.
    """
    names = _names_of_series(row)
    if names is None or len(features) != 1:
        return None
    (wanted,) = features.values()
    columns = Columns({name: np.asarray(row.iloc[place : place + 1]) for place, name in enumerate(names)})
    return np.concatenate(list(matched(columns, wanted, what).values()))


def by_name(given: Any, features: Mapping[str, Sequence[str]], what: str) -> np.ndarray | None:
    """The numbers of a row, of rows or of a table with named entries, in the model's order; None of anything else.

    Raises:
        ShapeError: If the names are not those of the model.
    """
    if len(features) != 1:
        return None
    if isinstance(given, (list, tuple)) and given and all(map(is_named_row, given)):
        given = _of_rows(given)
    elif not is_frame(given) or not any(isinstance(name, str) for name in columns_of(given)):
        return row_by_name(given, features, what)
    (wanted,) = features.values()
    return np.stack(list(matched(given, wanted, what).values()), axis=1)


def names_of_row(value: Any) -> list[Any] | None:
    """The names of the entries of a row: of a Series of pandas, a named tuple, or of a dict; else None."""
    if isinstance(value, tuple):
        return list(getattr(value, "_fields", ())) or None
    if isinstance(value, Mapping):
        return list(value) if value and all(np.ndim(part) == 0 for part in value.values()) else None
    return _names_of_series(value)


def _names_of_series(value: Any) -> list[Any] | None:
    index = getattr(value, "index", None)
    if index is None or callable(index) or not hasattr(value, "to_numpy") or hasattr(value, "columns"):
        return None
    names = list(index)
    return names if any(isinstance(name, str) for name in names) else None


def is_named_row(value: Any) -> bool:
    """Whether something is a row with named entries."""
    return names_of_row(value) is not None


def is_row_of(prepared: Prepared, value: Any) -> bool:
    """Whether something is a row with named entries of a model's only input; a dict only where the model has names."""
    names = [str(value.name) for value in prepared.inputs]
    if len(names) != 1 or not is_named_row(value):
        return False
    return not isinstance(value, Mapping) or (bool(prepared.features) and names[0] not in value)


def _of_rows(rows: Sequence[Any]) -> Columns:
    """Rows with named entries as a table, in the order of the first.

    Raises:
        ShapeError: If a row has other names.
    """
    named = [names_of_row(row) or [] for row in rows]
    names = named[0]
    for number, own in enumerate(named):
        if Counter(own) != Counter(names) or len(set(names)) < len(names):
            raise ShapeError(
                f"Row {number} has the names {few(own)}, and the first row {few(names)}; give rows with the same "
                "names, each once."
            )
    entries: list[Any] = [
        dict(zip(own, row, strict=True)) if isinstance(row, tuple) else row
        for own, row in zip(named, rows, strict=True)
    ]
    return Columns({name: np.array([row[name] for row in entries]) for name in names})


def table_of(prepared: Prepared, given: Any) -> Any:
    """What was given, if it is a table with named columns or a dict of the columns of the model's input; else None.

    Rows with named entries are a table too.
    """
    if is_frame(given):
        return given
    if isinstance(given, (list, tuple)) and given and all(is_row_of(prepared, row) for row in given):
        return _of_rows(given)
    names = {str(value.name) for value in prepared.inputs}
    if isinstance(given, Mapping) and prepared.features and names.isdisjoint(given):
        return Columns(given)
    return None


def orders_of(prepared: Prepared, given: Any) -> dict[str, list[int]]:
    """For each input, where the columns of a table that was given stand in the model, as ``frames.order_of`` tells."""
    features = prepared.features
    if not features:
        return {}
    if (table := table_of(prepared, given)) is not None:
        return order_of(table, features)
    names = [str(value.name) for value in prepared.inputs]
    parts = (
        given
        if isinstance(given, Mapping)
        else dict(zip(names, given if isinstance(given, (list, tuple)) else (), strict=False))
    )
    tables = {name: part for name, part in parts.items() if is_frame(part) and name in features}
    return {k: v for name, part in tables.items() for k, v in order_of(part, {name: features[name]}).items()}


def parts_given(prepared: Prepared, given: Any) -> list[Any]:
    """What was given for each input of the model."""
    names = [str(value.name) for value in prepared.inputs]
    features = prepared.features
    if (table := table_of(prepared, given)) is not None:
        ranks = {str(v.name): len(dims_of(v) or [None]) for v in prepared.inputs}
        texts = [str(v.name) for v in prepared.inputs if v.dtype == ir.DataType.STRING]
        return list(parts_of(table, features, ranks, texts).values())
    if isinstance(given, Mapping):
        unknown, missing = sorted(set(given) - set(names)), sorted(set(names) - set(given))
        if unknown or missing:
            held = [name for name in unknown if name in prepared.model.graph.initializers]
            also = (
                f" {held} have a value in the model, which is taken; remove it there to give another."
                if held
                else ""
            )
            raise ShapeError(f"Inputs {names} are expected; missing: {missing}, unknown: {unknown}.{also}")
        parts = [given[name] for name in names]
    elif len(names) == 1:
        parts = [given]
    else:
        if not isinstance(given, (list, tuple)) or len(given) != len(names):
            raise ShapeError(
                f"The model has {len(names)} inputs {names}: give a dict by name, or a list in that order."
            )
        parts = list(given)
    return [
        parts_of(
            part, {name: features[name]} if name in features else {}, {name: len(dims_of(value) or [None])}
        )[name]
        if is_frame(part)
        else part
        for name, value, part in zip(names, prepared.inputs, parts, strict=True)
    ]
