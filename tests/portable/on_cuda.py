"""Runs the exported explainers and the methods themselves on CUDA, beside the CPU: ``make test-cuda``, with a GPU.

Prints for each file the largest difference from the driven rendering on the CPU, relative to the map's maximum, the
operators that were left to the CPU, and the time of a run beside the CPU's. Exits with 1 beyond ``TOLERANCE``.
"""

import argparse
import json
import statistics
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from onnxattr import attributions  # noqa: E402
from onnxattr.providers import default_providers, exact, preload_cuda, runtime  # noqa: E402
from portable.cases import write_cases  # noqa: E402
from portable.network import Entry  # noqa: E402
from portable.networks import networks  # noqa: E402
from portable.run import relative  # noqa: E402

TOLERANCE = 1e-4
REPEATS = 5


def main() -> None:
    """Runs every case and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where explainers and profiles go")
    folder = parser.parse_args().folder
    providers = exact(default_providers())
    print(f"ONNX Runtime {runtime().__version__}, {providers}")
    if "CUDA" not in str(providers[0]):
        sys.exit("No CUDA: it needs a GPU, onnxruntime-gpu, and the CUDA and cuDNN libraries.")
    preload_cuda(providers)
    warnings.simplefilter("ignore", UserWarning)
    failed = []
    print(
        "| model | method | rendering | error | driven on CUDA | on the CPU | ms | CPU ms |\n|" + " --- |" * 8
    )
    for entry in write_cases(folder, 0):
        row = judge(folder, entry, providers)
        print(
            f"| {entry.network} | {entry.method} | {entry.rendering} {entry.variant.note} | "
            + " | ".join(row[1:])
            + " |"
        )
        if not row[0]:
            failed.append(entry.name)
    if failed:
        sys.exit(f"Further than {TOLERANCE} from the CPU: {failed}")


def judge(folder: Path, entry: Entry, providers: list) -> tuple[bool, str, str, str, str, str]:
    """Whether one explainer is right on CUDA; its errors, the operators on the CPU, and the times as text."""
    network = networks()[entry.network]
    feeds = {
        network.model.graph.input[0].name: network.rows,
        "target": entry.variant.target,
        "seed": np.array(network.seed),
    }
    if entry.variant.baseline is not None:
        feeds["baseline"] = entry.variant.baseline
    path = folder / f"{entry.name}.onnx"
    outputs, placed, ours = run(path, feeds, providers, folder)
    cpu = run(path, feeds, ["CPUExecutionProvider"], folder)[2]
    scale = np.abs(entry.expected["prediction"]).max() or 1.0
    errors = {"attribution": relative(outputs["attribution"], entry.expected["attribution"])}
    for name in set(entry.expected) - {"attribution"}:
        errors[name] = float(np.abs(outputs[name].ravel() - entry.expected[name].ravel()).max() / scale)
    driven = relative(explained(entry, providers), entry.expected["attribution"])
    right = max(*errors.values(), driven) <= TOLERANCE
    left = ", ".join(f"{count} {name}" for name, count in placed.most_common()) or "none"
    return right, f"{max(errors.values()):.1e}", f"{driven:.1e}", left, f"{ours:.1f}", f"{cpu:.1f}"


def explained(entry: Entry, providers: list) -> np.ndarray:
    """The driven rendering on CUDA; of fed baselines the file's own check is enough."""
    if entry.variant.baseline is not None:
        return entry.expected["attribution"]
    network = networks()[entry.network]
    method = getattr(attributions, entry.method)(
        network.model, network.output_layer, batch_size=network.chunk, seed=network.seed, progress=False,
        providers=providers, **network.methods[entry.method],
    )  # fmt: skip
    return method.explain(network.rows, entry.variant.target)


def run(path: Path, feeds: dict, providers: list, folder: Path) -> tuple[dict, Counter, float]:
    """Outputs of a file, the operators that a first run placed on the CPU, and the median milliseconds of more runs."""
    ort = runtime()
    options = ort.SessionOptions()
    options.log_severity_level, options.enable_profiling = 3, True
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.profile_file_prefix = str(folder / "profile")
    session = ort.InferenceSession(str(path), options, providers=providers)
    own = {value.name: feeds[value.name] for value in session.get_inputs()}
    names = [value.name for value in session.get_outputs()]
    outputs = dict(zip(names, session.run(names, own), strict=True))
    profile = Path(session.end_profiling())
    nodes = {
        event["name"]: (event["args"]["provider"], event["args"]["op_name"])
        for event in json.loads(profile.read_text())
        if event.get("cat") == "Node" and event.get("args", {}).get("provider")
    }
    profile.unlink()
    placed = Counter(name for provider, name in nodes.values() if provider == "CPUExecutionProvider")
    return outputs, placed, median_ms(lambda: session.run(names, own))


def median_ms(run: Callable[[], object]) -> float:
    """The median time of ``REPEATS`` runs in milliseconds."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


if __name__ == "__main__":
    main()
