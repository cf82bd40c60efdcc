"""A white figure laid out in inches, and what every plot shares: colours, number formats, the legend."""

import importlib
import os
import textwrap
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxattr.errors import ParameterError, RuntimeMissingError
from onnxattr.files import whole_file
from onnxattr.home import at_home
from onnxattr.plots.checks import finite, real

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, FAINT = "#1b1f24", "#5b6472", "#c3c8d0"
RED, BLUE, PURPLE, BAD = "#c0342b", "#2f6db0", "#6a51a3", "#3ddc4a"
# Inches. Everything is laid out on this width; the pixels asked for only set the resolution.
SHEET_WIDTH, MARGIN, GAP = 16.0, 0.45, 0.4
ELLIPSIS, MINUS = "\N{HORIZONTAL ELLIPSIS}", "\N{MINUS SIGN}"


class Sheet:
    """A white figure laid out in inches from its top left corner, with a heading."""

    def __init__(
        self,
        height: float,
        width_pixels: int | None,
        title: str,
        inches: float = SHEET_WIDTH,
        subtitle: str = "",
    ):
        self.height, self.width = height, inches
        dpi = 100 if width_pixels is None else finite(width_pixels, "width", above=0) / inches
        self.figure: Figure = matplotlib_module(".figure").Figure(
            (inches, height), dpi=dpi, facecolor="white"
        )
        size = title_size(inches)
        self.text(MARGIN, 0.2 + size / 54, title, size, fit=inches - 2 * MARGIN, weight="bold")
        if subtitle:
            self.text(MARGIN, 0.5 + size / 54, subtitle, 13, fit=inches - 2 * MARGIN, color=MUTED)

    def axes(self, left: float, top: float, width: float, height: float) -> "Axes":
        """Axes in a box given in inches from the top left corner."""
        bottom = self.height - top - height
        box = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(box, facecolor="white")

    def text(
        self, left: float, baseline: float, string: str, size: float, fit: float | None = None, **style: Any
    ) -> None:
        """Write a line of text; where it is longer than `fit` inches, it shrinks a little and is then shortened."""
        # Names of files may hold bytes that are no text, for which no font has letters.
        string = string.encode("utf-8", "replace").decode()
        text = self.figure.text(left / self.width, 1 - baseline / self.height, string)
        text.set(**{"size": size, "color": INK, "parse_math": False} | style)
        if fit and string.strip():
            self.fit(text, string, size, fit)

    def fit(self, text: Any, string: str, size: float, inches: float, ending: str = "") -> None:
        """Shrink a text to 0.75 of its size at most, then shorten it before its ending, to a width of some inches."""
        text.set_text(string + ending)

        def wide() -> bool:
            return bool(text.get_window_extent().width > inches * self.figure.dpi)

        smallest = 0.75 * size
        for _ in range(3):  # widths are not quite proportional to sizes
            share = inches * self.figure.dpi / max(text.get_window_extent().width, 1)
            if share >= 1 or size <= smallest:
                break
            size = max(0.99 * share * size, smallest)
            text.set_fontsize(size)
        low, high = 0, len(string) if wide() else 0
        while low < high:
            middle = (low + high + 1) // 2
            text.set_text(string[:middle].rstrip() + ELLIPSIS + ending)
            low, high = (low, middle - 1) if wide() else (middle, high)
        if high:
            text.set_text(string[:high].rstrip() + ELLIPSIS + ending)

    def tick_names(self, ax: "Axes", names: Sequence[str], size: float, inches: float) -> None:
        """Name the places 0, 1, ... of a vertical axis; a value behind " = " stays where the name is shortened."""
        ax.set_yticks(range(len(names)), names, parse_math=False)
        labels = ax.get_yticklabels()
        for label, name in zip(labels, names, strict=True):
            called, equals, value = name.rpartition(" = ")
            self.fit(label, called if equals else name, size, inches, equals + value if equals else "")
        ax.set_yticks(range(len(names)), [label.get_text() for label in labels], parse_math=False)

    def lines(self, string: str, size: float = 12) -> list[str]:
        """A text in lines that fit the sheet's width."""
        letters = int((self.width - 2 * MARGIN) * 72 / (0.55 * size))
        return textwrap.wrap(string, letters)

    def foot(self, string: str, size: float = 12) -> None:
        """Write a text at the bottom, in as many lines as it takes: 0.25 inches and 0.24 for each."""
        lines = self.lines(string, size)
        for number, line in enumerate(reversed(lines)):
            self.text(MARGIN, self.height - 0.25 - 0.24 * number, line, size, color=MUTED)

    def color_bar(self, left: float, top: float, width: float, drawn: Any) -> None:
        """Draw a slim horizontal colour bar, labelled at its ends and at 0; the labels say where colours saturate."""
        ax = self.axes(left, top, width, 0.09)
        low, high = drawn.get_clim()
        ticks = [low, 0, high] if low < 0 else [low, high]
        bar = self.figure.colorbar(drawn, cax=ax, orientation="horizontal", ticks=ticks)
        bar.outline.set_visible(False)
        values = np.ma.compressed(np.ma.masked_invalid(drawn.get_array()))
        ax.set_xticklabels([_tick(tick, values, low < 0) for tick in ticks], parse_math=False)
        ax.tick_params(length=0, labelsize=12, labelcolor=MUTED, pad=3)
        ax.get_xticklabels()[0].set_horizontalalignment("left")
        ax.get_xticklabels()[-1].set_horizontalalignment("right")

    def save(self, path: str | os.PathLike[str] | None) -> "Figure":
        """Write the figure as a whole file, if there is a path; return it."""
        if path is not None:
            path = at_home(path)
            file_format = check_path(path)
            try:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ParameterError(f"The folder of {path} cannot be made: {error}.") from error
            with whole_file(path) as file:
                self.figure.savefig(file, format=file_format, facecolor="white")
        return self.figure


