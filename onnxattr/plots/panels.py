"""Sheets of panels, each an image or a map over it; one image by several methods."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxattr.plots.images import displayable, frames, heatmap, outline, show_photo
from onnxattr.plots.sheet import (
    GAP,
    MARGIN,
    MUTED,
    SHEET_WIDTH,
    Sheet,
    class_and_score,
    head_height,
    kinds_of,
    legend,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Inches of a panel in a grid, and the width that a sheet has at least.
_PANEL, _NARROWEST = 2.9, 6.6


@dataclass(frozen=True)
class Panel:
    """An image, the map over it, and what stands above and on them.

    Attributes:
        title: First line above the panel.
        note: Second line.
        image: The image; None to draw the map alone.
        attribution: The map; None to draw the image alone.
        style: How the map is drawn, see `heatmap`.
        channel_axis: Axis of the map's channels, see `heatmap`.
        mask: (H, W), whose outline is drawn.
        boxes: Boxes (x0, y0, x1, y1) in pixels.
        labels: What stands in the boxes.
        stretch: Whether a map of another size is stretched over the image.
    """

    title: str
    note: str = ""
    image: np.ndarray | None = None
    attribution: np.ndarray | None = None
    style: str = "grain"
    channel_axis: int | None = None
    mask: np.ndarray | None = None
    boxes: Sequence[Sequence[float]] = ()
    labels: Sequence[str] = ()
    stretch: bool = False

    @property
    def aspect(self) -> float:
        """Height over width."""
        if self.image is not None:
            height, width = displayable(self.image).shape[:2]
            return float(height / width)
        assert self.attribution is not None
        shape = np.shape(self.attribution)
        shape = shape[1:] if len(shape) == 3 and shape[0] in (1, 3) and shape[2] not in (1, 3) else shape
        return shape[0] / shape[1] if len(shape) > 1 else 1.0

    def draw(
        self, sheet: Sheet, left: float, top: float, width: float, height: float, percentile: float
    ) -> set[str]:
        """Draw the panel with its lines above, and below a map its colour bar; returns what its colours mean."""
        kinds: set[str] = set()
        sheet.text(left, top + 0.3, self.title, 16, fit=width, weight="bold")
        sheet.text(left, top + 0.58, self.note, 13, fit=width, color=MUTED)
        ax = sheet.axes(left, top + 0.72, width, height)
        if self.attribution is None:
            ax.set_axis_off()
            assert self.image is not None
            show_photo(ax, displayable(self.image))
        else:
            drawn = heatmap(
                ax,
                self.attribution,
                self.image,
                percentile=percentile,
                channel_axis=self.channel_axis,
                style=self.style,
                stretch=self.stretch,
            )
            sheet.color_bar(left, top + 0.82 + height, width, drawn)
            kinds = kinds_of(drawn, self.style)
        if self.mask is not None:
            outline(ax, self.mask)
        frames(ax, self.boxes, self.labels)
        return kinds


def panel_sheet(
    panels: Sequence[Panel],
    columns: int,
    *,
    title: str,
    subtitle: str = "",
    path: str | os.PathLike[str] | None = None,
    percentile: float = 99.0,
    width: int | None = None,
    inches: float | None = None,
) -> "Figure":
    """Draw panels from left to right and top to bottom; arguments and errors as in `grid`.

    Args:
        panels: What is drawn.
        columns: How many stand beside each other.
        title: heading of the figure.
        subtitle: second line of the heading.
        path: where to write the figure.
        percentile: where colours saturate.
        width: of the figure in pixels; by default 100 an inch.
        inches: width of the figure in inches; by default as many as the columns take.
    """
    needed = columns * _PANEL + (columns - 1) * GAP + 2 * MARGIN
    inches = min(max(needed, _NARROWEST), SHEET_WIDTH) if inches is None else inches
    panel_width = (inches - 2 * MARGIN - GAP * (columns - 1)) / columns
    lines = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    heights = [panel_width * max(panel.aspect for panel in line) for line in lines]
    head = head_height(inches, subtitle)
    foot = 0.25 + 0.24 * math.ceil(9 / inches)
    # Above a panel are its two lines, below a map its colour bar.
    rooms = [1.4 if any(panel.attribution is not None for panel in line) else 0.95 for line in lines]
    sheet = Sheet(head + sum(heights) + sum(rooms) + foot, width, title, inches, subtitle)
    top, kinds = head, set()
    for line, height, room in zip(lines, heights, rooms, strict=True):
        for place, panel in enumerate(line):
            left = MARGIN + place * (panel_width + GAP)
            kinds |= panel.draw(sheet, left, top, panel_width, height, percentile)
        top += height + room
    if kinds:
        sheet.foot(legend(percentile, kinds))
    return sheet.save(path)


def gallery(
    image: np.ndarray,
    attributions: Mapping[str, np.ndarray],
    *,
    title: str,
    label: str = "",
    score: float | None = None,
    notes: Mapping[str, str] | None = None,
    path: str | os.PathLike[str] | None = None,
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
    note = class_and_score(label, score)
    panels = [Panel("Input", note, image)]
    panels += [
        Panel(name, (notes or {}).get(name) or note, image, attribution)
        for name, attribution in attributions.items()
    ]
    columns = math.ceil(math.sqrt(len(panels)))
    options: dict[str, Any] = {"title": title, "path": path, "percentile": percentile, "width": width}
    return panel_sheet(panels, columns, inches=SHEET_WIDTH, **options)
