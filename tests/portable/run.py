"""Runs exported explainers in every runtime and compares the numbers with the driven rendering in Python.

`make test-portable` runs it; it writes the table to docs/portability.md. Two runtimes add up in another order and so
round differently. Where a decision of the model hangs on a rounding, the gradient jumps, and with it the map: so the
rows, seed and baseline are such that no decision of the small networks does, which is measured first (`margins.py`).
EfficientNet-Lite0 has 6 million activations and always some at a kink. There a map may instead agree with one that the
driven rendering gives when the photo moves by at most two roundings (`nudged`), or, where many points have kinks each,
be as far off as those maps are from one another; the table says so.
"""

import argparse
import json
import platform
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from onnxattr import attributions  # noqa: E402
from onnxattr.attributions.base import Attribution  # noqa: E402
from onnxattr.noise import draw_noise  # noqa: E402
from portable.cases import NOISE, Entry, decisions, networks, write_cases  # noqa: E402
from portable.margins import smallest_margin  # noqa: E402
from portable.report import write_report  # noqa: E402

HERE = Path(__file__).resolve().parent
RUNTIMES = ("python", "onnxruntime-node", "onnxruntime-web", "chromium")
TOLERANCE = 1e-5
LEAST_MARGIN = 4.0
NUDGES = 20


@dataclass(frozen=True)
class Result:
    """One explainer in one runtime.

    Attributes:
        entry: The explainer.
        runtime: One of ``RUNTIMES``.
        error: Largest difference of the attribution from the driven rendering, relative to the map's maximum.
        spread: How far the map itself moves at nudged photos; 0 where that was not needed.
        nearest: Largest difference from the nearest of those maps.
        ratio: Time of explaining over that of the plain prediction.
        identical: Whether every output has the bits that Python has.
    """

    entry: Entry
    runtime: str
    error: float
    spread: float
    nearest: float
    ratio: float
    identical: bool

    @property
    def passed(self) -> bool:
        """Within the tolerance, of the map itself or of a nudged one, or inside what nudges do to the map."""
        return min(self.error, self.nearest) <= TOLERANCE or self.error <= self.spread


def main() -> None:
    """Runs all runtimes; the exit status is 1 if a number is off."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where explainers and results go")
    parser.add_argument(
        "--python", type=Path, required=True, help="of an environment with ONNX Runtime and NumPy only"
    )
    options = parser.parse_args()
    # Not resolved: the link to the interpreter is what makes the environment one.
    options.folder, options.python = options.folder.absolute(), options.python.absolute()
    margins = check_margins()
    entries = write_cases(options.folder)
    run_all(options.folder, options.python)
    results = [judge(options.folder, entry, runtime) for entry in entries for runtime in RUNTIMES]
    noise = {runtime: noise_error(options.folder, runtime) for runtime in RUNTIMES}
    print(write_report(ROOT / "docs" / "portability.md", results, noise, margins, versions(options)))
    failed = [f"{r.entry.name} in {r.runtime}: {r.error:.1e}" for r in results if not r.passed]
    failed += [
        f"noise in {runtime}: {error:.1e}" for runtime, error in noise.items() if not error <= TOLERANCE
    ]
    if failed:
        sys.exit("Too far from the driven rendering:\n" + "\n".join(failed))


def check_margins() -> dict[str, float]:
    """The closest decision of the small networks, in roundings; exits if one is too close to compare runtimes."""
    found = {}
    for name in ("emotion", "gunpoint"):
        for where, points in decisions(name):
            found[f"{name}, {where}"] = smallest_margin(networks()[name].model, points)
    close = {where: margin for where, margin in found.items() if margin < LEAST_MARGIN}
    if close:
        sys.exit(
            f"Decisions closer than {LEAST_MARGIN} roundings: {close}. Choose other rows or another seed."
        )
    return found


def run_all(folder: Path, python: Path) -> None:
    """Runs the cases in each runtime, one after the other."""
    commands = [
        [python, "-I", "run_python.py", folder],
        ["node", "run_node.mjs", "onnxruntime-node", folder],
        ["node", "run_node.mjs", "onnxruntime-web", folder],
        ["node", "run_browser.mjs", folder],
    ]
    for command in commands:
        subprocess.run([str(part) for part in command], cwd=HERE, check=True)


def judge(folder: Path, entry: Entry, runtime: str) -> Result:
    """Compares one explainer's outputs; the prediction and the convergence delta have to agree as well."""
    found = {name: read(folder, runtime, entry.name, name) for name in entry.expected}
    expected = entry.expected["attribution"]
    error = relative(found["attribution"], expected)
    scale = np.abs(entry.expected["prediction"]).max() or 1.0
    for name in set(found) - {"attribution"}:
        off = np.abs(found[name] - entry.expected[name].ravel()).max() / scale
        error = max(error, float(off) if not networks()[entry.network].kinks or name == "prediction" else 0.0)
    spread, nearest = 0.0, error
    if error > TOLERANCE and networks()[entry.network].kinks:
        maps = nudged(entry.network, entry.explainer)
        spread = max(relative(each, expected) for each in maps)
        nearest = min(relative(found["attribution"], each) for each in maps)
    times = json.loads((folder / runtime / "times.json").read_text())[entry.name]
    same = all(np.array_equal(found[name], read(folder, "python", entry.name, name)) for name in found)
    return Result(entry, runtime, error, spread, nearest, times["explain_ms"] / times["predict_ms"], same)


