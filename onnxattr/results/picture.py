"""Draws an explanation as what it is: photos, series, tables or texts."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxattr import plots
from onnxattr.errors import ParameterError, ShapeError
from onnxattr.results.explanation import Explanation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Most rows that are drawn of series and texts.
_MOST = 8
#: From this many columns without names on, a row is taken for a series.
_SERIES = 64
_SMOOTH = ("GradCAM", "GradCAMPP", "LayerCAM", "ScoreCAM")
#: Channels that a photo can have.
_COLORS = (1, 3)


def picture(
    explanation: Explanation,
    kind: str | None = None,
    path: str | os.PathLike[str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Figure:
    """Draws an explanation.

    Args:
        explanation: What is drawn: one row as fully as possible, several beside each other, a table as a summary.
        kind: "photo", "series", "table" or "tokens"; None for ``kind_of``.
        path: Where to write the figure.
        options: By name, ``of``: the explained value to draw, where there are several; ``title``; for photos
            ``images`` (what is shown below the maps in place of the model's inputs), ``style`` ("grain" or "cam"),
            ``masks``, ``boxes`` and ``labels`` (see ``plots.Marks``); for tables ``top``; for series ``channels``;
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
    axes, rank = explanation.axes.get(name, ()), _batched(explanation, name).ndim
    if explanation.tokens or "token" in axes:
        return "tokens"
    if rank >= 4 or "height" in axes:
        return "photo"
    if rank == 3 or "step" in axes:
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


def captions(explanation: Explanation, gap: bool = True) -> list[str]:
    """What is said of each row: its score, and with ``gap`` how far a path misses it."""
    kind = " (probability)" if explanation.score_name == "probability" else ""
    found = ["" if np.isnan(s) else f"score {number(s)}{kind}" for s in explanation.scores]
    if gap and explanation.relative_gap is not None:
        found = [", ".join(filter(None, parts)) for parts in zip(found, gaps(explanation), strict=True)]
    return found


def gaps(explanation: Explanation) -> list[str]:
    """The relative gap of each row in words."""
    if explanation.relative_gap is None:
        return [""] * explanation.rows
    return [f"gap {100 * gap:.2g} %" for gap in explanation.relative_gap]


def number(value: float) -> str:
    """Three significant digits, with a proper minus sign."""
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")


def _batched(explanation: Explanation, name: str) -> np.ndarray:
    """The attributions with an axis of rows."""
    array = explanation.attributions[name]
    return array[None] if explanation.one_sample else array


def _photo(explanation: Explanation, name: str, options: dict[str, Any]) -> Figure:
    maps, axes = _batched(explanation, name), explanation.axes.get(name, ())
    axis = axes.index("channel") + explanation.one_sample if "channel" in axes else None
    maps = _slices(maps, axis) if maps.ndim > 4 else maps
    axis = axis if maps.ndim == 4 else None
    images = options.pop("images", None)
    if images is None:
        images = _images_of(explanation, name, axis)
    elif len(images) != len(maps):
        raise ShapeError(f"{len(images)} images were given for {len(maps)} rows; expected one for each.")
    style = options.pop("style", None) or ("cam" if explanation.method in _SMOOTH else "grain")
    marks = plots.Marks(
        options.pop("masks", None) or _masks(explanation, maps.shape, axis),
        options.pop("boxes", ()),
        options.pop("labels", ()),
    )
    method, names, said = explanation.method, list(explanation.target_names), captions(explanation, gap=False)
    if len(maps) == 1:  # beside its map, the photo is told as the input
        names, said = [""], [", ".join(filter(None, [*names, *said]))]
    return plots.grid(
        images,
        {method: maps},
        names=names,
        captions=said,
        notes={method: gaps(explanation)},
        styles={method: style},
        marks=marks,
        channel_axis=None if axis is None else axis - 1,
        stretch=True,
        **options,
    )


def _images_of(explanation: Explanation, name: str, axis: int | None) -> np.ndarray | None:
    """The photos among the model's inputs, (N, H, W, C); None where there are none."""
    own = [explanation.inputs[name]] if name in explanation.inputs else list(explanation.inputs.values())
    own = [array[None] if explanation.one_sample and array.ndim else array for array in own]
    found = [array for array in own if array.ndim == 4 and len(array) == explanation.rows]
    if not found:
        return None
    images = found[0]
    if images.shape[-1] not in _COLORS and images.shape[1] in (1, 3, 4):
        axis = 1
    images = np.moveaxis(images, axis, -1) if axis not in (None, 3) and images.shape[axis] < 65 else images
    if images.shape[-1] in _COLORS:
        return images
    return images[..., :3] if images.shape[-1] == 4 else images.mean(axis=-1, keepdims=True)


def _slices(maps: np.ndarray, axis: int | None) -> np.ndarray:
    """The slice of each volume, over the first axis of its space, that holds the most."""
    if maps.ndim != 5:
        raise ShapeError(
            f"Attributions of shape {maps.shape} are no images; pictures have 2 or 3 axes beside rows."
        )
    first = 2 if axis == 1 or (axis is None and maps.shape[1] in _COLORS) else 1
    maps = np.moveaxis(maps, first, 1)
    sizes = np.nan_to_num(np.abs(maps)).sum(axis=(2, 3, 4))
    return maps[np.arange(len(maps)), sizes.argmax(axis=1)]


def _masks(explanation: Explanation, shape: tuple[int, ...], axis: int | None) -> list[np.ndarray]:
    """The regions that the targets of a segmentation pick, one (H, W) for each row; none for other targets."""
    targets = explanation.targets
    if targets.ndim < 3 or len(targets) != shape[0]:
        return []
    space = [size for place, size in enumerate(shape) if place not in (0, 3 if axis is None else axis)]
    for place in (targets.ndim - 1, 1) if targets.ndim == 4 else (None,):
        picked = (targets != 0).any(axis=place) if place is not None else targets != 0
        if list(picked.shape[1:]) == space and not picked.all():
            return list(picked)
    return []


def _series(explanation: Explanation, name: str, options: dict[str, Any]) -> Figure:
    maps, axes = _batched(explanation, name), explanation.axes.get(name, ())
    steps_last = axes[-2:] == ("channel", "step")
    xs: Any = _series_of(explanation, name, maps, steps_last)
    if steps_last:
        maps, xs = np.swapaxes(maps, 1, 2), None if xs is None else np.swapaxes(xs, 1, 2)
    shown = slice(0, _MOST)
    if len(maps) > _MOST:
        options.setdefault("subtitle", f"the first {_MOST} of {len(maps)}")
    options.setdefault("channels", explanation.features.get(name, ()) if maps.ndim == 3 else ())
    return plots.strips(
        [None] * len(maps[shown]) if xs is None else xs[shown],
        maps[shown],
        names=explanation.target_names[shown],
        captions=captions(explanation)[shown],
        **options,
    )


def _series_of(explanation: Explanation, name: str, maps: np.ndarray, steps_last: bool) -> np.ndarray | None:
    """The series among the model's inputs: the explained one, or one of as many steps as the map of a layer has."""
    own = [explanation.inputs[name]] if name in explanation.inputs else list(explanation.inputs.values())
    own = [array[None] if explanation.one_sample and array.ndim else array for array in own]
    axis = 2 if steps_last else 1
    fits = [
        x for x in own if x.ndim == maps.ndim and len(x) == len(maps) and x.shape[axis] == maps.shape[axis]
    ]
    return fits[0] if fits and fits[0].dtype.kind == "f" else None


def _table(explanation: Explanation, name: str, options: dict[str, Any]) -> Figure:
    names, maps, values = table_of(explanation, name)
    label = next(iter(explanation.target_names), "")
    if len(maps) > 1:
        return plots.summary(names, maps, values=values, **options)
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
    if all(_batched(explanation, other).ndim <= 2 for other in explanation.attributions):
        explained = list(explanation.attributions)
    names: list[str] = []
    maps: list[np.ndarray] = []
    values: list[np.ndarray | None] = []
    for other in explained:
        array = _batched(explanation, other)
        array = array.reshape(len(array), -1)
        default = [f"feature {index}" for index in range(array.shape[1])]
        if len(explained) > 1:
            default = (
                [other] if array.shape[1] == 1 else [f"{other} {index}" for index in range(array.shape[1])]
            )
        known = explanation.features.get(other, ())
        names += list(known) if len(known) == array.shape[1] else default
        maps.append(array)
        given = explanation.inputs.get(other)
        given = given[None] if given is not None and explanation.one_sample else given
        fits = given is not None and np.size(given) == array.size
        values.append(np.reshape(given, array.shape) if fits and given is not None else None)
    known_values = [value for value in values if value is not None]
    shown = np.concatenate(known_values, axis=1) if len(known_values) == len(values) else None
    return names, np.concatenate(maps, axis=1), shown


def text_of(explanation: Explanation, name: str) -> tuple[list[tuple[str, ...]], list[np.ndarray]]:
    """The tokens of each row and one attribution for each; embeddings are summed up, for display only."""
    maps = _batched(explanation, name)
    if maps.ndim == 3:
        maps = maps.sum(axis=-1)
    rows = list(explanation.tokens)
    if not rows:
        ids = [
            array
            for array in explanation.inputs.values()
            if array.dtype.kind in "iu" and array.shape == maps.shape
        ]
        texts = ids[0] if ids else np.broadcast_to(np.arange(maps.shape[-1]), maps.shape)
        rows = [tuple(map(str, row)) for row in texts.tolist()]
    return rows, list(maps)


def _tokens(explanation: Explanation, name: str, options: dict[str, Any]) -> Figure:
    rows, maps = text_of(explanation, name)
    if len(rows) > _MOST:
        options.setdefault("subtitle", f"the first {_MOST} of {len(rows)}")
    shown = slice(0, _MOST)
    said: dict[str, Any] = {
        "names": explanation.target_names[shown],
        "captions": captions(explanation)[shown],
    }
    return plots.tokens(rows[shown], maps[shown], **said, **options)


_KINDS: dict[str, tuple[Callable[[Explanation, str, dict[str, Any]], Figure], tuple[str, ...]]] = {
    "photo": (_photo, ("images", "style", "masks", "boxes", "labels", "percentile")),
    "series": (_series, ("channels", "percentile")),
    "table": (_table, ("top",)),
    "tokens": (_tokens, ("percentile",)),
}
