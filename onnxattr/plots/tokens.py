"""Texts whose tokens are coloured by their attributions: as a figure, and as HTML."""

import html
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxattr.callers import warn_caller
from onnxattr.errors import ShapeError
from onnxattr.plots.checks import require_one_each, require_texts
from onnxattr.plots.colors import color_limits, numbers
from onnxattr.plots.sheet import (
    BAD,
    INK,
    MARGIN,
    MUTED,
    Sheet,
    color_scale,
    format_number,
    head_height,
    legend,
    matplotlib_module,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH, _SIZE, _LINE = 11.0, 16.0, 0.42
_PADDING = frozenset("[PAD] <pad> <PAD> [pad] <|pad|>".split())
_MARKS = frozenset(
    "[CLS] [SEP] [MASK] [UNK] <s> </s> <unk> <mask> <cls> <sep> <bos> <eos> <start_of_turn> <end_of_turn>".split()
)
#: Marks of chat models, such as <|eot_id|>; the bars of some are wide.
_BARRED = re.compile(r"<([|\N{FULLWIDTH VERTICAL LINE}]).+\1>")
#: What SentencePiece and byte-level BPE write in place of the space before a word, and other byte pairs behind it.
_SPACES = ("\N{LOWER ONE EIGHTH BLOCK}", "\N{LATIN CAPITAL LETTER G WITH DOT ABOVE}")
_END = "</w>"

#: Share of the attributions that may lie behind the last token without a word.
_HIDDEN = 0.01


@dataclass(frozen=True)
class Piece:
    """A token as it is shown.

    Attributes:
        text: What is shown of it, without the marks of subwords.
        spaced: Whether there is a space before it.
        special: Whether it stands for no text, as [CLS] does.
        value: Its attribution.
    """

    text: str
    spaced: bool
    special: bool
    value: float


def pieces_of(tokens: Sequence[str], values: np.ndarray) -> list[Piece]:
    """Tokens as they are shown: "##" joins to what is before, "▁", "Ġ" and "</w>" are spaces, padding is left out.

    Args:
        tokens: The tokens of a text.
        values: Their attributions, (T,); there may be more, for padding.

    Raises:
        ShapeError: If there are fewer attributions than tokens, or another number of axes.
    """
    values = numbers(values, "the attribution")
    if values.ndim != 1 or len(values) < len(tokens):
        raise ShapeError(
            f"{len(tokens)} tokens, and attributions of shape {values.shape}; expected one for each token. Sum over "
            "the embedding first, as reducer does"
        )
    marked = any(token.startswith(_SPACES) or token.endswith(_END) for token in tokens)
    ended = False
    found: list[Piece] = []
    for token, value in zip(tokens, values.tolist(), strict=False):
        if token in _PADDING:
            continue
        special = token in _MARKS or _BARRED.fullmatch(token) is not None
        text, spaced = token.removesuffix(_END), not marked or ended or special
        ended = special or text != token
        if token.startswith(_SPACES):
            text, spaced = token[1:], True
        elif token.startswith("##") and len(token) > 2:
            text, spaced = token[2:], False
        found.append(Piece(text or "\N{OPEN BOX}", spaced and bool(found), special, value))
    return found


def tokens(
    rows: Sequence[Sequence[str]],
    attributions: Sequence[np.ndarray] | np.ndarray,
    *,
    title: str,
    names: Sequence[str] = (),
    captions: Sequence[str] = (),
    subtitle: str = "",
    path: str | os.PathLike[str] | None = None,
    percentile: float = 100.0,
    width: int | None = None,
) -> "Figure":
    """Draw texts, the background of each token in the colour of its attribution; all texts have the same scale.

    Args:
        rows: the tokens of each text, as a tokenizer gives them; see `pieces_of`.
        attributions: for each text one number a token; NaN and infinity are green.
        title: heading of the figure.
        names: what is explained in each text.
        captions: a second line for each text, such as its score.
        subtitle: second line of the heading.
        path: where to write the figure; the suffix chooses the format (.png, .svg, .pdf).
        percentile: where colours saturate, see `color_limits`.
        width: of the figure in pixels; by default 100 an inch.

    Returns:
        The figure.

    Raises:
        ShapeError: there are no texts, or not as many attributions as texts and tokens, or none is finite; or there
            are names, but not one for each.
        ParameterError: tokens are no text, `percentile` is out of range, or the path has another suffix.
        RuntimeMissingError: matplotlib is not installed.
    """
    texts = _texts(rows, attributions)
    require_one_each("names", names, len(texts), "texts")
    require_one_each("captions", captions, len(texts), "texts")
    low, high = color_limits(np.array([piece.value for text in texts for piece in text]), percentile)
    head = head_height(_WIDTH, subtitle)
    ruler = Sheet(1.0, None, "", _WIDTH)
    laid = [_laid_out(ruler, text) for text in texts]
    heads = [0.42 if _said(names, captions, place) else 0.0 for place in range(len(texts))]
    heights = [
        _LINE * (1 + max(line for _, _, line in text)) + above
        for text, above in zip(laid, heads, strict=True)
    ]
    sheet = Sheet(head + sum(heights) + 0.3 * len(texts) + 0.95, width, title, _WIDTH, subtitle)
    colors = color_scale(low < 0, None)
    drawn = matplotlib_module(".cm").ScalarMappable(matplotlib_module(".colors").Normalize(low, high), colors)
    drawn.set_array(np.ma.masked_invalid([piece.value for text in texts for piece in text]))
    top = head
    for place, (text, above, height) in enumerate(zip(laid, heads, heights, strict=True)):
        if above:
            sheet.text(
                MARGIN, top + 0.22, _said(names, captions, place), 13, fit=_WIDTH - 2 * MARGIN, color=MUTED
            )
        for piece, left, line in text:
            _draw_piece(sheet, piece, left, top + above + _LINE * line, drawn)
        top += height + 0.3
    sheet.color_bar(_WIDTH - MARGIN - 3, sheet.height - 0.75, 3, drawn)
    bad = {"bad"} if np.ma.is_masked(drawn.get_array()) else set()
    sheet.foot(legend(percentile, bad | {"signed" if low < 0 else "unsigned"}))
    return sheet.save(path)


def tokens_html(
    rows: Sequence[Sequence[str]], attributions: Sequence[np.ndarray] | np.ndarray, percentile: float = 100.0
) -> list[str]:
    """Each text as HTML: a span for each token, with its attribution as the title; every token is escaped.

    Arguments and errors are those of `tokens`.
    """
    texts = _texts(rows, attributions)
    low, high = color_limits(np.array([piece.value for text in texts for piece in text]), percentile)
    return ["".join(_span(piece, low, high) for piece in text) for text in texts]


def _texts(
    rows: Sequence[Sequence[str]], attributions: Sequence[np.ndarray] | np.ndarray
) -> list[list[Piece]]:
    if not len(rows) or len(rows) != len(attributions):
        raise ShapeError(f"{len(attributions)} attributions for {len(rows)} texts; expected one for each.")
    require_texts(rows)
    _say_hidden(rows, attributions)
    return [
        pieces_of(row, values) or [Piece("(empty)", False, True, 0.0)]
        for row, values in zip(rows, attributions, strict=True)
    ]


def _say_hidden(rows: Sequence[Sequence[str]], attributions: Sequence[np.ndarray] | np.ndarray) -> None:
    """Says where attributions behind the last token, which are not drawn, are more than those of padding."""
    for place, (row, values) in enumerate(zip(rows, attributions, strict=True)):
        sizes = np.nan_to_num(np.abs(numbers(values, "the attribution")))
        hidden = sizes[len(row) :].sum() / (sizes.sum() or 1) if sizes.ndim == 1 else 0
        if hidden > _HIDDEN:
            warn_caller(
                f"Text {place} has {len(row)} tokens, {len(sizes)} attributions; those behind the last token are not "
                f"drawn, and hold {100 * hidden:.2g} % of the whole. Give all tokens that the model was given, special "
                "ones such as [CLS] too, or each colour may stand at another token."
            )
            return


def _said(names: Sequence[str], captions: Sequence[str], place: int) -> str:
    return ", ".join(part[place] for part in (names, captions) if len(part) and part[place])


def _laid_out(ruler: Sheet, text: Sequence[Piece]) -> list[tuple[Piece, float, int]]:
    """Each piece with its left edge in inches and its line; words that do not fit go to the next one whole."""
    words: list[list[Piece]] = []
    for piece in text:
        if piece.spaced or not words:
            words.append([])
        words[-1].append(piece)
    found, left, line = [], MARGIN, 0
    for word in words:
        widths = [_width(ruler, piece) for piece in word]
        if left > MARGIN and left + sum(widths) > _WIDTH - MARGIN:
            left, line = MARGIN, line + 1
        for piece, inches in zip(word, widths, strict=True):
            if left > MARGIN and left + inches > _WIDTH - MARGIN:
                left, line = MARGIN, line + 1
            found.append((piece, left, line))
            left += inches
        left += 0.09
    return found


def _width(ruler: Sheet, piece: Piece) -> float:
    text = ruler.figure.text(0, 0, piece.text, size=_size(piece), parse_math=False)
    inches = text.get_window_extent().width / ruler.figure.dpi
    text.remove()
    return float(min(inches, _WIDTH - 2 * MARGIN)) + 0.05


def _size(piece: Piece) -> float:
    return _SIZE * 0.75 if piece.special else _SIZE


def _draw_piece(sheet: Sheet, piece: Piece, left: float, top: float, colors: Any) -> None:
    """Draw the background of a piece and its text."""
    inches = _width(sheet, piece)
    to_rgba = matplotlib_module(".colors").to_rgba
    color = colors.to_rgba(piece.value) if np.isfinite(piece.value) else to_rgba(BAD)
    patch = matplotlib_module(".patches").Rectangle(
        (left / sheet.width, 1 - (top + _LINE - 0.08) / sheet.height),
        inches / sheet.width,
        (_LINE - 0.08) / sheet.height,
        facecolor=color,
        linewidth=0,
        transform=sheet.figure.transFigure,
    )
    patch.set_gid(piece.text)
    sheet.figure.add_artist(patch)
    dark = np.dot(color[:3], [0.299, 0.587, 0.114]) < 0.5
    ink = "white" if dark else MUTED if piece.special else INK
    sheet.text(
        left + 0.025, top + 0.245, piece.text, _size(piece), fit=_WIDTH - 2 * MARGIN, color=ink, zorder=3
    )


def _span(piece: Piece, low: float, high: float) -> str:
    """One token in HTML, with the colours that `color_scale` has at the ends and less of them between."""
    strength = min(abs(piece.value) / high, 1.0) if np.isfinite(piece.value) else 1.0
    rgb = "178,24,43" if piece.value >= 0 else "33,102,172"
    rgb = "84,39,143" if low == 0 else rgb
    color = f"rgba({rgb},{0.85 * strength:.3f})" if np.isfinite(piece.value) else BAD
    ink = "#fff" if np.isfinite(piece.value) and strength > 0.65 else INK
    size = "font-size:75%;" if piece.special else ""
    style = f"{size}background-color:{color};color:{ink};padding:1px 2px;border-radius:2px"
    space = " " if piece.spaced else ""
    value = format_number(piece.value) if np.isfinite(piece.value) else str(piece.value)
    return f'{space}<span title="{html.escape(value)}" style="{style}">{html.escape(piece.text)}</span>'
