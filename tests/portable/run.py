"""Runs exported explainers in every runtime and compares the numbers with the driven rendering in Python.

`make test-portable` runs it. Two runtimes add up in another order and so round differently. Where a decision of the
model hangs on a rounding, the gradient jumps, and with it the map: so the rows, seeds and baselines are such that none
does, which is measured first (`margins.py`).
"""

import argparse
import json
import os
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from onnxattr import attributions  # noqa: E402
from onnxattr.compile.noise import draw_noise  # noqa: E402
from portable import accelerators  # noqa: E402
from portable.cases import load_again, write_cases  # noqa: E402
from portable.document import write_section  # noqa: E402
from portable.margins import LEAST_MARGIN, smallest_margin  # noqa: E402
from portable.network import NOISE, Entry  # noqa: E402
from portable.networks import decisions, networks  # noqa: E402
from portable.photo_cases import write_photo_cases, wrong  # noqa: E402
from portable.placement import FILES, misplaced  # noqa: E402
from portable.quantised_cases import write_quantised_cases  # noqa: E402
from portable.recurrent_cases import write_recurrent_cases  # noqa: E402
from portable.report import comparability, summary  # noqa: E402
from portable.told import told  # noqa: E402

HERE = Path(__file__).resolve().parent
TOLERANCE = 1e-5
#: Files that OpenVINO and WebGPU run too, by folder.
MORE = {
    "with_photos": write_photo_cases,
    "recurrent": write_recurrent_cases,
    "quantised": write_quantised_cases,
}
#: Runs of a case for its time in the table.
REPEATS = 5


@dataclass(frozen=True)
class Result:
    """One explainer in one runtime.

    Attributes:
        entry: The explainer.
        runtime: A key of ``report.TITLES``.
        error: Largest difference from the driven rendering: of the attribution relative to the map's maximum, of
            prediction and convergence delta relative to the largest output.
        ratio: Time of explaining over that of the plain prediction; None where it was not measured.
        identical: Whether every output has the bits that Python has.
    """

    entry: Entry
    runtime: str
    error: float
    ratio: float | None
    identical: bool


