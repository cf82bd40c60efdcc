"""Several images by several methods."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxattr.errors import ShapeError
from onnxattr.plots.checks import require_one_each
from onnxattr.plots.panels import Panel, panel_sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: How many images a grid shows, and how many of one method stand above their maps.
MOST, LINES = 12, 4


@dataclass(frozen=True)
class Marks:
    """What is drawn over the images, for each image.

    Attributes:
        masks: (H, W) arrays, whose outlines are drawn.
        boxes: Boxes (x0, y0, x1, y1) in pixels.
        labels: What stands in each box.
    """

    masks: Sequence[np.ndarray] = ()
    boxes: Sequence[Sequence[Sequence[float]]] = ()
    labels: Sequence[Sequence[str]] = ()

    def check(self, count: int) -> None:
        """Checks that there are some for each image, or none.

        Raises:
            ShapeError: If there are not, or a mask or box is none.
        """
        for what in ("masks", "boxes", "labels"):
            given = getattr(self, what)
            if len(given) not in (0, count):
                raise ShapeError(
                    f"{what} for {len(given)} images, and {count} are drawn; expected some for each."
                )
        if odd := [np.shape(mask) for mask in self.masks if np.ndim(mask) != 2]:
            raise ShapeError(f"a mask has shape {odd[0]}; expected (H, W).")
        for boxes, labels in zip(self.boxes, self.labels, strict=False):
            require_one_each("labels", labels, len(boxes), "boxes of an image")
        if len(self.labels) and not len(self.boxes):
            raise ShapeError("labels stand in boxes, and there are none; give boxes too.")
        for boxes in self.boxes:
            corners = np.asarray(boxes, np.float64) if np.size(boxes) else np.empty((0, 4))
            if corners.ndim != 2 or corners.shape[1] != 4:
                raise ShapeError(f"the boxes of an image have shape {corners.shape}; expected (boxes, 4).")
            wrong = ~(corners[:, :2] <= corners[:, 2:]).all(axis=1)
            if wrong.any():
                raise ShapeError(
                    f"the box {corners[wrong][0].tolist()} is none; expected x0, y0, x1, y1 with x0 <= x1 and y0 <= y1."
                )

    def of(self, index: int) -> dict[str, Any]:
        """Those of one image, as a panel takes them."""
        found: dict[str, Any] = {"mask": self.masks[index]} if len(self.masks) else {}
        if len(self.boxes):
            found["boxes"] = self.boxes[index]
        if len(self.labels):
            found["labels"] = self.labels[index]
        return found


def grid(
    images: Sequence[np.ndarray] | np.ndarray | None,
    attributions: Mapping[str, Sequence[np.ndarray] | np.ndarray],
    *,
    title: str,
    names: Sequence[str] = (),
    captions: Sequence[str] = (),
    notes: Mapping[str, Sequence[str]] | None = None,
    styles: Mapping[str, str] | None = None,
    marks: Marks | None = None,
    channel_axis: int | None = None,
    stretch: bool = False,
    subtitle: str = "",
    path: str | os.PathLike[str] | None = None,
    percentile: float = 99.0,
    width: int | None = None,
) -> "Figure":
    """Draw images by methods: a line for each image, a column for the image itself and one for each method's map.

    Two to four images by one method stand beside each other with their maps below; more without, each below its map.
    The first 12 images are drawn.

    Args:
        images: (N, H, W), (N, H, W, C) or (N, C, H, W), or a list of images; as in `heatmap`. None: maps alone.
        attributions: N maps for each method, by the method's name; as in `heatmap`.
        title: heading of the figure.
        names: what is explained in each image, such as "Egyptian cat".
        captions: a second line for each image, such as "score 9.21".
        notes: what is said of each map, by the method's name, such as "gap 3 %".
        styles: by the method's name, "grain" or "cam"; see `heatmap`.
        marks: masks and boxes over the images.
        channel_axis: axis of the channels in each map, see `heatmap`.
        stretch: whether maps of another size than the images are stretched over them.
        subtitle: second line of the heading.
        path: where to write the figure; the suffix chooses the format (.png, .svg, .pdf).
        percentile: where colours saturate, see `color_limits`.
        width: of the figure in pixels; by default 100 an inch.

    Returns:
        The figure.

    Raises:
        ShapeError: as `heatmap`, or maps or marks are not as many as images; nothing is written then.
        ParameterError: as `heatmap`, or the path has another suffix.
        RuntimeMissingError: matplotlib is not installed.
    """
    count = _count(images, attributions, names)
    (marks or Marks()).check(count)
    require_one_each("captions", captions, count, "images")
    for method, said in (notes or {}).items():
        require_one_each(f"notes of {method}", said, count, "images")
    if unknown := sorted({*(notes or ()), *(styles or ())} - set(attributions)):
        raise ShapeError(f"notes or styles name {unknown}; the methods are {list(attributions)}")
    alone = len(attributions) == 1 and (count > LINES or images is None)

    def panels_of(index: int) -> Iterator[Panel]:
        """The image, unless its only map stands alone, and the maps."""
        image = None if images is None else np.asanyarray(images[index])
        name = names[index] if len(names) else ""
        caption, over = captions[index] if len(captions) else "", (marks or Marks()).of(index)
        if image is not None and not alone:
            yield Panel(name or "Input", caption, image, **over)
        for method, maps in attributions.items():
            said = ((notes or {}).get(method) or [""] * count)[index]
            first, second = (name or f"sample {index}", _joined(caption, said)) if alone else (method, said)
            style = (styles or {}).get(method, "grain")
            shown: dict[str, Any] = {"channel_axis": channel_axis, "stretch": stretch, **over}
            yield Panel(first, second, image, np.asanyarray(maps[index]), style, **shown)

    panels = [panel for index in range(min(count, MOST)) for panel in panels_of(index)]
    columns = len(attributions) + (images is not None)
    if alone:
        columns = min(4, len(panels)) if len(panels) != 6 else 3
        (method,) = attributions
        subtitle = subtitle or (method if method not in title else "")
    elif len(attributions) == 1 and count > 1:
        columns, panels = count, panels[::2] + panels[1::2]
    if count > MOST:
        subtitle = _joined(subtitle, f"the first {MOST} of {count}")
    options: dict[str, Any] = {"path": path, "percentile": percentile, "width": width}
    return panel_sheet(panels, columns, title=title, subtitle=subtitle, **options)


def _joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))


def _count(images: Any, attributions: Mapping[str, Any], names: Sequence[str]) -> int:
    """The number of images."""
    counts = {name: len(maps) for name, maps in attributions.items()}
    if images is not None:
        counts["images"] = len(images)
    if len(names):
        counts["names"] = len(names)
    if not attributions or len(set(counts.values())) > 1 or not min(counts.values()):
        raise ShapeError(f"A grid needs a map for each image by each method; given: {counts}.")
    return next(iter(counts.values()))
