"""A white figure laid out in inches, and what every plot shares: colours, number formats, the legend."""

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxattr.errors import ParameterError, RuntimeMissingError
from onnxattr.files import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, FAINT = "#1b1f24", "#6b7280", "#c3c8d0"
RED, BLUE = "#c0342b", "#2f6db0"
# Inches. Everything is laid out on this width; the pixels asked for only set the resolution.
SHEET_WIDTH, MARGIN, GAP = 16.0, 0.45, 0.4


class Sheet:
    """A white figure laid out in inches from its top left corner, with a heading."""

    def __init__(self, height: float, width_pixels: int, title: str):
        self.height = height
        self.figure: Figure = matplotlib_module(".figure").Figure(
            (SHEET_WIDTH, height), dpi=width_pixels / SHEET_WIDTH, facecolor="white"
        )
        self.text(MARGIN, 0.65, title, 24, fit=SHEET_WIDTH - 2 * MARGIN, weight="bold")

    def axes(self, left: float, top: float, width: float, height: float) -> "Axes":
        """Axes in a box given in inches from the top left corner."""
        bottom = self.height - top - height
        box = (left / SHEET_WIDTH, bottom / self.height, width / SHEET_WIDTH, height / self.height)
        return self.figure.add_axes(box, facecolor="white")

    def text(
        self, left: float, baseline: float, string: str, size: float, fit: float | None = None, **style: Any
    ) -> None:
        """Write a line of text; it shrinks to `fit` inches if it is longer."""
        text = self.figure.text(left / SHEET_WIDTH, 1 - baseline / self.height, string)
        text.set(**{"size": size, "color": INK, "parse_math": False} | style)
        while fit and text.get_window_extent().width > fit * self.figure.dpi:
            size *= 0.95
            text.set_fontsize(size)

    def color_bar(self, left: float, top: float, width: float, drawn: Any) -> None:
        """Draw a slim horizontal colour bar whose ends and middle are labelled inside its width."""
        ax = self.axes(left, top, width, 0.09)
        low, high = drawn.get_clim()
        ticks = [low, 0, high] if low < 0 else [low, high]
        bar = self.figure.colorbar(drawn, cax=ax, orientation="horizontal", ticks=ticks)
        bar.outline.set_visible(False)
        ax.set_xticklabels([format_number(tick) for tick in ticks], parse_math=False)
        ax.tick_params(length=0, labelsize=12, labelcolor=MUTED, pad=3)
        ax.get_xticklabels()[0].set_horizontalalignment("left")
        ax.get_xticklabels()[-1].set_horizontalalignment("right")

    def finish(self, path: str | os.PathLike | None) -> "Figure":
        """Write the figure as a whole file, if there is a path; return it."""
        if path is not None:
            file_format = check_path(path)
            try:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ParameterError(f"The folder of {path} cannot be made: {error}.") from error
            with whole_file(path) as file:
                self.figure.savefig(file, format=file_format, facecolor="white")
        return self.figure


def check_path(path: str | os.PathLike) -> str:
    """The format in which a figure is written there.

    Raises:
        ParameterError: the path has a suffix of no such format.
    """
    file_format = Path(path).suffix[1:].lower()
    if file_format not in ("png", "svg", "pdf"):
        raise ParameterError(f"path={str(path)!r}; expected a name that ends in .png, .svg or .pdf")
    return file_format


def color_scale(signed: bool, opacity: float | None) -> Any:
    """Return the colour map; with an opacity, small values are transparent, so that what lies below shows."""
    matplotlib = matplotlib_module()
    colormap = matplotlib.colormaps["RdBu_r" if signed else "Purples"]
    if opacity is None:
        return colormap
    position = np.linspace(-1 if signed else 0, 1, 257)
    strength = np.abs(position)
    # Strong colours throughout: the transparency alone says how small a value is.
    vivid = np.sign(position) * (0.45 + 0.4 * strength)
    colors = colormap((vivid + 1) / 2 if signed else vivid + 0.1)
    colors[:, 3] = opacity * strength**0.65
    return matplotlib.colors.ListedColormap(colors)


def format_number(value: float) -> str:
    """Two significant digits, with a proper minus sign."""
    return f"{value:.2g}".replace("-", "\N{MINUS SIGN}")


def class_and_score(label: str, score: float | None) -> str:
    """What was explained, as the line under a title."""
    return label if score is None else f"{label} {score:.2f}".strip()


def legend(percentile: float) -> str:
    """The sentence that explains the colours."""
    saturation = (
        "" if percentile == 100 else f" Colours saturate at the {percentile:g}th percentile of each map."
    )
    return f"Red: positive, blue: negative, purple: maps that are never negative.{saturation}"


def matplotlib_module(module: str = "") -> Any:
    """Import matplotlib, or one of its modules, on first use."""
    try:
        return importlib.import_module(f"matplotlib{module}")
    except ImportError as error:
        raise RuntimeMissingError(
            f"drawing needs matplotlib, which cannot be imported ({error}). Install it: pip install 'onnxattr[plot]'"
        ) from error
