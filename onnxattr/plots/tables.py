"""Attributions of one row of a table, as bars or as a waterfall."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxattr.errors import ShapeError
from onnxattr.plots.checks import finite, require_count
from onnxattr.plots.colors import numbers, require_some
from onnxattr.plots.sheet import (
    BAD,
    BLUE,
    FAINT,
    INK,
    MARGIN,
    MINUS,
    MUTED,
    RED,
    SHEET_WIDTH,
    Sheet,
    class_and_score,
    format_number,
    head_height,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Inches: the width of the sheets, of the names, and the height of a bar with its space.
WIDTH, NAMES, BAR = 11.0, 3.7, 0.44


def tabular(
    names: Sequence[str],
    attribution: np.ndarray,
    *,
    title: str,
    values: np.ndarray | None = None,
    label: str = "",
    score: float | None = None,
    top: int = 12,
    path: str | os.PathLike[str] | None = None,
    width: int = 1600,
) -> "Figure":
    """Draw horizontal bars of the features with the largest attributions, and one bar that sums the others.

    Args:
        names: the name of each feature.
        attribution: (features,), float; NaN and infinity are marked.
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
        ShapeError: the lengths differ, or the attribution is not one-dimensional, or has no finite number.
        ParameterError: `top` is below 1, or the path has another suffix.
        RuntimeMissingError: matplotlib is not installed.
    """
    shown, amounts = _largest(names, attribution, values, top)
    sheet = Sheet(1.4 + 0.5 * len(shown) + 0.4, width, title)
    sheet.text(MARGIN, 1.0, class_and_score(label, score), 14, color=MUTED)
    ax = sheet.axes(4.8, 1.3, SHEET_WIDTH - 4.8 - MARGIN, 0.5 * len(shown))
    _bars(ax, amounts, np.zeros(len(amounts)))
    name_lines(sheet, ax, shown, 4.8 - MARGIN - 0.2)
    return sheet.save(path)


def bars(
    names: Sequence[str],
    attribution: np.ndarray,
    *,
    title: str,
    values: np.ndarray | None = None,
    subtitle: str = "",
    top: int = 12,
    path: str | os.PathLike[str] | None = None,
    width: int | None = None,
) -> "Figure":
    """Draw the bars of `tabular` on a narrower sheet, with any second line; arguments and errors are those of both."""
    shown, amounts = _largest(names, attribution, values, top)
    head = head_height(WIDTH, subtitle)
    sheet = Sheet(head + BAR * len(shown) + 0.5, width, title, WIDTH, subtitle)
    ax = sheet.axes(MARGIN + NAMES, head + 0.2, WIDTH - 2 * MARGIN - NAMES, BAR * len(shown))
    _bars(ax, amounts, np.zeros(len(amounts)))
    name_lines(sheet, ax, shown, NAMES - 0.15)
    return sheet.save(path)


def waterfall(
    names: Sequence[str],
    attribution: np.ndarray,
    *,
    title: str,
    start: float,
    end: float,
    values: np.ndarray | None = None,
    subtitle: str = "",
    start_name: str = "baseline",
    end_name: str = "score",
    top: int = 12,
    path: str | os.PathLike[str] | None = None,
    width: int | None = None,
) -> "Figure":
    """Draw how the attributions of one row lead from the baseline's score to its own.

    Each bar begins where the one above ends, the largest first. What the attributions miss of the way is a grey bar,
    the gap.

    Args:
        names: the name of each feature.
        attribution: (features,), float, no channel or feature left out.
        title: heading of the figure.
        start: the score of the baseline.
        end: the score of the row.
        values: (features,), the input itself, shown beside the names.
        subtitle: second line of the heading.
        start_name: what the baseline's score is called.
        end_name: what the row's score is called.
        top: how many features get a bar of their own.
        path: where to write the figure; the suffix chooses the format (.png, .svg, .pdf).
        width: of the figure in pixels; by default 100 an inch.

    Returns:
        The figure.

    Raises:
        ShapeError: the lengths differ, or the attribution is not one-dimensional, or has no finite number.
        ParameterError: `top` is below 1, `start` or `end` not finite, or the path has another suffix.
        RuntimeMissingError: matplotlib is not installed.
    """
    start, end = finite(start, "start"), finite(end, "end")
    shown, amounts = _largest(names, attribution, values, top)
    gap = float(end - start - np.nansum(amounts))
    amounts, shown = np.append(amounts, gap), [*shown, "gap: not attributed"]
    # A feature without a number leaves the way where it is.
    starts = start + np.concatenate([[0.0], np.cumsum(np.nan_to_num(amounts, posinf=0, neginf=0))[:-1]])
    head = head_height(WIDTH, subtitle) + 0.15
    sheet = Sheet(head + BAR * len(shown) + 0.95, width, title, WIDTH, subtitle)
    ax = sheet.axes(MARGIN + NAMES, head + 0.25, WIDTH - 2 * MARGIN - NAMES, BAR * len(shown))
    _bars(ax, amounts, starts, grey=len(shown) - 1)
    for place, position in enumerate(starts[1:]):
        ax.plot([position, position], [place + 0.33, place + 0.67], color=FAINT, linewidth=1, zorder=0)
    name_lines(sheet, ax, shown, NAMES - 0.15)
    # The scores are differences of sums in float32: what is left of 0 is their rounding.
    rounding = 1e-6 * np.nanmax(
        np.abs([start, end, *amounts]), initial=0, where=np.isfinite([start, end, *amounts])
    )
    for position, name, height in ((start, start_name, 1.0), (end, end_name, 0.0)):
        position = position if abs(position) > rounding else 0.0
        ax.axvline(position, color=MUTED, linewidth=1, linestyle=(0, (3, 3)), zorder=0)
        beside(ax, f"{name} {position:.3g}".replace("-", MINUS), position, height, edge=True)
    _keep_inside(ax)
    return sheet.save(path)


def _largest(
    names: Sequence[str], attribution: np.ndarray, values: np.ndarray | None, top: int
) -> tuple[list[str], np.ndarray]:
    """The features with the largest attributions, with their values, and the sum of the others as the last."""
    attribution = numbers(attribution, "the attribution")
    values = None if values is None else np.asarray(values)  # a Series would be indexed by its own labels
    shapes = [attribution.shape] + ([] if values is None else [np.shape(values)])
    if any(shape != (len(names),) for shape in shapes):
        raise ShapeError(
            f"{len(names)} names, but the attribution (and values) have shape {shapes}; expected one number per "
            "name, without the batch axis"
        )
    require_count(top, "top")
    require_some(attribution, "the attribution")
    order = np.argsort(-np.where(np.isfinite(attribution), np.abs(attribution), np.inf), kind="stable")
    if len(order) == top + 1:
        top += 1  # a bar of its own takes no more room than one for "the others"
    shown = [names[i] if values is None else f"{names[i]} = {_told(values[i])}" for i in order[:top]]
    amounts = list(attribution[order[:top]])
    if len(order) > top:
        shown.append(f"the other {len(order) - top} together")
        amounts.append(attribution[order[top:]].sum())
    return shown, np.array(amounts)


def _bars(ax: "Axes", amounts: np.ndarray, starts: np.ndarray, grey: int | None = None) -> None:
    """Draw bars from top to bottom, each from its start on, the amount written beyond its end."""
    places = np.arange(len(amounts))
    colors = [RED if amount >= 0 else BLUE for amount in amounts]
    if grey is not None:
        colors[grey] = FAINT
    lengths = np.nan_to_num(amounts, posinf=0, neginf=0)
    # An edge of one point shows a bar that is shorter; one of length 0 has none.
    edges = np.where(lengths == 0, 0.0, 1.0)
    ax.barh(places, lengths, left=starts, height=0.66, color=colors, edgecolor=colors, linewidth=edges)
    for place, amount in enumerate(amounts):
        text, color = format_number(amount), MUTED
        if not np.isfinite(amount):
            text, color = ("NaN" if np.isnan(amount) else text), INK
        label = beside(ax, text, starts[place] + lengths[place], place)
        right = amount >= 0 or not np.isfinite(amount)
        label.set(
            color=color, x=6 if right else -6, ha="left" if right else "right", path_effects=[_over_lines()]
        )
        if not np.isfinite(amount):
            label.set_bbox({"facecolor": BAD, "linewidth": 0, "pad": 2})
    if not starts.any():
        ax.axvline(0, color=FAINT, linewidth=1.2)
    ends = starts + lengths
    low, high = min(*starts, *ends), max(*starts, *ends)
    room = 0.15 * ((high - low) or 1)
    ax.set_xlim(low - room if (lengths < 0).any() or starts.any() else 0, high + room)
    ax.set_ylim(len(amounts) - 0.5, -0.5)
    ax.set_xticks([])
    ax.spines[:].set_visible(False)


def _over_lines() -> Any:
    """A white edge around text, which lines behind it do not cross."""
    from matplotlib.patheffects import withStroke

    return withStroke(linewidth=4, foreground="white")


def beside(ax: "Axes", string: str, x: float, y: float, edge: bool = False) -> Any:
    """Write a number right of a place; at an ``edge``, y is 0 or 1 of the axes' height, above or below them."""
    offset, across = ((0, 6 if y else -6), "center") if edge else ((6, 0), "left")
    down = ("bottom" if y else "top") if edge else "center"
    where = ax.get_xaxis_transform() if edge else "data"
    style: dict[str, Any] = {"size": 12, "color": MUTED, "ha": across, "va": down, "parse_math": False}
    return ax.annotate(string, (x, y), offset, xycoords=where, textcoords="offset points", **style)


def name_lines(sheet: Sheet, ax: "Axes", names: Sequence[str], inches: float, size: float = 14) -> None:
    """Write the names of the bars beside them; long ones are shortened, but for the value at their end."""
    ax.tick_params(length=0, labelsize=size, labelcolor=INK, pad=10)
    sheet.tick_names(ax, [str(name) for name in names], size, inches)


def _keep_inside(ax: "Axes") -> None:
    """Move annotations that leave the axes to the left or right back inside."""
    figure = ax.figure
    box = ax.get_window_extent()
    for text in ax.texts:
        extent = text.get_window_extent()
        if extent.x1 > box.x1 or extent.x0 < box.x0:
            shift = min(box.x1 - extent.x1, 0) + max(box.x0 - extent.x0, 0)
            x, y = text.get_position()
            text.set_position((x + shift * 72 / figure.dpi, y))


def _told(value: Any) -> str:
    """A number of a column in few digits, or its text."""
    return value if isinstance(value, str) else f"{value:.4g}"
