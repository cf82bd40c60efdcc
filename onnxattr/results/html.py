"""An explanation in a notebook: a small table, coloured tokens or a picture. Every text is escaped; no scripts."""

from __future__ import annotations

import base64
import html as escaping
import io
import math
from collections.abc import Sequence

from onnxattr.errors import OnnxAttrError
from onnxattr.plots.tokens import tokens_html
from onnxattr.results.captions import gaps, number
from onnxattr.results.explanation import Explanation
from onnxattr.results.picture import kind_of, title_of
from onnxattr.results.sequences import text_of

_MOST = 12
_CELL = "text-align:left;padding:2px 12px 2px 0;vertical-align:top"


def html(explanation: Explanation) -> str:
    """The explanation as HTML, without any request to elsewhere: images are inside, as data URIs."""
    name = next(iter(explanation.attributions))
    parts = [f"<b>{_safe(title_of(explanation, name))}</b>", _facts(explanation), _rows(explanation, name)]
    drawn = None if _is_text(explanation, name) else png(explanation)
    if drawn is not None:
        source = base64.b64encode(drawn).decode()
        label = _safe(f"{explanation.method}: attributions of {', '.join(explanation.attributions)}")
        parts.append(f'<img alt="{label}" style="max-width:100%" src="data:image/png;base64,{source}">')
    return f'<div style="font-family:sans-serif;line-height:1.6">{"".join(parts)}</div>'


def png(explanation: Explanation) -> bytes | None:
    """The picture of the explanation as a PNG file; None where matplotlib is missing, or it has no picture."""
    try:
        figure = explanation.plot()
    except OnnxAttrError:
        return None
    file = io.BytesIO()
    figure.savefig(file, format="png", facecolor="white")
    return file.getvalue()


def _facts(explanation: Explanation) -> str:
    """What is the same for all samples."""
    shapes = ", ".join(f"{name} {array.shape}" for name, array in explanation.attributions.items())
    facts = {"explained": shapes, "score": explanation.output, "layer": explanation.layer or ""}
    cells = "".join(f"<div>{_safe(key)}: {_safe(value)}</div>" for key, value in facts.items() if value)
    return f'<div style="color:#5b6472;font-size:90%">{cells}</div>'


def _rows(explanation: Explanation, name: str) -> str:
    """A table of the first samples: target, scores, gap; of texts their tokens."""
    texts: Sequence[str] = ()
    if _is_text(explanation, name):
        rows, maps = text_of(explanation, name)
        texts = tokens_html(rows[:_MOST], maps[:_MOST])
    numbers = [str(index) for index in range(explanation.sample_count)]
    columns: dict[str, Sequence[str]] = {"row": explanation.sample_names or numbers}
    if any(explanation.target_names):
        columns["target"] = explanation.target_names
    columns[explanation.score_name] = [number(score) for score in explanation.scores]
    if explanation.baseline_scores is not None:
        columns["at the baseline"] = [number(score) for score in explanation.baseline_scores]
    if explanation.relative_gap is not None:
        columns["gap"] = [gap.removeprefix("gap ") for gap in gaps(explanation)]
    head = "".join(f'<th style="{_CELL}">{_safe(column)}</th>' for column in columns)
    head += f'<th style="{_CELL}">tokens</th>' if texts else ""
    lines = [f"<tr>{head}</tr>"]
    for index in range(min(explanation.sample_count, _MOST)):
        cells = "".join(f'<td style="{_CELL}">{_safe(column[index])}</td>' for column in columns.values())
        cells += f'<td style="{_CELL};line-height:2">{texts[index]}</td>' if texts else ""
        lines.append(f"<tr>{cells}</tr>")
    more = explanation.sample_count - _MOST
    rest = f"<div>{more} more row{'s' if more > 1 else ''}</div>" if more > 0 else ""
    return f'<table style="border-collapse:collapse;margin:6px 0">{"".join(lines)}</table>{rest}'


def _is_text(explanation: Explanation, name: str) -> bool:
    if kind_of(explanation, name) != "tokens":
        return False
    return all(math.isfinite(float(array.sum())) or array.size for array in explanation.attributions.values())


def _safe(text: str) -> str:
    return escaping.escape(str(text))
