"""Attributions of time series."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxattr.errors import ShapeError
from onnxattr.plots.checks import finite, require_one_each
from onnxattr.plots.colors import color_limits, numbers, require_finite, require_some
from onnxattr.plots.sheet import (
    FAINT,
    MARGIN,
    MUTED,
    SHEET_WIDTH,
    Sheet,
    class_and_score,
    color_scale,
    head_height,
    kinds_of,
    legend,
    matplotlib_module,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Most channels that are lines of their own; more are drawn as a field of colours.
_LINES = 6
#: Most channels of a field that have names.
_NAMED = 20
_WIDTH = 11.0


def series(
    x: np.ndarray,
    attributions: Mapping[str, np.ndarray],
    *,
    title: str,
    label: str = "",
    score: float | None = None,
    path: str | os.PathLike[str] | None = None,
    percentile: float = 99.0,
    width: int = 1600,
) -> "Figure":
    """Draw a time series once for each method, the line coloured by the attribution of each step.

    Args:
        x: (T,) or (T, C), at least two steps; C lines are drawn.
        attributions: a map for each method, by the method's name: the shape of `x`, or (T,) or (T, 1) for a map
            that the lines share.
        title: heading of the figure.
        label: the class that is explained.
        score: the model's score of that class.
        path: where to write the figure; the suffix chooses the format (.png, .svg, .pdf).
        percentile: where colours saturate, see `color_limits`.
        width: of the figure in pixels.

    Returns:
        The figure.

    Raises:
        ShapeError: a shape is none of the above, the series holds NaN or infinity, or the map nothing else.
        ParameterError: `percentile` is out of range, or the path has another suffix.
        RuntimeMissingError: matplotlib is not installed.
    """
    lines = _steps_by_channels(x, "series")
    row_height = 2.7
    sheet = Sheet(1.25 + len(attributions) * row_height + 0.6, width, title)
    sheet.text(MARGIN, 1.0, class_and_score(label, score), 14, color=MUTED)
    kinds = set()
    for row, (name, attribution) in enumerate(attributions.items()):
        values = _fitting(attribution, lines.shape, name)
        top = 1.25 + row * row_height
        sheet.text(MARGIN, top + 0.35, name, 16, weight="bold")
        ax = sheet.axes(MARGIN + 0.5, top + 0.55, SHEET_WIDTH - 2 * MARGIN - 0.5, row_height - 0.95)
        drawn = _colored_lines(ax, lines, values, color_limits(values, percentile))
        sheet.color_bar(SHEET_WIDTH - MARGIN - 3, top + 0.12, 3, drawn)
        kinds |= kinds_of(drawn)
    sheet.foot(legend(percentile, kinds))
    return sheet.save(path)


def strips(
    xs: Sequence[np.ndarray | None] | np.ndarray,
    attributions: Sequence[np.ndarray] | np.ndarray,
    *,
    title: str,
    names: Sequence[str] = (),
    captions: Sequence[str] = (),
    channels: Sequence[str] = (),
    sampling_rate: float | None = None,
    unit: str = "",
    subtitle: str = "",
    path: str | os.PathLike[str] | None = None,
    percentile: float = 99.0,
    width: int | None = None,
) -> "Figure":
    """Draw several series below each other, each channel a line of its own, coloured by the attributions.

    More than six channels are drawn as a field of colours, a line of squares for each. NaN and infinity among the
    attributions are green.

    Args:
        xs: for each series (T,) or (T, C), at least two steps; None to draw the attributions alone.
        attributions: for each series its shape, or (T,) or (T, 1) for a map that the channels share.
        title: heading of the figure.
        names: what is explained in each series.
        captions: a second line for each series, such as its score.
        channels: the names of all channels.
        sampling_rate: steps a second, so that the axis is in seconds; None for an axis of steps.
        unit: the unit of the series.
        subtitle: second line of the heading.
        path: where to write the figure; the suffix chooses the format (.png, .svg, .pdf).
        percentile: where colours saturate, see `color_limits`.
        width: of the figure in pixels; by default 100 an inch.

    Returns:
        The figure.

    Raises:
        ShapeError: a shape is none of the above, a series holds NaN or infinity, or a map nothing else; or there are
            names, but not one for each.
        ParameterError: `percentile` or `sampling_rate` is out of range, or the path has another suffix.
        RuntimeMissingError: matplotlib is not installed.
    """
    if not len(attributions) or len(xs) != len(attributions):
        raise ShapeError(f"{len(attributions)} maps of {len(xs)} series; expected one for each.")
    lines = [None if x is None else _steps_by_channels(x, "a series") for x in xs]
    maps = [
        _steps_by_channels(values, "an attribution", some=True)
        if line is None
        else _fitting(values, line.shape, "an attribution")
        for values, line in zip(attributions, lines, strict=True)
    ]
    _check_texts(names, captions, channels, [values.shape[1] for values in maps])
    if sampling_rate is not None:
        sampling_rate = finite(sampling_rate, "sampling_rate", above=0)
    heights = [_height(line, values) for line, values in zip(lines, maps, strict=True)]
    head = head_height(_WIDTH, subtitle)
    sheet = Sheet(head + sum(heights) + 1.15 * len(maps) + 0.4, width, title, _WIDTH, subtitle)
    top, kinds = head, set()
    for place, (line, values, height) in enumerate(zip(lines, maps, heights, strict=True)):
        heading = [part[place] if len(part) else "" for part in (names, captions)]
        sheet.text(MARGIN, top + 0.3, heading[0] or f"sample {place}", 16, fit=_WIDTH - 4.2, weight="bold")
        sheet.text(MARGIN, top + 0.56, heading[1], 13, fit=_WIDTH - 4.2, color=MUTED)
        drawn = _draw_channels(
            sheet, top + 0.7, height, line, values, channels, percentile, sampling_rate or 1.0
        )
        if said := _axes_text(sampling_rate, unit if line is not None and values.shape[1] <= _LINES else ""):
            sheet.text(_WIDTH - MARGIN, top + 0.98 + height, said, 12, color=MUTED, ha="right")
        sheet.color_bar(_WIDTH - MARGIN - 3, top + 0.2, 3, drawn)
        kinds |= kinds_of(drawn)
        top += height + 1.15
    sheet.foot(legend(percentile, kinds))
    return sheet.save(path)


def _check_texts(
    names: Sequence[str], captions: Sequence[str], channels: Sequence[str], counts: Sequence[int]
) -> None:
    """Checks that there is a text for each series and for each channel, or none."""
    require_one_each("names", names, len(counts), "series")
    require_one_each("captions", captions, len(counts), "series")
    for count in counts:
        require_one_each("channels", channels, count, "channels of a series")


def _axes_text(sampling_rate: float | None, unit: str) -> str:
    """What the axes of a series count; nothing for plain steps and numbers without a unit."""
    parts = [f"values in {unit}"] if unit else []
    return ", ".join([*parts, "time in seconds"] if sampling_rate else parts)


def _height(line: np.ndarray | None, values: np.ndarray) -> float:
    """The inches that a series takes without its heading and the numbers of its steps."""
    count = values.shape[1]
    if line is None or count > _LINES:
        return float(np.clip(0.2 * count, 0.6, 4))
    return (1.5, 2.2, 2.7, 3.2, 3.7, 4.2)[count - 1]


def _draw_channels(
    sheet: Sheet,
    top: float,
    height: float,
    line: np.ndarray | None,
    values: np.ndarray,
    channels: Sequence[str],
    percentile: float,
    rate: float,
) -> Any:
    """Draw one series; returns something with its colours."""
    count, limits = values.shape[1], color_limits(values, percentile)
    left = MARGIN + (1.75 if len(channels) or count > 1 else 0.55)
    width = _WIDTH - MARGIN - left
    called = list(channels) or [f"channel {i}" for i in range(count) if count > 1]
    if line is None or count > _LINES:
        ax = sheet.axes(left, top, width, height)
        _tidy(ax)
        sheet.tick_names(ax, called if count <= _NAMED else [], 12, left - MARGIN - 0.1)
        shown = np.ma.masked_invalid(values.T)
        colors = color_scale(limits[0] < 0, None)
        return ax.imshow(
            shown, cmap=colors, vmin=limits[0], vmax=limits[1], aspect="auto", interpolation="nearest",
            extent=(-0.5 / rate, (len(values) - 0.5) / rate, count - 0.5, -0.5),
        )  # fmt: skip
    each = height / count
    for place in range(count):
        ax = sheet.axes(left, top + place * each, width, each - 0.12)
        drawn = _colored_lines(ax, line[:, place : place + 1], values[:, place : place + 1], limits, rate)
        ax.locator_params(axis="y", nbins=3, prune="both" if count > 1 else None)
        if place < count - 1:
            ax.set_xticklabels([])
        if called:
            sheet.text(MARGIN, top + (place + 0.5) * each, called[place], 13, fit=1.1, va="center")
    return drawn


def _fitting(attribution: np.ndarray, shape: tuple[int, ...], what: str) -> np.ndarray:
    """A map of a series as (T, C)."""
    values = _steps_by_channels(attribution, what, some=True)
    if values.shape not in (shape, (shape[0], 1)):
        raise ShapeError(
            f"{what}: the attribution has shape {np.shape(attribution)}, the series {shape}; expected the shape of the "
            "series, or one value per step"
        )
    return np.broadcast_to(values, shape)


def _colored_lines(
    ax: "Axes", lines: np.ndarray, values: np.ndarray, limits: tuple[float, float], rate: float = 1.0
) -> Any:
    """Draw each column of `lines` in grey, and over it in the colours of `values`; return the coloured part."""
    steps, points = np.arange(len(lines)) / rate, []
    for line in lines.T:
        ax.plot(steps, line, color=FAINT, linewidth=1.5, zorder=1)
        # Each step colours its own surroundings: from the middle to the step before to the middle to the next.
        vertices = np.column_stack([steps, line])
        middles = (vertices[1:] + vertices[:-1]) / 2
        starts, ends = np.vstack([vertices[:1], middles]), np.vstack([middles, vertices[-1:]])
        points.append(np.stack([starts, vertices, ends], axis=1))
    collection = matplotlib_module(".collections").LineCollection(
        np.concatenate(points),
        cmap=color_scale(limits[0] < 0, 1.0),
        linewidth=5,
        capstyle="butt",
        joinstyle="round",
        zorder=2,
    )
    collection.set_array(np.ma.masked_invalid(values.T.ravel()))
    collection.set_clim(*limits)
    ax.add_collection(collection)
    ax.set_xlim(0, steps[-1])
    ax.margins(y=0.12)
    _tidy(ax)
    return collection


def _tidy(ax: "Axes") -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["bottom", "left"]].set_color(FAINT)
    ax.tick_params(color=FAINT, labelcolor=MUTED, labelsize=12)


def _steps_by_channels(array: np.ndarray, what: str, some: bool = False) -> np.ndarray:
    """An array as (steps, channels) in float64; with ``some`` it may hold NaN beside finite numbers."""
    values = numbers(array, what)
    if values.ndim not in (1, 2) or len(values) < 2 or not values.size:
        raise ShapeError(
            f"{what} has shape {values.shape}; expected (steps,) or (steps, channels) with at least two steps, and "
            "no batch axis"
        )
    (require_some if some else require_finite)(values, what)
    return values.reshape(len(values), -1)
