"""Maps of images and series under Xplique's names, with its arguments, for code that moves by changing an import.

They draw with pyplot, as Xplique does, so that ``plt.show()`` and ``plt.savefig()`` afterwards work. Colours are
Xplique's: each map is clipped and stretched to its own range, so that 0 has no colour of its own; ``plots.grid``,
``plots.bars`` and ``plots.summary`` show the sign.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxattr.errors import ShapeError
from onnxattr.home import at_home
from onnxattr.plots.colors import numbers
from onnxattr.plots.images import displayable
from onnxattr.plots.sheet import matplotlib_module
from onnxattr.plots.stretching import clipped, stretched

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Inches.
_MARGIN = 0.3


def plot_attribution(
    explanation: Any,
    image: Any = None,
    cmap: str = "jet",
    alpha: float = 0.5,
    clip_percentile: float | None = 0.1,
    absolute_value: bool = False,
    normalize_value: bool = True,
    **plot_kwargs: Any,
) -> None:
    """Draw one map over its image into pyplot's current axes.

    Args:
        explanation: (H, W), or with a channel axis, first or last, over which the mean is drawn.
        image: (H, W), (H, W, C) or (C, H, W); stretched to its own range.
        cmap: matplotlib's colour map.
        alpha: opacity of the map.
        clip_percentile: c clips at the percentiles c and 100 - c; None for no clipping.
        absolute_value: whether absolute values are drawn.
        normalize_value: whether the map is stretched to [0, 1].
        **plot_kwargs: passed on to ``plt.imshow``.

    Raises:
        ShapeError: a shape is none of the above.
        ParameterError: the percentile is not in [0, 100].
        RuntimeMissingError: matplotlib is not installed.
    """
    plt = _pyplot()
    extent = None
    if image is not None:
        photo = _photo(image)
        extent = plt.imshow(photo, cmap="gray").get_extent()
    values = clipped(
        _map(explanation, None if image is None else photo.shape[:2]), clip_percentile, absolute_value
    )
    values = stretched(values) if normalize_value else values
    plt.imshow(values, **{"cmap": cmap, "alpha": alpha, "extent": extent} | plot_kwargs)
    plt.axis("off")


def plot_attributions(
    explanations: Any,
    images: Any = None,
    cmap: str = "viridis",
    alpha: float = 0.5,
    clip_percentile: float | None = 0.1,
    absolute_value: bool = False,
    cols: int = 5,
    img_size: float = 2.0,
    **plot_kwargs: Any,
) -> "Figure":
    """Draw maps beside each other, each over its image, in a new figure of pyplot.

    Args:
        explanations: a map for each image, shapes as in `plot_attribution`.
        images: as many images, or None.
        cmap: see `plot_attribution`; so are the arguments not listed here.
        alpha: see `plot_attribution`.
        clip_percentile: see `plot_attribution`.
        absolute_value: see `plot_attribution`.
        cols: number of columns.
        img_size: inches of each picture.
        **plot_kwargs: passed on to ``plt.imshow``.

    Returns:
        The figure, which is pyplot's current one.

    Raises:
        ShapeError: there are not as many images as maps, or none, or a shape is none of those.
        ParameterError: the percentile is not in [0, 100].
        RuntimeMissingError: matplotlib is not installed.
    """
    if not len(explanations) or (images is not None and len(images) != len(explanations)):
        raise ShapeError(
            f"{len(explanations)} explanations{'' if images is None else f' and {len(images)} images'}: expected at "
            "least one, and an image for each."
        )
    sizes = [None] * len(explanations) if images is None else [_photo(image).shape[:2] for image in images]
    maps = [_map(explanation, size) for explanation, size in zip(explanations, sizes, strict=True)]
    rows, aspect = math.ceil(len(maps) / cols), maps[0].shape[0] / maps[0].shape[1]
    plt = _pyplot()
    figure = _figure(cols, rows, img_size, aspect, _MARGIN)
    for index, values in enumerate(maps):
        plt.subplot(rows, cols, index + 1)
        image = None if images is None else images[index]
        plot_attribution(values, image, cmap, alpha, clip_percentile, absolute_value, **plot_kwargs)
    return figure


def plot_timeseries_attributions(
    explanations: Any,
    features: Sequence[str],
    title: str | None = None,
    subtitles: Sequence[str] | None = None,
    filepath: str | None = None,
    cmap: str = "coolwarm",
    colorbar: bool = False,
    clip_percentile: float | None = 0.1,
    absolute_value: bool = False,
    cols: int = 5,
    img_size: float = 3.0,
    **plot_kwargs: Any,
) -> "Figure":
    """Draw maps of series as fields of colours, a line for each feature, in a new figure of pyplot.

    Unlike Xplique's, a map is divided by its largest absolute value and not stretched to [0, 1]: the middle of the
    colours is 0, on a scale from -1 to 1.

    Args:
        explanations: (N, T, F).
        features: the names of the F features.
        title: heading of the figure.
        subtitles: the title of each map.
        filepath: where to write the figure; None to show it, where pyplot can.
        cmap: matplotlib's colour map.
        colorbar: whether each map has a colour bar.
        clip_percentile: see `plot_attribution`.
        absolute_value: see `plot_attribution`.
        cols: number of columns.
        img_size: inches of each picture.
        **plot_kwargs: passed on to ``plt.imshow``.

    Returns:
        The figure, which is pyplot's current one.

    Raises:
        ShapeError: the shape is another, or the names are not as many.
        ParameterError: the percentile is not in [0, 100].
        RuntimeMissingError: matplotlib is not installed.
    """
    maps = numbers(explanations, "explanations")
    if maps.ndim != 3 or not len(maps) or maps.shape[2] != len(features):
        raise ShapeError(
            f"explanations of shape {maps.shape} and {len(features)} features; expected (N, T, F)."
        )
    if subtitles is not None and len(subtitles) != len(maps):
        raise ShapeError(f"{len(subtitles)} subtitles for {len(maps)} explanations; expected one for each.")
    plt = _pyplot()
    rows, steps = math.ceil(len(maps) / cols), maps.shape[1]
    margin = _MARGIN + 0.7 * colorbar + (title is not None)
    figure = _figure(cols, rows, img_size, maps.shape[2] / steps, margin, spacing=1.5)
    if title is not None:
        plt.suptitle(title, fontsize=4 * img_size)
    for index, values in enumerate(maps):
        plt.subplot(rows, cols, index + 1)
        kept = clipped(values, clip_percentile, absolute_value)
        scaled = kept / (np.nanmax(np.abs(kept)) or 1)
        drawn = plt.imshow(scaled.T, **{"cmap": cmap, "vmin": -1, "vmax": 1, "aspect": "auto"} | plot_kwargs)
        plt.title("" if subtitles is None else subtitles[index], fontsize=3 * img_size)
        _label_series(plt, steps, features, 2 * img_size)
        if colorbar:
            plt.colorbar(drawn)
    _show_or_save(plt, figure, filepath)
    return figure


def _pyplot() -> Any:
    return matplotlib_module(".pyplot")


def _figure(
    cols: int, rows: int, size: float, aspect: float, margin: float, spacing: float = 0.3
) -> "Figure":
    """A new figure of pyplot for pictures of a size, with their spacing and the margin around, in inches."""
    width = cols * size + (cols - 1) * spacing + 2 * margin
    height = rows * size * aspect + (rows - 1) * spacing + 2 * margin
    figure: Figure = _pyplot().figure(figsize=(width, height))
    across, down = margin / width, margin / height
    figure.subplots_adjust(
        left=across,
        right=1 - across,
        bottom=down,
        top=1 - down,
        wspace=spacing / size,
        hspace=spacing / (size * aspect),
    )
    return figure


def _photo(image: Any) -> np.ndarray:
    """An image, stretched to its own range, (H, W) or (H, W, 3)."""
    return displayable(stretched(np.asarray(image, np.float32)))


def _channel_axis(shape: tuple[int, ...], size: tuple[int, ...] | None) -> int:
    """The axis of the channels of a map, the first or the last; ``size`` is (H, W) of its image, if there is one.

    Raises:
        ShapeError: it may be either.
    """
    ends = {0: shape[1:], 2: shape[:2]}
    for fits in (
        [axis for axis, space in ends.items() if space == size],
        [axis for axis in ends if shape[axis] in (1, 3)],
        [axis for axis, space in ends.items() if space[0] == space[1]],
    ):
        if len(fits) == 1:
            return fits[0]
    if shape[2] in (1, 3):
        return 2
    raise ShapeError(
        f"an explanation has shape {shape}: its channels may be the first axis or the last. Give its mean over the "
        "channels, (H, W)."
    )


def _map(explanation: Any, size: tuple[int, ...] | None = None) -> np.ndarray:
    """One map (H, W); the mean over its channels, if it has some. ``size`` is (H, W) of its image."""
    values = numbers(explanation, "the explanation")
    if values.ndim == 3:
        values = values.mean(axis=_channel_axis(values.shape, size))
    if values.ndim != 2 or not values.size:
        raise ShapeError(
            f"an explanation has shape {np.shape(explanation)}; expected (H, W), or with a channel axis."
        )
    return values


def _label_series(plt: Any, steps: int, features: Sequence[str], size: float) -> None:
    """Labels the axes of a map of a series; the last time step is -1."""
    shown = np.unique(np.linspace(0, steps - 1, min(steps, 10)).astype(int))
    plt.xlabel("time-steps", fontsize=size)
    plt.xticks(shown, shown - steps, fontsize=size)
    plt.ylabel("features", fontsize=size)
    plt.yticks(range(len(features)), features, fontsize=size)


def _show_or_save(plt: Any, figure: "Figure", path: str | None) -> None:
    if path is not None:
        figure.savefig(at_home(path))
    elif plt.get_backend().lower() not in ("agg", "pdf", "svg", "ps", "cairo", "template"):
        plt.show()
