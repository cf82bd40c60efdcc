"""Curves of scores as features are taken or given, one colour a method."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxattr.errors import ParameterError
from onnxattr.plots.sheet import FAINT, INK, MARGIN, MUTED, SHEET_WIDTH, Sheet, matplotlib_module

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: What may be told apart beside each other, also by those who do not see all colours (Okabe and Ito, 2008).
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7a4fbf", "#8c564b", "#1b1f24")
_CONTROL_COLORS = ("#4b5563", "#7b8490", "#a3abb6")
_STYLES = ("-", "--", "-.", ":")


def score_curves(
    curves: Mapping[str, Mapping[str, Any]],
    *,
    title: str,
    notes: Mapping[str, str] | None = None,
    controls: tuple[str, ...] = (),
    path: str | os.PathLike[str] | None = None,
    width: int = 1600,
) -> "Figure":
    """Draw for each metric the mean score of each method on the way, with a band from quartile to quartile.

    Controls have no band.

    Args:
        curves: By metric and method something with ``shares`` (S + 1,), of the features that have changed, and
            ``scores`` (N, S + 1).
        title: heading of the figure.
        notes: By metric what stands beside its name.
        controls: Methods that are drawn in grey.
        path: where to write the figure; the suffix chooses the format (.png, .svg, .pdf).
        width: of the figure in pixels.

    Returns:
        The figure.

    Raises:
        ParameterError: There is no curve, or the path has another suffix.
        RuntimeMissingError: matplotlib is not installed.
    """
    if not curves or not all(curves.values()):
        raise ParameterError("There are no curves to draw: measure Deletion or Insertion.")
    methods = list(dict.fromkeys(method for found in curves.values() for method in found))
    looks = _looks(methods, controls)
    rows = -(-len(methods) // 6)
    sheet = Sheet(7.75 + 0.35 * rows, width, title)
    gap = 0.9
    panel = (SHEET_WIDTH - 2 * MARGIN - 0.5 - gap * (len(curves) - 1)) / len(curves)
    for index, (metric, found) in enumerate(curves.items()):
        left = MARGIN + 0.5 + index * (panel + gap)
        sheet.text(left, 1.3, metric, 16, weight="bold")
        sheet.text(left + 0.14 * len(metric) + 0.15, 1.3, (notes or {}).get(metric, ""), 13, color=MUTED)
        _draw(sheet.axes(left, 1.5, panel, 5.0), found, looks, controls)
    _legend(sheet, methods, looks)
    samples = len(next(iter(next(iter(curves.values())).values())).scores)
    sheet.text(
        MARGIN,
        sheet.height - 0.25,
        f"Lines: mean of {samples} samples. Bands: from the first to the third quartile.",
        12,
        color=MUTED,
    )
    return sheet.save(path)


def _draw(
    ax: Any, found: Mapping[str, Any], looks: Mapping[str, tuple[str, str]], controls: tuple[str, ...]
) -> None:
    """Draws the curves of one metric."""
    # Many bands over each other would be one grey.
    opacity = min(0.12, 0.4 / len(looks))
    for method, curve in found.items():
        color, style = looks[method]
        shares = 100 * curve.shares
        if method not in controls:
            low, high = np.percentile(curve.scores, [25, 75], axis=0)
            ax.fill_between(shares, low, high, color=color, alpha=opacity, linewidth=0)
        ax.plot(shares, curve.scores.mean(axis=0), color=color, linestyle=style, linewidth=2.2)
    _dress(ax, next(iter(found.values())).shares)


def _looks(methods: list[str], controls: tuple[str, ...]) -> dict[str, tuple[str, str]]:
    """Colour and style of each method's line."""
    own = [method for method in methods if method not in controls]
    grey = [method for method in methods if method in controls]
    looks = {
        method: (_COLORS[i % len(_COLORS)], _STYLES[i // len(_COLORS) % len(_STYLES)])
        for i, method in enumerate(own)
    }
    return looks | {
        method: (_CONTROL_COLORS[i % len(_CONTROL_COLORS)], _STYLES[(i + 1) % len(_STYLES)])
        for i, method in enumerate(grey)
    }


def _dress(ax: Any, shares: np.ndarray) -> None:
    ax.set_xlim(0, 100 * float(shares[-1]))
    ax.set_xlabel("features changed, %", fontsize=13, color=MUTED)
    ax.set_ylabel("score", fontsize=13, color=MUTED)
    ax.tick_params(labelsize=12, colors=MUTED, length=0)
    ax.grid(color=FAINT, linewidth=0.6, alpha=0.6)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(FAINT)


def _legend(sheet: Sheet, methods: list[str], looks: dict[str, tuple[str, str]]) -> None:
    lines = matplotlib_module(".lines")
    handles = [
        lines.Line2D([], [], color=looks[m][0], linestyle=looks[m][1], linewidth=2.6, label=m)
        for m in methods
    ]
    legend = sheet.figure.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(MARGIN / SHEET_WIDTH, 0.55 / sheet.height),
        ncols=min(6, len(methods)),
        frameon=False,
        fontsize=13,
        labelcolor=INK,
        borderaxespad=0,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
