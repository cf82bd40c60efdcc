"""Pictures of attributions: heatmaps over photos, coloured time series, bars of features.

Needs matplotlib (`pip install 'onnxattr[plot]'`), imported on first use. Figures are made without pyplot, so neither
the caller's backend nor its open figures change. All arrays come without the batch axis. Colours mean the same
everywhere: red positive, blue negative, none zero; maps that are nowhere negative run from none to purple.
"""

import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxattr.errors import ParameterError, ShapeError
from onnxattr.sheet import (
    BLUE,
    FAINT,
    GAP,
    INK,
    MARGIN,
    MUTED,
    RED,
    SHEET_WIDTH,
    Sheet,
    color_scale,
    format_number,
    legend,
    matplotlib_module,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage


def color_limits(attribution: np.ndarray, percentile: float = 99.0) -> tuple[float, float]:
    """Choose the values at both ends of the colour scale.

    Args:
        attribution: any shape, finite numbers.
        percentile: of the absolute values; larger values take the end's colour, so that a few extreme pixels do
            not make the rest invisible. 100 clips nothing.

    Returns:
        (-limit, limit) if any value is negative, else (0, limit); limit is positive even for a map of zeros.

    Raises:
        ShapeError: the array is empty or holds NaN or infinity.
        ParameterError: the percentile is not in (0, 100].
    """
    if not 0 < percentile <= 100:
        raise ParameterError(f"percentile={percentile}; expected a number above 0 and at most 100")
    values = np.asarray(attribution, np.float64)
    _require_finite(values, "the attribution")
    magnitudes = np.abs(values)
    limit = float(np.percentile(magnitudes, percentile) or magnitudes.max() or 1.0)
    return (-limit if values.min() < 0 else 0.0), limit


def heatmap(
    ax: "Axes",
    attribution: np.ndarray,
    image: np.ndarray | None = None,
    *,
    percentile: float = 99.0,
    opacity: float = 0.95,
    channel_axis: int | None = None,
) -> "AxesImage":
    """Draw an attribution map of an image, over the image in grey if it is given.

    Args:
        ax: the axes to draw into; its ticks and frame are removed.
        attribution: (H, W), (H, W, C) or (C, H, W), float. Channels are summed, for display only.
        image: (H, W), (H, W, C) or (C, H, W) with one or three channels; uint8, or float in any range.
        percentile: where colours saturate, see `color_limits`.
        opacity: of the strongest colour over the image, in (0, 1].
        channel_axis: axis of the channels in `attribution`; by default the first or the last, whichever fits the
            image or, without one, has one or three channels.

    Returns:
        The drawn map, ready for `figure.colorbar`.

    Raises:
        ShapeError: a shape is none of the above, or the two do not fit, or a value is NaN or infinite.
        ParameterError: `percentile` or `opacity` is out of range.
        RuntimeMissingError: matplotlib is not installed.
    """
    if not 0 < opacity <= 1:
        raise ParameterError(f"opacity={opacity}; expected a number above 0 and at most 1")
    photo = None if image is None else displayable(image)
    size = None if photo is None else photo.shape[:2]
    values = _channels_last(attribution, "attribution", channel_axis, size).sum(axis=-1)
    low, high = color_limits(values, percentile)
    ax.set_axis_off()
    if photo is not None:
        grey = photo @ [0.299, 0.587, 0.114] if photo.ndim == 3 else photo
        ax.imshow(grey, cmap="gray", vmin=-0.7, vmax=1, interpolation="lanczos")
    colors = color_scale(low < 0, opacity if photo is not None else None)
    return ax.imshow(values, cmap=colors, vmin=low, vmax=high, interpolation="nearest")


def gallery(
    image: np.ndarray,
    attributions: Mapping[str, np.ndarray],
    *,
    title: str,
    label: str = "",
    score: float | None = None,
    notes: Mapping[str, str] | None = None,
    path: str | os.PathLike | None = None,
    percentile: float = 99.0,
    width: int = 1600,
) -> "Figure":
    """Draw an image and the heatmaps of several methods in one figure, each map with its colour bar.

    Args:
        image: (H, W), (H, W, C) or (C, H, W) with one or three channels; uint8, or float in any range.
        attributions: a map for each method, by the method's name; shapes as in `heatmap`.
        title: heading of the figure.
        label: the class that is explained.
        score: the model's score of that class.
        notes: what is to be said of a method's map, by the method's name, instead of the class and the score.
        path: where to write the figure; the suffix chooses the format (.png, .svg, .pdf).
        percentile: where colours saturate, see `color_limits`.
        width: of the figure in pixels.

    Returns:
        The figure.

    Raises:
        ShapeError: as `heatmap`; nothing is written then.
        ParameterError: as `heatmap`, or the path has another suffix.
        RuntimeMissingError: matplotlib is not installed.
    """
    photo = displayable(image)
    columns = math.ceil(math.sqrt(len(attributions) + 1))
    rows = math.ceil((len(attributions) + 1) / columns)
    panel_width = (SHEET_WIDTH - 2 * MARGIN - GAP * (columns - 1)) / columns
    panel_height = panel_width * photo.shape[0] / photo.shape[1]
    row_height = panel_height + 1.4
    sheet = Sheet(1.0 + rows * row_height + 0.4, width, title)
    for index, (name, attribution) in enumerate([("Input", None), *attributions.items()]):
        left, top = MARGIN + index % columns * (panel_width + GAP), 1.0 + index // columns * row_height
        sheet.text(left, top + 0.3, name, 16, fit=panel_width, weight="bold")
        line = (notes or {}).get(name) or _class_and_score(label, score)
        sheet.text(left, top + 0.58, line, 13, fit=panel_width, color=MUTED)
        ax = sheet.axes(left, top + 0.72, panel_width, panel_height)
        if attribution is None:
            ax.set_axis_off()
            ax.imshow(photo, cmap="gray", vmin=0, vmax=1, interpolation="lanczos")
        else:
            drawn = heatmap(ax, attribution, image, percentile=percentile)
            sheet.color_bar(left, top + 0.82 + panel_height, panel_width, drawn)
    sheet.text(MARGIN, sheet.height - 0.3, legend(percentile), 12, color=MUTED)
    return sheet.finish(path)


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
    sheet.text(MARGIN, 1.0, _class_and_score(label, score), 14, color=MUTED)
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
    shapes = [attribution.shape] + ([] if values is None else [np.shape(values)])
    if any(shape != (len(names),) for shape in shapes):
        raise ShapeError(
            f"{len(names)} names, but the attribution (and values) have shape {shapes}; expected one number per "
            "name, without the batch axis"
        )
    if top < 1:
        raise ParameterError(f"top={top}; expected at least 1")
    _require_finite(attribution, "the attribution")
    order = np.argsort(-np.abs(attribution), kind="stable")
    shown = [names[i] if values is None else f"{names[i]} = {values[i]:.4g}" for i in order[:top]]
    amounts = list(attribution[order[:top]])
    if len(order) > top:
        shown.append(f"the other {len(order) - top} together")
        amounts.append(attribution[order[top:]].sum())
    sheet = Sheet(1.4 + 0.5 * len(shown) + 0.4, width, title)
    sheet.text(MARGIN, 1.0, _class_and_score(label, score), 14, color=MUTED)
    _bars(sheet.axes(4.8, 1.3, SHEET_WIDTH - 4.8 - MARGIN, 0.5 * len(shown)), shown, amounts)
    return sheet.finish(path)


def displayable(image: np.ndarray) -> np.ndarray:
    """Bring an image into the form that `imshow` takes.

    Args:
        image: (H, W), (H, W, C) or (C, H, W) with one or three channels; uint8, or float in any range: a float
            image that leaves [0, 1] is stretched to it.

    Returns:
        (H, W) or (H, W, 3), float64 in [0, 1].

    Raises:
        ShapeError: the shape is none of the above, or a value is NaN or infinite.
    """
    array = _channels_last(image, "image")
    if array.shape[-1] not in (1, 3):
        raise ShapeError(f"the image has {array.shape[-1]} channels; expected one (grey) or three (RGB)")
    if np.asarray(image).dtype == np.uint8:
        array = array / 255
    _require_finite(array, "the image")
    low, high = array.min(), array.max()
    if low < 0 or high > 1:
        array = (array - low) / ((high - low) or 1)
    return array[..., 0] if array.shape[-1] == 1 else array


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


def _channels_last(
    array: np.ndarray, what: str, axis: int | None = None, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Return (H, W, C) float64 whichever way the channels lie; `size` is the (H, W) to be found, if known."""
    values = np.asarray(array, np.float64)
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim == 3:
        for candidate in (-1, 0) if axis is None else (axis,):
            moved = np.moveaxis(values, candidate, -1)
            fits = moved.shape[:2] == size if size else moved.shape[2] in (1, 3) or axis is not None
            if fits:
                return moved
    expected = f"({size[0]}, {size[1]}), as the image, " if size else "(H, W) "
    raise ShapeError(
        f"the {what} has shape {np.shape(array)}; expected {expected}with or without a channel axis, first or last, "
        "and no batch axis. Draw one image at a time"
    )


def _steps_by_channels(array: np.ndarray, what: str) -> np.ndarray:
    values = np.asarray(array, np.float64)
    if values.ndim not in (1, 2) or len(values) < 2 or not values.size:
        raise ShapeError(
            f"{what} has shape {values.shape}; expected (steps,) or (steps, channels) with at least two steps, and "
            "no batch axis"
        )
    _require_finite(values, what)
    return values.reshape(len(values), -1)


def _require_finite(values: np.ndarray, what: str) -> None:
    if not values.size or not np.isfinite(values).all():
        raise ShapeError(
            f"{what} of shape {values.shape} is empty or holds NaN or infinity; expected finite numbers. Check the "
            "input and the model for values that overflow"
        )


def _class_and_score(label: str, score: float | None) -> str:
    return label if score is None else f"{label} {score:.2f}".strip()