def main() -> None:
    """Runs all runtimes; the exit status is 1 if a number is off."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where explainers and results go")
    parser.add_argument(
        "--python", type=Path, required=True, help="of an environment with ONNX Runtime and NumPy only"
    )
    parser.add_argument("--openvino", type=Path, help="the same with OpenVINO and NumPy only")
    parser.add_argument(
        "--webgpu", type=Path, help="the same with ONNX Runtime, its plugin for WebGPU and NumPy only"
    )
    parser.add_argument(
        "--write", action="store_true", help="measure times as well and write docs/portability.md"
    )
    options = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)  # what the methods say of these models is known
    # Not resolved: the link to the interpreter is what makes the environment one.
    folder, python = options.folder.absolute(), options.python.absolute()
    commands = runtimes(folder, python)
    if options.write and "chromium" not in commands:
        sys.exit("--write: docs/portability.md needs every runtime, and there is no Chromium.")
    margins = check_margins()
    entries = write_cases(folder, REPEATS if options.write else 0)
    for command in commands.values():
        subprocess.run([str(part) for part in command], cwd=HERE, check=True)
    others = accelerators.commands(*(path and path.absolute() for path in (options.openvino, options.webgpu)))
    for other in others.values():
        other.run(folder, everything=False)
    results = [judge(folder, entry, runtime) for entry in entries for runtime in commands]
    loaded = max(relative(load_again(folder, entry), entry.expected["attribution"]) for entry in entries)
    noise = {runtime: noise_error(folder, runtime) for runtime in commands}
    numbers, why = summary(versions(folder, python), results), comparability(noise, loaded, margins)
    print(f"{numbers}\n\n{why}")
    errors = {f"{result.entry.name} in {result.runtime}": result.error for result in results}
    errors |= {f"noise in {runtime}": error for runtime, error in noise.items()} | {"onnxattr.load": loaded}
    errors |= check_examples(folder, python)
    failed = [f"{what}: {error:.1e}" for what, error in errors.items() if not error <= TOLERANCE]
    failed += accelerators.disagreements(folder, entries, others)
    failed += accelerators.minimal_that_are_right(folder, others)
    for kind, write in MORE.items():
        expected = write(folder / kind)
        for name, other in others.items():
            other.run(folder / kind)
            failed += wrong(folder / kind, name, expected)
    if "webgpu" in others:
        failed += [line for name in FILES for line in misplaced(folder, name, options.webgpu.absolute())]
    if failed:
        sys.exit("Too far from the driven rendering, or not as a table says:\n" + "\n".join(failed))
    if options.write:
        write_section("In every runtime", numbers)
        write_section("What makes it comparable", why)


def runtimes(folder: Path, python: Path) -> dict[str, list[str | Path]]:
    """What runs the cases, by runtime; Chromium where there is one."""
    commands: dict[str, list[str | Path]] = {
        "python": [python, "-I", "run_python.py", folder, "python"],
        "onnxruntime-node": ["node", "run_node.mjs", "onnxruntime-node", folder],
        "onnxruntime-web": ["node", "run_node.mjs", "onnxruntime-web", folder],
    }
    if os.access(os.environ.get("CHROMIUM", "/usr/bin/chromium"), os.X_OK):
        commands["chromium"] = ["node", "run_browser.mjs", folder]
    return commands


def check_margins() -> dict[str, float]:
    """The closest decision of each network, in roundings; exits if one is too close to compare runtimes."""
    found = {}
    for name in ("emotion", "gunpoint", "digits", "tabular", "efficientnet_lite0"):
        network = networks()[name]
        for where, points in decisions(network):
            found[f"{name}, {where}"] = smallest_margin(network.model, points)
    close = {where: margin for where, margin in found.items() if margin < LEAST_MARGIN}
    if close:
        sys.exit(
            f"Decisions closer than {LEAST_MARGIN} roundings: {close}. Run tests/portable/find_inputs.py."
        )
    return found


def judge(folder: Path, entry: Entry, runtime: str) -> Result:
    """One explainer's error, time, and whether all its outputs are Python's; an infinite error if it was refused."""
    line = told(folder, runtime)[entry.name]
    if "refused" in line:
        print(f"{entry.name} is refused in {runtime}: {line['refused']}", file=sys.stderr)
        return Result(entry, runtime, float("inf"), None, False)
    ratio = line["explain_ms"] / line["predict_ms"] if "explain_ms" in line else None
    same = all(
        np.array_equal(read(folder, runtime, entry.name, name), read(folder, "python", entry.name, name))
        for name in entry.expected
    )
    return Result(entry, runtime, error_of(folder, entry, runtime), ratio, same)


def error_of(folder: Path, entry: Entry, runtime: str) -> float:
    """The largest error of one explainer's outputs, see ``Result``."""
    found = {name: read(folder, runtime, entry.name, name) for name in entry.expected}
    error = relative(found["attribution"], entry.expected["attribution"])
    scale = np.abs(entry.expected["prediction"]).max() or 1.0
    for name in set(found) - {"attribution"}:
        error = max(error, float(np.abs(found[name] - entry.expected[name].ravel()).max() / scale))
    return error


def check_examples(folder: Path, python: Path) -> dict[str, float]:
    """Runs the two small programs of examples/ on one series each; returns their errors."""
    network, errors = networks()["gunpoint"], {}
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
            found = np.array(json.loads(printed)["attribution"])
            errors[f"{command[-1]}, {method}"] = relative(found, expected)
    return errors


def noise_error(folder: Path, runtime: str) -> float:
    """Largest difference of the noise that a runtime drew from that of Python, in standard deviations."""
    network = networks()["quadratic"]
    drawn = read(folder, runtime, "quadratic-SmoothGrad-batch", "attribution").reshape(network.rows.shape)
    return float(np.abs(drawn / NOISE - draw_noise(network.seed, network.rows.shape, 1)[0]).max())


def read(folder: Path, runtime: str, entry: str, output: str) -> np.ndarray:
    """An output of a runtime, flat."""
    return np.fromfile(folder / runtime / f"{entry}.{output}", np.float32)


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference over the map's maximum; the difference itself where the map is 0."""
    return float(np.abs(found.ravel() - expected.ravel()).max() / (np.abs(expected).max() or 1.0))


def versions(folder: Path, python: Path) -> dict[str, str]:
    """What ran, for the report."""
    ask = "import onnxruntime; print(onnxruntime.__version__)"
    asked = {
        "python": [str(python), "-c", ask],
        "onnxruntime-node": ["node", "-p", "require('onnxruntime-node/package.json').version"],
        "onnxruntime-web": ["node", "-p", "process.version"],
    }
    found = {
        key: subprocess.run(command, cwd=HERE, check=True, capture_output=True, text=True).stdout.strip()
        for key, command in asked.items()
    }
    in_browser = [one["version"].rsplit(" ", 1)[1] for one in told(folder, "chromium").values()]
    return found | {"chromium": [*in_browser, "none"][0]}


if __name__ == "__main__":
    main()