def check_path(path: str | os.PathLike[str]) -> str:
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
    colormap = matplotlib.colormaps["RdBu_r" if signed else "Purples"].with_extremes(bad=BAD)
    if opacity is None:
        return colormap
    position = np.linspace(-1 if signed else 0, 1, 257)
    strength = np.abs(position)
    # Strong colours throughout: the transparency alone says how small a value is.
    vivid = np.sign(position) * (0.45 + 0.4 * strength)
    colors = colormap((vivid + 1) / 2 if signed else vivid + 0.1)
    colors[:, 3] = opacity * strength**0.65
    return matplotlib.colors.ListedColormap(colors).with_extremes(bad=BAD)


def _tick(tick: float, values: np.ndarray, signed: bool) -> str:
    """The label of an end of a colour bar: with a sign where values beyond it have the same colour."""
    lower = tick < 0 or (tick == 0 and not signed)
    beyond = values.min() < tick if lower else tick > 0 and values.max() > tick
    sign = ("\N{LESS-THAN OR EQUAL TO} " if lower else "\N{GREATER-THAN OR EQUAL TO} ") if beyond else ""
    return sign + format_number(tick)


def format_number(value: float) -> str:
    """Two significant digits, with a proper minus sign."""
    return f"{value:.2g}".replace("-", MINUS)


def class_and_score(label: str, score: float | None) -> str:
    """What was explained, as the line under a title."""
    return label if score is None else f"{label} {real(score, 'score'):.2f}".strip()


def head_height(inches: float, subtitle: str = "") -> float:
    """The inches that the heading of a sheet of some width takes."""
    return 0.4 + title_size(inches) / 54 + (0.3 if subtitle else 0.0)


def title_size(inches: float) -> float:
    """The points of a heading."""
    return min(24, 10 + inches)


def legend(percentile: float, kinds: Collection[str] = ("signed", "unsigned")) -> str:
    """The sentences that explain the colours of maps of some kinds: "signed", "unsigned", "cam", "bad", "zero"."""
    sentences = {
        "signed": "Red: positive, blue: negative.",
        "unsigned": "Purple: size, never negative.",
        "cam": "Yellow: large, never negative.",
        "bad": "Green: NaN or infinite.",
        "zero": "A map of one colour is 0 everywhere.",
    }
    told = [sentence for kind, sentence in sentences.items() if kind in kinds]
    if percentile != 100:
        told.append(f"Colours saturate at the {percentile:g}th percentile of each map.")
    return " ".join(told)


def kinds_of(drawn: Any, style: str = "grain") -> set[str]:
    """What a drawn map's colours mean, as ``legend`` takes it."""
    signed = drawn.get_clim()[0] < 0
    bad = {"bad"} if np.ma.is_masked(drawn.get_array()) else set()
    bad |= set() if np.any(np.ma.filled(drawn.get_array(), 1)) else {"zero"}
    return bad | {"signed" if signed else "cam" if style == "cam" else "unsigned"}


def cam_scale(opacity: float | None) -> Any:
    """The colours of smooth maps that are never negative, over an image that shows through."""
    matplotlib = matplotlib_module()
    position = np.linspace(0, 1, 256)
    colors = matplotlib.colormaps["inferno"](0.12 + 0.85 * position)
    if opacity is not None:
        colors[:, 3] = opacity * (0.25 + 0.5 * position)
    return matplotlib.colors.ListedColormap(colors).with_extremes(bad=BAD)


def matplotlib_module(module: str = "") -> Any:
    """Import matplotlib, or one of its modules, on first use."""
    try:
        return importlib.import_module(f"matplotlib{module}")
    except ImportError as error:
        raise RuntimeMissingError(
            f"drawing needs matplotlib, which cannot be imported ({error}). Install it: pip install 'onnxattr[plot]'"
        ) from error
