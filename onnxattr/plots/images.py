"""Heatmaps over photos."""

import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from onnxattr.errors import ParameterError, ShapeError
from onnxattr.plots.colors import color_limits, require_finite
from onnxattr.plots.sheet import (
    GAP,
    MARGIN,
    MUTED,
    SHEET_WIDTH,
    Sheet,
    class_and_score,
    color_scale,
    legend,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage


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
        line = (notes or {}).get(name) or class_and_score(label, score)
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
    require_finite(array, "the image")
    low, high = array.min(), array.max()
    if low < 0 or high > 1:
        array = (array - low) / ((high - low) or 1)
    return array[..., 0] if array.shape[-1] == 1 else array


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
