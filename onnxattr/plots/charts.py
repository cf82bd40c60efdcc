"""Attributions of time series and of tables."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxattr.errors import ParameterError, ShapeError
from onnxattr.plots.colors import color_limits, require_finite
from onnxattr.plots.sheet import (
    BLUE,
    FAINT,
    INK,
    MARGIN,
    MUTED,
    RED,
    SHEET_WIDTH,
    Sheet,
    class_and_score,
    color_scale,
    format_number,
    legend,
    matplotlib_module,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def series(
    x: np.ndarray,
    attributions: Mapping[str, np.ndarray],
    *,
    title: str,
    label: str = "",
    score: float | None = None,
    path: str | os.PathLike | None = None,
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
        ShapeError: a shape is none of the above, or a value is NaN or infinite.
        ParameterError: `percentile` is out of range, or the path has another suffix.
        RuntimeMissingError: matplotlib is not installed.
    """
    lines = _steps_by_channels(x, "series")
    row_height = 2.7
    sheet = Sheet(1.25 + len(attributions) * row_height + 0.6, width, title)
    sheet.text(MARGIN, 1.0, class_and_score(label, score), 14, color=MUTED)
    for row, (name, attribution) in enumerate(attributions.items()):
        values = _steps_by_channels(attribution, name)
        if values.shape not in (lines.shape, (len(lines), 1)):
            raise ShapeError(
                f"{name}: the attribution has shape {np.shape(attribution)}, the series {np.shape(x)}; expected "
                "the shape of the series, or one value per step"
            )
        top = 1.25 + row * row_height
        sheet.text(MARGIN, top + 0.35, name, 16, weight="bold")
        ax = sheet.axes(MARGIN + 0.5, top + 0.55, SHEET_WIDTH - 2 * MARGIN - 0.5, row_height - 0.95)
        drawn = _colored_lines(ax, lines, np.broadcast_to(values, lines.shape), percentile)
        sheet.color_bar(SHEET_WIDTH - MARGIN - 3, top + 0.12, 3, drawn)
    sheet.text(MARGIN, sheet.height - 0.3, legend(percentile), 12, color=MUTED)
    return sheet.finish(path)


def tabular(
    names: Sequence[str],
    attribution: np.ndarray,
    *,
    title: str,
    values: np.ndarray | None = None,
    label: str = "",
    score: float | None = None,
    top: int = 12,
    path: str | os.PathLike | None = None,
    width: int = 1600,
) -> "Figure":
    """Draw horizontal bars of the features with the largest attributions, and one bar that sums the others.

    Args:
        names: the name of each feature.
        attribution: (features,), float.
        title: heading of the figure.
        values: (features,), the input itself, shown beside the names.
        label: the class that is explained.
        score: the model's score of that class.
        top: how many features get a bar of their own.
        path: where to write the figure; the suffix chooses the format (.png, .svg, .pdf).
        width: of the figure in pixels.

    Returns:
        The figure.

    Raises:
        ShapeError: the lengths differ, or the attribution is not one-dimensional, or has NaN or infinity.
        ParameterError: `top` is below 1, or the path has another suffix.
        RuntimeMissingError: matplotlib is not installed.
    """
    attribution = np.asarray(attribution, np.float64)
    values = None if values is None else np.asarray(values)  # a Series would be indexed by its own labels
    shapes = [attribution.shape] + ([] if values is None else [np.shape(values)])
    if any(shape != (len(names),) for shape in shapes):
        raise ShapeError(
            f"{len(names)} names, but the attribution (and values) have shape {shapes}; expected one number per "
            "name, without the batch axis"
        )
    if top < 1:
        raise ParameterError(f"top={top}; expected at least 1")
    require_finite(attribution, "the attribution")
    order = np.argsort(-np.abs(attribution), kind="stable")
    shown = [names[i] if values is None else f"{names[i]} = {values[i]:.4g}" for i in order[:top]]
    amounts = list(attribution[order[:top]])
    if len(order) > top:
        shown.append(f"the other {len(order) - top} together")
        amounts.append(attribution[order[top:]].sum())
    sheet = Sheet(1.4 + 0.5 * len(shown) + 0.4, width, title)
    sheet.text(MARGIN, 1.0, class_and_score(label, score), 14, color=MUTED)
    _bars(sheet.axes(4.8, 1.3, SHEET_WIDTH - 4.8 - MARGIN, 0.5 * len(shown)), shown, amounts)
    return sheet.finish(path)


def _colored_lines(ax: "Axes", lines: np.ndarray, values: np.ndarray, percentile: float) -> Any:
    """Draw each column of `lines` in grey, and over it in the colours of `values`; return the coloured part."""
    low, high = color_limits(values, percentile)
    steps, points = np.arange(len(lines)), []
    for line in lines.T:
        ax.plot(steps, line, color=FAINT, linewidth=1.5, zorder=1)
        # Each step colours its own surroundings: from the middle to the step before to the middle to the next.
        vertices = np.column_stack([steps, line])
        middles = (vertices[1:] + vertices[:-1]) / 2
        starts, ends = np.vstack([vertices[:1], middles]), np.vstack([middles, vertices[-1:]])
        points.append(np.stack([starts, vertices, ends], axis=1))
    collection = matplotlib_module(".collections").LineCollection(
        np.concatenate(points),
        cmap=color_scale(low < 0, 1.0),
        linewidth=5,
        capstyle="butt",
        joinstyle="round",
        zorder=2,
    )
    collection.set_array(values.T.ravel())
    collection.set_clim(low, high)
    ax.add_collection(collection)
    ax.set_xlim(0, len(lines) - 1)
    ax.margins(y=0.12)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["bottom", "left"]].set_color(FAINT)
    ax.tick_params(color=FAINT, labelcolor=MUTED, labelsize=12)
    return collection


def _bars(ax: "Axes", names: Sequence[str], amounts: Sequence[float]) -> None:
    """Draw the bars from top to bottom, the amount written beyond the end of each."""
    places = range(len(names))
    ax.barh(places, amounts, height=0.66, color=[RED if amount >= 0 else BLUE for amount in amounts])
    for place, amount in zip(places, amounts, strict=True):
        label = ax.annotate(
            format_number(amount), (amount, place), (0, 0), textcoords="offset points", va="center"
        )
        label.set(size=12, color=MUTED, x=6 if amount >= 0 else -6, ha="left" if amount >= 0 else "right")
    ax.axvline(0, color=FAINT, linewidth=1.2)
    low, high = min(0, *amounts), max(0, *amounts)
    room = 0.1 * ((high - low) or 1)
    ax.set_xlim(low - room if low < 0 else 0, high + room)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_yticks(places, names, parse_math=False)
    ax.set_xticks([])
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0, labelsize=14, labelcolor=INK, pad=10)


def _steps_by_channels(array: np.ndarray, what: str) -> np.ndarray:
    values = np.asarray(array, np.float64)
    if values.ndim not in (1, 2) or len(values) < 2 or not values.size:
        raise ShapeError(
            f"{what} has shape {values.shape}; expected (steps,) or (steps, channels) with at least two steps, and "
            "no batch axis"
        )
    require_finite(values, what)
    return values.reshape(len(values), -1)
