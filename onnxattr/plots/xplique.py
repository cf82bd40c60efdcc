"""Plots under Xplique's names, with its arguments, for code that moves by changing an import.

They draw with pyplot, as Xplique does, so that ``plt.show()`` and ``plt.savefig()`` afterwards work. Colours are
Xplique's: each map is clipped and stretched to its own range, so that 0 has no colour of its own; ``plots.grid``,
``plots.bars`` and ``plots.summary`` show the sign.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxattr.errors import ParameterError, ShapeError
from onnxattr.plots.images import displayable
from onnxattr.plots.sheet import BLUE, RED, format_number, matplotlib_module
from onnxattr.plots.swarms import ranks, spread

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
        photo = displayable(_stretched(np.asarray(image, np.float32)))
        extent = plt.imshow(photo, cmap="gray").get_extent()
    values = _clipped(_map(explanation), clip_percentile, absolute_value)
    values = _stretched(values) if normalize_value else values
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
    maps = [_map(explanation) for explanation in explanations]
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
    maps = np.asarray(explanations, np.float64)
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
        clipped = _clipped(values, clip_percentile, absolute_value)
        scaled = clipped / (np.nanmax(np.abs(clipped)) or 1)
        drawn = plt.imshow(scaled.T, **{"cmap": cmap, "vmin": -1, "vmax": 1, "aspect": "auto"} | plot_kwargs)
        plt.title("" if subtitles is None else subtitles[index], fontsize=3 * img_size)
        plt.xlabel("time-steps", fontsize=2 * img_size)
        shown = np.unique(np.linspace(0, steps - 1, min(steps, 10)).astype(int))
        plt.xticks(shown, shown - steps, fontsize=2 * img_size)
        plt.ylabel("features", fontsize=2 * img_size)
        plt.yticks(range(len(features)), features, fontsize=2 * img_size)
        if colorbar:
            plt.colorbar(drawn)
    _show_or_save(plt, figure, filepath)
    return figure


def plot_feature_impact(
    explanation: Any,
    features_name: Sequence[str] | None = None,
    features_value: Any = None,
    max_display: int | None = None,
) -> "Figure":
    """Draw the attributions of one row as bars, in a new figure of pyplot.

    Args:
        explanation: (F,); of several rows (N, F) the mean of their attributions.
        features_name: the names of the features; None for their numbers.
        features_value: their values, shown beside the names.
        max_display: how many features are shown, the largest; None for all, in their order.

    Returns:
        The figure, which is pyplot's current one.

    Raises:
        ShapeError: the shape is another, or the names or values are not as many.
        RuntimeMissingError: matplotlib is not installed.
    """
    values = np.asarray(explanation, np.float64)
    values = values.mean(axis=0) if values.ndim == 2 else values
    names = _names(values, features_name)
    kept = _largest(np.abs(values), max_display)
    given = None if features_value is None else np.asarray(features_value)
    if given is not None and given.shape != values.shape:
        raise ShapeError(f"features_value has shape {given.shape}; expected {values.shape}.")
    labels = [names[i] if given is None else f"{round(float(given[i]), 3)} = {names[i]}" for i in kept]
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.3 * len(kept)), layout="constrained")
    bars = axes.barh(range(len(kept)), values[kept], color=[RED if v > 0 else BLUE for v in values[kept]])
    axes.bar_label(bars, [format_number(v) for v in values[kept]], padding=4)
    axes.axvline(0, color="dimgray", linewidth=1)
    axes.margins(x=0.15)
    axes.set_yticks(range(len(kept)), labels)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set(xlabel="Impact on output", title="Features impact")
    return figure


def plot_mean_feature_impact(
    explanations: Any, features_name: Sequence[str] | None = None, max_display: int | None = None
) -> "Figure":
    """Draw the mean attributions (N, F) of some rows as bars; see `plot_feature_impact`."""
    values = np.asarray(explanations, np.float64)
    if values.ndim != 2:
        raise ShapeError(f"explanations of shape {values.shape}; expected (N, F).")
    return plot_feature_impact(values, features_name, max_display=max_display)


def summary_plot_tabular(
    explanations: Any,
    features_values: Any = None,
    features_name: Sequence[str] | None = None,
    max_display: int | None = None,
    cmap: str = "viridis",
    clip_percentile: float | None = 1,
    alpha: float = 1,
    plot_size: Any = None,
) -> "Figure":
    """Draw a point for each row and feature, coloured by the feature's value, in a new figure of pyplot.

    Args:
        explanations: (N, F).
        features_values: (N, F), the inputs, or None.
        features_name: the names of the features; None for their numbers.
        max_display: how many features are shown, those with the largest mean |attribution|; None for all.
        cmap: matplotlib's colour map.
        clip_percentile: values beyond this percentile, and 100 minus it, have the colours of the ends; None colours by
            rank.
        alpha: opacity of the points.
        plot_size: inches (width, height) of the figure, or of the height of a feature's line.

    Returns:
        The figure, which is pyplot's current one.

    Raises:
        ShapeError: the shapes differ, or the names are not as many.
        ParameterError: the percentile is not in [0, 100].
        RuntimeMissingError: matplotlib is not installed.
    """
    maps = np.asarray(explanations, np.float64)
    given = None if features_values is None else np.asarray(features_values, np.float64)
    if maps.ndim != 2 or (given is not None and given.shape != maps.shape):
        raise ShapeError(
            f"explanations of shape {maps.shape}, values of {None if given is None else given.shape}; expected (N, F)."
        )
    names, kept = _names(maps[0], features_name), _largest(np.abs(maps).mean(axis=0), max_display)
    plt = _pyplot()
    size = plot_size if isinstance(plot_size, (list, tuple)) else (8, 1.5 + (plot_size or 0.4) * len(kept))
    figure, axes = plt.subplots(figsize=tuple(size), layout="constrained")
    axes.axvline(0, color="dimgray", linewidth=1)
    drawn = None
    for place, i in enumerate(kept):
        colors: dict[str, Any] = {"color": "slategrey"}
        if given is not None:
            shown = (
                ranks(given[:, i])
                if clip_percentile is None
                else _clipped(given[:, i], clip_percentile, False)
            )
            colors = {"c": _stretched(shown), "cmap": cmap, "vmin": 0, "vmax": 1}
        offsets = spread(maps[:, i], float(np.ptp(maps)) or 1.0)
        drawn = axes.scatter(maps[:, i], place + offsets, s=16, linewidth=0, alpha=alpha, zorder=3, **colors)
    if given is not None:
        bar = figure.colorbar(drawn, ax=axes, ticks=[0, 1], label="Feature value")
        bar.set_ticklabels(["Low", "High"])
    axes.set_yticks(range(len(kept)), [names[i] for i in kept])
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set(xlabel="Impact on output", ylim=(-1, len(kept)))
    return figure


def _pyplot() -> Any:
    return matplotlib_module(".pyplot")


def _figure(
    cols: int, rows: int, size: float, aspect: float, margin: float, spacing: float = 0.3
) -> "Figure":
    """A new figure of pyplot for pictures of a size, with their spacing and the margin around, in inches."""
    width = cols * size + (cols - 1) * spacing + 2 * margin
    height = rows * size * aspect + (rows - 1) * spacing + 2 * margin
    figure = _pyplot().figure(figsize=(width, height))
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


def _map(explanation: Any) -> np.ndarray:
    """One map (H, W); the mean over its channels, if it has some."""
    values = np.asarray(explanation, np.float64)
    if values.ndim == 3:
        first = values.shape[0] in (1, 3) and values.shape[2] not in (1, 3)
        values = values.mean(axis=0 if first else 2)
    if values.ndim != 2 or not values.size:
        raise ShapeError(
            f"an explanation has shape {np.shape(explanation)}; expected (H, W), or with a channel axis."
        )
    return values


def _clipped(values: np.ndarray, percentile: float | None, absolute: bool) -> np.ndarray:
    values = np.abs(values) if absolute else values
    if not percentile:
        return values
    if not 0 <= percentile <= 100:
        raise ParameterError(f"clip_percentile={percentile}; expected a number from 0 to 100")
    low, high = np.nanpercentile(values, percentile), np.nanpercentile(values, 100 - percentile)
    return np.clip(values, min(low, high), max(low, high))


def _stretched(values: np.ndarray) -> np.ndarray:
    """Values brought to [0, 1]; 0 where they are all the same."""
    low, high = np.nanmin(values), np.nanmax(values)
    return (values - low) / ((high - low) or 1)


def _names(values: np.ndarray, given: Sequence[str] | None) -> list[str]:
    if values.ndim != 1 or not len(values):
        raise ShapeError(f"an explanation has shape {values.shape}; expected (F,).")
    names = [f"Feature {i}" for i in range(len(values))] if given is None else list(map(str, given))
    if len(names) != len(values):
        raise ShapeError(f"{len(names)} names for {len(values)} features.")
    return names


def _largest(sizes: np.ndarray, count: int | None) -> np.ndarray:
    """The places of the largest, the largest first; all in their order without a count."""
    return np.arange(len(sizes)) if count is None else np.argsort(sizes)[::-1][:count]


def _show_or_save(plt: Any, figure: "Figure", path: str | None) -> None:
    if path is not None:
        figure.savefig(path)
    elif plt.get_backend().lower() not in ("agg", "pdf", "svg", "ps", "cairo", "template"):
        plt.show()
