"""Attributions of all samples of a table: the mean size of each feature's, and a point for each sample."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxattr.errors import ShapeError
from onnxattr.plots.checks import require_count
from onnxattr.plots.colors import numbers, require_some
from onnxattr.plots.sheet import FAINT, MARGIN, MUTED, PURPLE, Sheet, format_number, head_height
from onnxattr.plots.tables import BAR, NAMES, WIDTH, beside, name_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def summary(
    names: Sequence[str],
    attributions: np.ndarray,
    *,
    title: str,
    values: np.ndarray | None = None,
    subtitle: str = "",
    top: int = 12,
    path: str | os.PathLike[str] | None = None,
    width: int | None = None,
) -> "Figure":
    """Draw the features of all samples, the largest mean |attribution| first: that mean, and a point for each sample.

    Args:
        names: the name of each feature.
        attributions: (samples, features), float; NaN and infinity are passed over.
        title: heading of the figure.
        values: (samples, features), the inputs, which colour the points.
        subtitle: second line of the heading.
        top: how many features are shown.
        path: where to write the figure; the suffix chooses the format (.png, .svg, .pdf).
        width: of the figure in pixels; by default 100 an inch.

    Returns:
        The figure.

    Raises:
        ShapeError: the lengths differ, or the attributions are not two-dimensional, or have no finite number.
        ParameterError: `top` is below 1, or the path has another suffix.
        RuntimeMissingError: matplotlib is not installed.
    """
    attributions = numbers(attributions, "the attributions")
    values = None if values is None else numbers(values, "values")
    _check(names, attributions, values, top)
    finite = np.ma.masked_invalid(attributions)
    means = np.ma.filled(np.abs(finite).mean(axis=0), 0.0)
    order = np.argsort(-means, kind="stable")[:top]
    hidden = len(names) - len(order)
    head = head_height(WIDTH, subtitle) + 0.15
    sheet = Sheet(head + BAR * len(order) + 1.35, width, title, WIDTH, subtitle)
    height, left = BAR * len(order), MARGIN + NAMES
    bars = sheet.axes(left, head + 0.25, 2.6, height)
    _draw_means(bars, means[order])
    name_lines(sheet, bars, [names[i] for i in order], NAMES - 0.15)
    swarm = sheet.axes(left + 2.9, head + 0.25, WIDTH - MARGIN - left - 2.9, height)
    drawn = _swarm(swarm, finite[:, order], None if values is None else values[:, order])
    for ax, what in ((bars, "mean |attribution|"), (swarm, "attribution of each sample")):
        ax.set_ylim(len(order) - 0.5, -0.5)
        ax.set_title(what, size=12, color=MUTED, loc="left", pad=8)
    if drawn is not None:
        _low_high(sheet, WIDTH - MARGIN - 3, sheet.height - 0.52, drawn)
    if hidden:
        told = f"{hidden} features with smaller means are not shown."
        sheet.text(MARGIN, sheet.height - 0.25, told, 12, color=MUTED)
    return sheet.save(path)


def _check(names: Sequence[str], attributions: np.ndarray, values: np.ndarray | None, top: int) -> None:
    """Checks what is drawn; the errors are those of ``summary``."""
    shapes = [attributions.shape] + ([] if values is None else [values.shape])
    if attributions.ndim != 2 or len(names) != attributions.shape[1] or len(set(shapes)) > 1:
        raise ShapeError(
            f"{len(names)} names, but the attributions (and values) have shape {shapes}; expected (samples, features)"
        )
    require_count(top, "top")
    require_some(attributions, "the attributions")


def _draw_means(ax: "Axes", means: np.ndarray) -> None:
    """Draw the means as bars with their numbers."""
    ax.barh(range(len(means)), means, height=0.66, color=PURPLE)
    for place, mean in enumerate(means):
        beside(ax, format_number(mean), mean, place)
    ax.set_xlim(0, (means.max() or 1) * 1.35)
    ax.set_xticks([])
    ax.spines[:].set_visible(False)


def _swarm(ax: "Axes", columns: np.ma.MaskedArray, values: np.ndarray | None) -> Any:
    """Draw a point for each number, those that would hide each other above and below; returns the coloured ones."""
    size = 16 if len(columns) <= 200 else 7
    span = float(columns.max() - columns.min()) or 1.0
    drawn = None
    ax.axvline(0, color=FAINT, linewidth=1.2, zorder=0)
    for place in range(columns.shape[1]):
        ax.axhline(place, color=FAINT, linewidth=0.5, zorder=0)
        kept = ~np.ma.getmaskarray(columns[:, place])
        x = np.asarray(columns[kept, place])
        y = place + spread(x, span)
        if values is None:
            ax.scatter(x, y, s=size, color=PURPLE, linewidth=0)
            continue
        drawn = ax.scatter(
            x, y, s=size, c=ranks(values[kept, place]), cmap="viridis", linewidth=0, vmin=0, vmax=1
        )
        drawn.set(rasterized=True)
    ax.set_yticks([])
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(FAINT)
    ax.tick_params(color=FAINT, labelcolor=MUTED, labelsize=12)
    ax.locator_params(axis="x", nbins=5)
    return drawn


def spread(x: np.ndarray, span: float) -> np.ndarray:
    """How far each point is moved from the line, so that close ones form a cloud as wide as they are many."""
    cells = np.round(x / span * 70).astype(int)
    offsets = np.zeros(len(x))
    _, inverse, counts = np.unique(cells, return_inverse=True, return_counts=True)
    step = min(0.12, 0.72 / max(counts.max(initial=1), 1))
    for cell in range(len(counts)):
        members = np.flatnonzero(inverse == cell)
        order = np.arange(len(members))
        offsets[members] = step * ((order + 1) // 2) * np.where(order % 2, 1, -1)
    return offsets


def ranks(values: np.ndarray) -> np.ndarray:
    """Each value's share of the smaller ones, from 0 to 1, equal for equal values; outliers do not flatten it."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middles = np.cumsum(counts) - (counts + 1) / 2
    return middles[inverse] / max(len(values) - 1, 1)


def _low_high(sheet: Sheet, left: float, top: float, drawn: Any) -> None:
    """Draw the colour bar of the features' values."""
    ax = sheet.axes(left, top, 3, 0.09)
    bar = sheet.figure.colorbar(drawn, cax=ax, orientation="horizontal", ticks=[0, 0.5, 1])
    bar.outline.set_visible(False)
    ax.set_xticklabels(["low", "feature's value", "high"])
    ax.tick_params(length=0, labelsize=12, labelcolor=MUTED, pad=3)
    ax.get_xticklabels()[0].set_horizontalalignment("left")
    ax.get_xticklabels()[-1].set_horizontalalignment("right")
