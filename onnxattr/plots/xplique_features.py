"""Bars and points of features under Xplique's names, with its arguments, for code that moves by changing an import.

They draw with pyplot; see ``xplique``.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxattr.errors import ShapeError
from onnxattr.plots.colors import numbers
from onnxattr.plots.sheet import BLUE, RED, format_number, matplotlib_module
from onnxattr.plots.stretching import clipped, stretched
from onnxattr.plots.swarms import ranks, spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_feature_impact(
    explanation: Any,
    features_name: Sequence[str] | None = None,
    features_value: Any = None,
    max_display: int | None = None,
) -> "Figure":
    """Draw the attributions of one sample as bars, in a new figure of pyplot.

    Args:
        explanation: (F,), or (N, F) for several samples, whose mean is drawn.
        features_name: the names of the features; None for their numbers.
        features_value: their values, shown beside the names.
        max_display: how many features are shown, the largest; None for all, in their order.

    Returns:
        The figure, which is pyplot's current one.

    Raises:
        ShapeError: the shape is neither, or there are not as many names or values as features.
        RuntimeMissingError: matplotlib is not installed.
    """
    values = numbers(explanation, "the explanation")
    values = values.mean(axis=0) if values.ndim == 2 else values
    names = _names(values, features_name)
    kept = _largest(np.abs(values), max_display)
    given = None if features_value is None else np.asarray(features_value)
    if given is not None and given.shape != values.shape:
        raise ShapeError(f"features_value has shape {given.shape}; expected {values.shape}.")
    labels = [names[i] if given is None else f"{round(float(given[i]), 3)} = {names[i]}" for i in kept]
    plt = matplotlib_module(".pyplot")
    figure: Figure
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
    """Draw the mean attributions (N, F) of several samples as bars; see `plot_feature_impact`."""
    values = numbers(explanations, "explanations")
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
    """Draw a point for each sample and feature, coloured by the feature's value, in a new figure of pyplot.

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
        ShapeError: the shapes differ, or there are not as many names as features.
        ParameterError: the percentile is not in [0, 100].
        RuntimeMissingError: matplotlib is not installed.
    """
    maps = numbers(explanations, "explanations")
    given = None if features_values is None else np.asarray(features_values, np.float64)
    if maps.ndim != 2 or (given is not None and given.shape != maps.shape):
        what = "" if given is None else f" and features_values of shape {given.shape}"
        raise ShapeError(f"explanations of shape {maps.shape}{what}; expected (N, F).")
    names, kept = _names(maps[0], features_name), _largest(np.abs(maps).mean(axis=0), max_display)
    plt = matplotlib_module(".pyplot")
    size = plot_size if isinstance(plot_size, (list, tuple)) else (8, 1.5 + (plot_size or 0.4) * len(kept))
    figure: Figure
    figure, axes = plt.subplots(figsize=tuple(size), layout="constrained")
    axes.axvline(0, color="dimgray", linewidth=1)
    drawn: Any = None
    for place, i in enumerate(kept):
        colors = {"color": "slategrey"} if given is None else _colors(given[:, i], cmap, clip_percentile)
        offsets = spread(maps[:, i], float(np.ptp(maps)) or 1.0)
        drawn = axes.scatter(maps[:, i], place + offsets, s=16, linewidth=0, alpha=alpha, zorder=3, **colors)
    if given is not None:
        bar = figure.colorbar(drawn, ax=axes, ticks=[0, 1], label="Feature value")
        bar.set_ticklabels(["Low", "High"])
    axes.set_yticks(range(len(kept)), [names[i] for i in kept])
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set(xlabel="Impact on output", ylim=(-1, len(kept)))
    return figure


def _colors(values: np.ndarray, cmap: str, percentile: float | None) -> dict[str, Any]:
    """The colours of points by the values of their feature."""
    shown = ranks(values) if percentile is None else clipped(values, percentile, False)
    return {"c": stretched(shown), "cmap": cmap, "vmin": 0, "vmax": 1}


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
