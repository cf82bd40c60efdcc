"""What pictures and pages say of each sample: its score, and how far a path misses it."""

from __future__ import annotations

import numpy as np

from onnxattr.results.explanation import Explanation


def captions(explanation: Explanation, gap: bool = True) -> list[str]:
    """The name and score of each sample, and with ``gap`` how far the attributions along a path miss it."""
    kind = " (probability)" if explanation.score_name == "probability" else ""
    unit = f" {explanation.score_unit}" if explanation.score_unit and not kind else ""
    found = ["" if np.isnan(s) else f"score {number(s)}{unit}{kind}" for s in explanation.scores]
    if gap and explanation.relative_gap is not None:
        found = [", ".join(filter(None, parts)) for parts in zip(found, gaps(explanation), strict=True)]
    if explanation.sample_names:
        found = [
            ", ".join(filter(None, parts)) for parts in zip(explanation.sample_names, found, strict=True)
        ]
    return found


def gaps(explanation: Explanation) -> list[str]:
    """The relative gap of each sample as text."""
    if explanation.relative_gap is None:
        return [""] * explanation.sample_count
    return [f"gap {100 * gap:.2g} %" for gap in explanation.relative_gap]


def number(value: float) -> str:
    """Three significant digits, with a proper minus sign."""
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")


def batched(explanation: Explanation, name: str) -> np.ndarray:
    """The attributions with an axis of samples."""
    array = explanation.attributions[name]
    return array[None] if explanation.one_sample else array
