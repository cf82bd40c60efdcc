"""Baselines of models that take columns of text: what encodes a row is computed by the model's own front part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.paths import inputs_of, needed_nodes
from onnxattr.errors import ParameterError, ShapeError, few
from onnxattr.graph.values import dims_of
from onnxattr.loading.prepared import Prepared
from onnxattr.running.given.arrays import model_inputs
from onnxattr.running.given.frames import is_frame
from onnxattr.running.given.tables import parts_given
from onnxattr.session import Session


def holds_text(given: Any) -> bool:
    """Whether something is a text, or a list or array of some."""
    if isinstance(given, (list, tuple)):
        return any(map(holds_text, given))
    kind = getattr(getattr(given, "dtype", None), "kind", "")
    return isinstance(given, str) or kind in "US" or (kind == "O" and any(map(holds_text, np.ravel(given))))


def of_columns(given: Any, prepared: Prepared, what: str) -> Any:
    """Where paths start, by the names of explained values, for columns of a row or of rows; all else as it is.

    Args:
        given: A table, a Series, or a dict with the name of a column of text.
        prepared: The model.
        what: The parameter's name.

    Raises:
        ParameterError: If a column that an explained value depends on is missing, or the encoder has no number for one.
        ShapeError: If they are no columns of the model.
    """
    texts = {str(value.name) for value in prepared.inputs if value.dtype == ir.DataType.STRING}
    if not texts:
        return given
    names = [str(value.name) for value in prepared.inputs]
    if is_frame(given):
        given = dict(zip(names, parts_given(prepared, given), strict=True))
    elif hasattr(given, "iloc"):
        given = dict(given.items())
    if not isinstance(given, Mapping) or texts.isdisjoint(given):
        return given
    asked = [name for pair in zip(prepared.wrt, prepared.asked, strict=True) for name in pair]
    if unknown := [name for name in given if name not in (*names, *asked)]:
        raise ParameterError(f"{what} names {few(unknown)}; the columns of the model are {few(names)}.")
    own = {name: part for name, part in given.items() if name not in names}
    wanted = [name for name in prepared.wrt if name not in own]
    read = {value.name for name in wanted for value in _inputs_of(prepared, name)}
    if missing := [name for name in names if name in read and name not in given]:
        raise ParameterError(
            f"{what} names columns, and not {few(missing)}: paths start at a row. Name all of {few(names)}, in a dict, "
            "a table or a .csv file."
        )
    return own | _encoded(given, wanted, prepared, what)


def _inputs_of(prepared: Prepared, name: str) -> set[ir.Value]:
    value = prepared.value(name)
    read = {value} | {each for node in needed_nodes([value]) for each in inputs_of(node)}
    return read & set(prepared.inputs)


def _encoded(
    given: Mapping[str, Any], wanted: list[str], prepared: Prepared, what: str
) -> dict[str, np.ndarray]:
    """Explained values for the columns of rows.

    Raises:
        ParameterError: If one is no number.
    """
    columns = {str(value.name): value for value in prepared.inputs if str(value.name) in given}
    count = max((len(part) for part in given.values() if np.ndim(part)), default=1)
    rows = {name: _column(given[name], value, count) for name, value in columns.items()}
    for value in prepared.inputs:  # what no explained value reads may be anything
        empty = "" if value.dtype == ir.DataType.STRING else 0
        rows.setdefault(str(value.name), _column(empty, value, count))
    try:
        feeds = model_inputs(prepared, rows)
    except ShapeError as error:
        raise ParameterError(f"{what}: {error}") from error
    inner = [name for name in wanted if prepared.value(name).producer() is not None]
    session = Session(prepared.part(inner), folder=prepared.folder) if inner else None
    found = dict(zip(inner, [] if session is None else session.run(feeds), strict=True))
    found |= {name: feeds[name] for name in wanted if name not in found}
    for name, alias in zip(prepared.wrt, prepared.asked, strict=True):
        if name in found and not np.isfinite(found[name]).all():
            raise ParameterError(
                f"{what}: the model has no number for {np.ravel(rows.get(alias, ''))[0]!r} in column {alias!r}, as of "
                "a category that it does not know."
            )
    return found


def _column(part: Any, value: ir.Value, count: int) -> np.ndarray:
    """What is given for an input, as rows: one value for all of them, or one for each."""
    array = np.asarray(part, object) if holds_text(part) else np.asarray(part)
    dims = dims_of(value) or [None]
    if array.ndim == 0:
        return np.broadcast_to(array, (count, *[1 if isinstance(dim, str) else dim or 1 for dim in dims[1:]]))
    return array[:, None] if array.ndim == 1 and len(dims) == 2 else array
