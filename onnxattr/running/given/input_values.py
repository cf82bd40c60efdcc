"""NaN and infinity among the inputs: refused where a model would compute with them, with their places."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.errors import ShapeError
from onnxattr.graph.values import named_values
from onnxattr.loading.missing import path_of_missing
from onnxattr.loading.prepared import Prepared
from onnxattr.session import Session

_LISTED = 5
#: Most places in a row that are tried alone, to say which of the missing values is not replaced.
_TRIED = 100


def check_range(what: str, given: np.ndarray, cast: np.ndarray) -> None:
    """Refuses finite values that the model's dtype makes infinite.

    Raises:
        ShapeError: Names the values' places.
    """
    beyond = np.isfinite(given) & np.isinf(cast.astype(np.float32, copy=False))
    if beyond.any():
        half = " or load the model with precision='float32'" if cast.dtype.itemsize == 2 else ""
        raise ShapeError(
            f"{what} holds {_count(beyond)} in the model's {cast.dtype}, {places(beyond)}: {given[beyond][0]} is "
            f"beyond its range. Scale them{half}."
        )


def check_values(prepared: Prepared, feeds: Mapping[str, np.ndarray]) -> None:
    """Refuses what has no explanation: infinity in an explained input, NaN that no node of the model replaces.

    An input that is not explained may be infinite, as an additive mask is.

    Args:
        prepared: The model.
        feeds: Its inputs, and whatever else its graph takes.

    Raises:
        ShapeError: Names the input, how many values it is about and the first places.
    """
    for value in prepared.inputs:
        name, array = str(value.name), feeds[str(value.name)]
        if array.dtype.kind in "iubOSU" or np.isfinite(array).all():
            continue
        if name in prepared.wrt and np.isinf(array).any():
            bad = ~np.isfinite(array)
            raise ShapeError(
                f"Input {name!r} holds {_count(bad)}, {places(bad)}, and is explained: clean the data first. Infinity "
                "is taken in inputs that are not explained, as in additive masks: name the others with wrt=..."
            )
        if np.isnan(array).any():
            _check_missing(prepared, name, feeds)


def places(bad: np.ndarray) -> str:
    """The first places of an array where something is true: the row, then the index in the row."""
    found = [tuple(map(int, index)) for index in np.argwhere(bad)[: _LISTED + 1]]
    more = ", ..." if len(found) > _LISTED else ""
    return f"at [sample, ...] = {', '.join(str(list(index)) for index in found[:_LISTED])}{more}"


def _count(bad: np.ndarray) -> str:
    return f"{int(bad.sum())} NaN or infinite values"


def _check_missing(prepared: Prepared, name: str, feeds: Mapping[str, np.ndarray]) -> None:
    values = named_values(prepared.model.graph)
    path = path_of_missing(values[name], values[prepared.output])
    missing = np.isnan(feeds[name])
    advice = "clean the data first, or have the model replace them (an imputer, or Where with IsNaN)."
    if values[name] in path.exposed:
        node = path.exposed[values[name]]
        raise ShapeError(
            f"Input {name!r} holds {_count(missing)}, {places(missing)}, and {_reader(node)} computes with them: "
            f"{advice}"
        )
    runs = _Exposed(prepared, list(path.exposed))
    for value, found in runs.run(feeds).items():
        if np.isnan(found).any():
            reached = runs.places(name, feeds)
            raise ShapeError(
                f"Input {name!r} holds {_count(reached)} that no node replaces, {places(reached)}, and "
                f"{_reader(path.exposed[values[value]])} computes with them: {advice}"
            )


def _reader(node: ir.Node | None) -> str:
    return "the model's output" if node is None else f"the {node.op_type} node {node.name!r}"


class _Exposed:
    """Runs the part of a model that moves values and replaces missing ones, up to where they are computed with."""

    def __init__(self, prepared: Prepared, exposed: list[ir.Value]):
        self._names = [str(value.name) for value in exposed]
        self._session = Session(prepared.part(self._names), folder=prepared.folder) if self._names else None

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The values by name."""
        found = self._session.run(feeds) if self._session is not None else []
        return {n: a.astype(np.float32, copy=False) for n, a in zip(self._names, found, strict=True)}

    def places(self, name: str, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        """The places of an input whose missing values get that far, tried one place in the rows after the other."""
        given = feeds[name]
        missing: np.ndarray = np.isnan(given)
        if given.ndim == 0:
            return missing
        columns = sorted({tuple(index[1:]) for index in np.argwhere(missing).tolist()})
        reached: np.ndarray = np.zeros_like(missing)
        for column in columns[:_TRIED]:
            there: tuple[Any, ...] = (slice(None), *column)
            places = np.zeros_like(missing)
            places[there] = missing[there]
            alone = np.where(missing & ~places, 0, given).astype(given.dtype)
            if any(np.isnan(found).any() for found in self.run({**feeds, name: alone}).values()):
                reached |= places
        return reached if reached.any() else missing
