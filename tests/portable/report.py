"""What the runtimes gave, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from portable.run import Result

TITLES = {
    "python": "Python",
    "onnxruntime-node": "onnxruntime-node",
    "onnxruntime-web": "onnxruntime-web in Node",
    "chromium": "onnxruntime-web in Chromium",
}


def summary(versions: Mapping[str, str], results: Sequence[Result]) -> str:
    """What ran where, and the table method x runtime."""
    node = [result for result in results if result.runtime == "onnxruntime-node"]
    same = sum(result.identical for result in node)
    worst = ", ".join(f"{TITLES[runtime]} {error:.1e}" for runtime, error in worst_errors(results).items())
    lines = [
        "Each cell has two numbers. The first is the largest difference from `method.explain` in Python: of the",
        "map, relative to its maximum, and of prediction and convergence delta, relative to the largest output.",
        "The limit is 1e-5. The second is the time of an explanation, in predictions of the same samples in the",
        "same runtime, on one thread (processor time; in Chromium, which has no such clock, elapsed time).",
        "",
        f"- Python: a fresh environment of ONNX Runtime {versions['python']} and NumPy.",
        f"- onnxruntime-node {versions['onnxruntime-node']}: {same} of {len(node)} files give the same bits as Python.",
        f"- onnxruntime-web (wasm): in Node {versions['onnxruntime-web']} and in Chromium {versions['chromium']}.",
        f"- The largest differences: {worst}.",
        "",
        "emotion: one face, 10 points; gunpoint: three series, 50 points; efficientnet_lite0: one photo of 224 x",
        "224, 3 points at the pixels, 8 at its last feature map (head). Loops compute 2 or 4 points at a time.",
        "\"Fed\" means that the baseline is an input of the file (`baseline_input=True`), \"weights as targets\" that",
        "it was exported with `target=\"weights\"`.",
        "",
        *table(results),
    ]  # fmt: skip
    return "\n".join(lines)


def worst_errors(results: Sequence[Result]) -> dict[str, float]:
    """The largest error by runtime."""
    worst: dict[str, float] = {}
    for result in results:
        worst[result.runtime] = max(result.error, worst.get(result.runtime, 0.0))
    return worst


def table(results: Sequence[Result]) -> list[str]:
    """One row for each explainer, one column for each runtime."""
    titles = [TITLES[runtime] for runtime in worst_errors(results)]
    lines = [f"| model | method | rendering | {' | '.join(titles)} |", "| --- " * (3 + len(titles)) + "|"]
    cells: dict[tuple[str, str, str], list[str]] = {}
    for result in results:
        entry = result.entry
        time = f", {result.ratio:.1f}x" if result.ratio else ""
        rendering = ", ".join(part for part in (entry.rendering, entry.variant.note) if part)
        cells.setdefault((entry.network, entry.method, rendering), []).append(f"{result.error:.1e}{time}")
    return lines + ["| " + " | ".join([*key, *row]) + " |" for key, row in cells.items()]


def comparability(noise: Mapping[str, float], loaded: float, margins: Mapping[str, float]) -> str:
    """The noise, the files loaded again, and how far decisions are from the other side."""
    drawn = ", ".join(f"{TITLES[runtime]} {error:.1e}" for runtime, error in noise.items())
    return "\n".join([
        f"The same seed gives the same noise. Largest difference from Python's noise, in standard deviations: {drawn}.",
        f"Maps of `onnxattr.load` on the same files differ from the method that exported them by at most {loaded:.1e}.",
        "",
        "A ReLU or max-pool that is decided by rounding would give other gradients in another runtime. The inputs were",
        "chosen so that none is (`tests/portable/find_inputs.py`). Smallest distance of any such decision from its",
        "threshold, at all points where a gradient is taken, in float32 roundings of its layer, computed in float64:",
        "",
        *(f"- {where}: {margin:.1f}" for where, margin in margins.items()),
    ])  # fmt: skip