def check_examples(folder: Path, python: Path) -> list[str]:
    """Runs the two small programs of examples/ on one series each; returns what is wrong."""
    network, wrong = networks()["gunpoint"], []
    np.savetxt(folder / "row.csv", network.rows[0].reshape(1, -1), delimiter=",")
    for method in ("IntegratedGradients", "SmoothGrad"):
        explainer = getattr(attributions, method)(
            network.model, network.output_layer, **network.methods[method]
        )
        explainer.export(folder / "example.onnx")
        expected = explainer.explain(network.rows[:1])
        for command in (
            ["node", "examples/node/explain.mjs"],
            [python, "-I", "examples/python_only_onnxruntime.py"],
        ):
            arguments = [str(part) for part in [*command, folder / "example.onnx", folder / "row.csv"]]
            printed = subprocess.run(arguments, cwd=ROOT, check=True, capture_output=True, text=True).stdout
            error = relative(np.array(json.loads(printed)["attribution"]), expected)
            wrong += [f"{command[-1]}, {method}: {error:.1e}"] if not error <= TOLERANCE else []
    return wrong


@cache
def nudged(name: str, explainer: Attribution) -> list[np.ndarray]:
    """Maps of the driven rendering at rows moved by at most two roundings."""
    network, rng = networks()[name], np.random.default_rng(0)
    moves = [rng.integers(-2, 3, network.rows.shape) * 2.0**-23 for _ in range(NUDGES)]
    rows = [(network.rows * (1 + move)).astype(np.float32) for move in moves]
    return [explainer.explain(each, np.array(network.target)) for each in rows]


def noise_error(folder: Path, runtime: str) -> float:
    """Largest difference of the noise that a runtime drew from that of Python, in standard deviations."""
    network = networks()["quadratic"]
    drawn = read(folder, runtime, "quadratic-SmoothGrad-batch", "attribution").reshape(network.rows.shape)
    return float(np.abs(drawn / NOISE - draw_noise(network.seed, network.rows.shape, 1)[0]).max())


def read(folder: Path, runtime: str, entry: str, output: str) -> np.ndarray:
    """An output of a runtime, flat."""
    return np.fromfile(folder / runtime / f"{entry}.{output}", np.float32)


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference over the map's maximum."""
    return float(np.abs(found.ravel() - expected.ravel()).max() / np.abs(expected).max())


def versions(options: argparse.Namespace) -> dict[str, str]:
    """What ran, for the report."""
    ask = "import onnxruntime; print(onnxruntime.__version__)"
    asked = {
        "python": [str(options.python), "-c", ask],
        "onnxruntime-node": ["node", "-p", "require('onnxruntime-node/package.json').version"],
        "onnxruntime-web": ["node", "-p", "process.version"],
    }
    told = {
        key: subprocess.run(command, cwd=HERE, check=True, capture_output=True, text=True).stdout.strip()
        for key, command in asked.items()
    }
    told["chromium"] = json.loads((options.folder / "chromium" / "times.json").read_text())["browser"]
    return told | {"machine": platform.machine()}


if __name__ == "__main__":
    main()
