"""Draws an explanation as what it is: photos, series, tables or texts."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxattr import plots
from onnxattr.errors import ParameterError
from onnxattr.results.captions import batched
from onnxattr.results.explanation import Explanation
from onnxattr.results.photos import photo
from onnxattr.results.sequences import series, tokens
from onnxattr.results.tables import table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: An input of at least this many columns without names is taken for a series.
_SERIES = 64


def picture(
    explanation: Explanation,
    kind: str | None = None,
    path: str | os.PathLike[str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Figure:
    """Draws an explanation.

    Args:
        explanation: What is drawn: one sample in full, several beside each other, several of a table as a summary.
        kind: "photo", "series", "table" or "tokens"; None for ``kind_of``.
        path: Where to write the figure.
        options: By name, ``of``: the explained value to draw, where there are several; ``title``; for photos
            ``images`` (what is shown below the maps in place of the model's inputs), ``style`` ("grain" or "cam"),
            ``masks``, ``boxes`` and ``labels`` (see ``plots.Marks``); for tables ``top``; for series ``channels``,
            ``sampling_rate`` (steps a second, so that the axis is in seconds) and ``unit``;
            ``percentile`` and ``width``, see ``plots``.

    Raises:
        ParameterError: If there is no such kind, explained value or option, or the path has another suffix.
        ShapeError: If what is explained cannot be drawn so.
        RuntimeMissingError: If matplotlib is not installed.
    """
    given = dict(options or {})
    name = given.pop("of", next(iter(explanation.attributions)))
    if name not in explanation.attributions:
        raise ParameterError(f"of={name!r}: the explained values are {list(explanation.attributions)}.")
    if path is not None:
        plots.check_path(path)
    kind = kind or kind_of(explanation, name)
    if kind not in _KINDS:
        raise ParameterError(f"kind={kind!r}: expected one of {tuple(_KINDS)}.")
    draw, allowed = _KINDS[kind]
    unknown = sorted(set(given) - set(allowed) - {"title", "width"})
    if unknown:
        raise ParameterError(
            f"Pictures of kind {kind!r} have no options {unknown}; they take {sorted(allowed)}."
        )
    given.setdefault("title", title_of(explanation, name))
    return draw(explanation, name, given | {"path": path})


def kind_of(explanation: Explanation, name: str) -> str:
    """The kind of picture that fits an explained value, by its axes, its names and its rank."""
    axes, rank = explanation.axes.get(name, ()), batched(explanation, name).ndim
    if explanation.tokens or "token" in axes:
        return "tokens"
    if rank >= 4 or "height" in axes:
        return "photo"
    if rank == 3 or "step" in axes:
        return "series"
    if rank == 2 and name in explanation.sampling_rates:
        return "series"
    named = name in explanation.features or len(explanation.attributions) > 1
    return "table" if named or rank < 2 or explanation.attributions[name].shape[-1] < _SERIES else "series"


def title_of(explanation: Explanation, name: str) -> str:
    """The method, the model's file, and where there are several the explained value."""
    parts = [explanation.method]
    if explanation.model:
        parts.append(Path(explanation.model).stem)
    if len(explanation.attributions) > 1 and kind_of(explanation, name) != "table":
        parts.append(name)
    return ", ".join(parts)


_KINDS: dict[str, tuple[Callable[[Explanation, str, dict[str, Any]], Figure], tuple[str, ...]]] = {
    "photo": (photo, ("images", "style", "masks", "boxes", "labels", "percentile")),
    "series": (series, ("channels", "percentile", "sampling_rate", "unit")),
    "table": (table, ("top",)),
    "tokens": (tokens, ("percentile",)),
}
