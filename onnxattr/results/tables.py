"""Tables: the attributions of named columns as bars, as a waterfall, or of many samples as a summary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnxattr import plots
from onnxattr.results.captions import batched, captions
from onnxattr.results.explanation import Explanation

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def table(explanation: Explanation, name: str, options: dict[str, Any]) -> Figure:
    """Bars or a waterfall for one sample, a summary of several."""
    names, maps, values = table_of(explanation, name)
    label = next(iter(explanation.target_names), "")
    if len(maps) > 1:
        # Text has no place on a scale of colours.
        numbers = values is not None and values.dtype != object
        return plots.summary(names, maps, values=values if numbers else None, **options)
    subtitle = ", ".join(filter(None, [label, *captions(explanation)]))
    common: dict[str, Any] = {"values": None if values is None else values[0]} | options
    if explanation.baseline_scores is not None and _complete(explanation):
        ends = float(explanation.baseline_scores[0]), float(explanation.scores[0])
        return plots.waterfall(
            names,
            maps[0],
            start=ends[0],
            end=ends[1],
            subtitle=subtitle,
            end_name=explanation.score_name,
            **common,
        )
    return plots.bars(names, maps[0], subtitle=subtitle, **common)


def _complete(explanation: Explanation) -> bool:
    """Whether the attributions add up to the difference of scores, but for the gap."""
    delta = explanation.delta
    assert explanation.baseline_scores is not None
    if delta is None or not np.isfinite(delta[0]):
        return False
    total = sum(float(array.sum()) for array in explanation.attributions.values())
    missed = total - float(delta[0]) - float(explanation.scores[0] - explanation.baseline_scores[0])
    return abs(missed) <= 1e-3 * max(abs(total), 1e-30)


def table_of(explanation: Explanation, name: str) -> tuple[list[str], np.ndarray, np.ndarray | None]:
    """The names of the columns, their attributions (N, F) and their values, of all explained values that are tables."""
    explained = [name]
    if all(batched(explanation, other).ndim <= 2 for other in explanation.attributions):
        explained = list(explanation.attributions)
    names: list[str] = []
    maps: list[np.ndarray] = []
    values: list[np.ndarray | None] = []
    for other in explained:
        array = batched(explanation, other)
        array = array.reshape(len(array), -1)
        names += _column_names(explanation, other, array.shape[1], alone=len(explained) == 1)
        maps.append(array)
        given = explanation.inputs.get(other)
        fits = given is not None and np.size(given) == array.size
        values.append(np.reshape(given, array.shape) if fits and given is not None else None)
    found = [value for value in values if value is not None]
    shown = np.concatenate(found, axis=1) if len(found) == len(values) else None
    return names, np.concatenate(maps, axis=1), shown


def _column_names(explanation: Explanation, name: str, columns: int, alone: bool) -> list[str]:
    """The names of a value's columns: the model's own, else numbers, behind the value's name where it is not alone."""
    own = list(explanation.features.get(name, ()))
    if len(own) == columns:
        return own
    if columns == 1 and not alone:
        return [name]
    return [f"{'feature' if alone else name} {index}" for index in range(columns)]
