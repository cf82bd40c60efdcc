"""The table method x runtime as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from portable.run import Result

TITLES = {
    "python": "Python",
    "onnxruntime-node": "onnxruntime-node",
    "onnxruntime-web": "onnxruntime-web in Node",
    "chromium": "onnxruntime-web in Chromium",
}


def write_report(
    path: Path,
    results: Iterable[Result],
    noise: Mapping[str, float],
    margins: Mapping[str, float],
    versions: Mapping[str, str],
) -> str:
    """Writes the report; returns its text."""
    results = list(results)
    text = "\n".join([
        *introduction(versions, results), "", *table(results), "", *kinks(results), "## What makes it comparable", "",
        "The seed gives the same noise: largest difference from the noise in Python, in standard deviations: "
        + ", ".join(f"{TITLES[runtime]} {error:.1e}" for runtime, error in noise.items()) + ".", "",
        "The closest decision of a ReLU or max-pool, in float64, in float32 roundings of its layer (at least 4):", "",
        *(f"- {where}: {margin:.0f}" for where, margin in margins.items()), "",
    ])  # fmt: skip
    path.write_text(text)
    return text


def introduction(versions: Mapping[str, str], results: list[Result]) -> list[str]:
    """What ran where."""
    node = [result for result in results if result.runtime == "onnxruntime-node"]
    same = sum(result.identical for result in node)
    return [
        "# The same explainer in every runtime",
        "",
        "Written by `make test-portable` (`tests/portable/run.py`). Each cell: the largest difference from the driven",
        "rendering in Python (`method.explain`), relative to the map's maximum, and the time of an explanation in",
        "plain predictions of the same rows in the same runtime, on one thread (processor time; in Chromium, which has",
        "no such clock, what passed). The limit is 1e-5.",
        "",
        f"- Python: a fresh environment of ONNX Runtime {versions['python']} and NumPy.",
        f"- onnxruntime-node {versions['onnxruntime-node']}: {same} of {len(node)} give exactly Python's bits.",
        f"- onnxruntime-web (wasm): in Node {versions['onnxruntime-web']} and in Chromium {versions['chromium']}.",
        "",
        "emotion: one face, 10 points; gunpoint: three series, 50 points; efficientnet_lite0: one photo of 224 x 224,",
        "8 points at the pixels, and at its last feature map (head). Loops take 4 points at a time.",
    ]


def table(results: list[Result]) -> list[str]:
    """One row for each explainer, one column for each runtime."""
    lines = ["| model | method | rendering | " + " | ".join(TITLES.values()) + " |"]
    lines.append("| --- " * (3 + len(TITLES)) + "|")
    cells: dict[tuple[str, str, str], list[str]] = {}
    for result in results:
        entry = result.entry
        mark = "*" if result.spread else ""
        cell = f"{result.error:.1e}{mark}, {result.ratio:.1f}x"
        cells.setdefault((entry.network, entry.method, entry.rendering), []).append(cell)
    return lines + ["| " + " | ".join([*key, *row]) + " |" for key, row in cells.items()]


def kinks(results: list[Result]) -> list[str]:
    """The maps that are as far off as the map's own sensitivity."""
    marked = [result for result in results if result.spread]
    if not marked:
        return []
    return [
        "\\* At a kink: some of the network's 6 million activations are 0 or 6 but for rounding. The map of the driven",
        "rendering itself moves as far when the photo moves by at most two float32 roundings. With one point the",
        "runtime's map is one of those, to the limit; with many, each combination of sides is another map:",
        "",
        *(
            f"- {result.entry.method}, {result.entry.rendering}, {TITLES[result.runtime]}: {result.error:.1e}; nudged "
            f"photos move the map by up to {result.spread:.1e}, the nearest of their maps is {result.nearest:.1e} away."
            for result in marked
        ),
        "",
    ]
