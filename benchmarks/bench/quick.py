"""`make bench-quick`: whether this state of the code has become slower, judged by ratios to the model's own prediction.

The ratios of `quick.json` are those of an earlier state. Prediction and explanation run in turn in one process on one
thread, and processor time is compared, so that other work on the machine matters little. What is more than a tenth
slower is measured again, twice, before it counts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.bench import cases, files
from benchmarks.bench.files import ROOT
from benchmarks.bench.results import machine, versions

PATH = Path(__file__).with_suffix(".json")
#: Task, network, rows, points.
WATCHED = (
    ("gradient", "MobileNetV2@96", 4, 50),
    ("gradient", "ResNet50@96", 2, 50),
    ("gradient", "DenseNet121@96", 2, 50),
    ("gradient", "ViT-Tiny", 1, 50),
    ("gradient", "InceptionTime", 8, 50),
    ("gradient", "overlapping pools", 8, 50),
    ("gradient", "LSTM", 8, 50),
    ("gradient", "wide MLP", 8, 50),
    ("IG", "wide MLP", 1, 50),
    ("IG", "overlapping pools", 1, 50),
    ("SquareGrad", "MobileNetV2@96", 1, 20),
    ("DeconvNet", "overlapping pools", 8, 50),
    ("GradCAM", "MobileNetV2@96", 4, 50),
)
TOLERATED, SECONDS, REPEATS = 1.10, 4.0, 2


def main() -> None:
    """Prints a line for each watched ratio; ends with 1 if one is worse."""
    parser = argparse.ArgumentParser(prog="make bench-quick", description=__doc__)
    parser.add_argument("--write", action="store_true", help="make the ratios of this state those to hold")
    parser.add_argument("--only", default="", help="entries whose name has this in it")
    parser.add_argument("--measure", type=int, help="print the ratio of one watched entry and end")
    options = parser.parse_args()
    if options.measure is not None:
        print(ratio(*WATCHED[options.measure]))
        return
    held = json.loads(PATH.read_text()) if PATH.exists() else {"ratios": {}}
    if held["ratios"] and held["machine"]["processor"] != machine()["processor"]:
        print(f"Note: the ratios to hold were measured on {held['machine']['processor']}.")
    found: dict[str, float] = {}
    for index, (task, network, rows, _) in enumerate(WATCHED):
        name = f"{task}, {network}, {rows} rows"
        if options.only not in name:
            continue
        before = held["ratios"].get(name)
        found[name] = value = measured(index, before)
        said = "new" if before is None else f"{before:.2f} before, {value / before - 1:+.0%}"
        print(f"{name:36} {value:7.2f} predictions ({said})", flush=True)
    worse = losses(held["ratios"], found)
    if options.write:
        content = {"ratios": {**held["ratios"], **found}, "machine": machine(), "versions": versions()}
        PATH.write_text(json.dumps(content, indent=1) + "\n")
    elif worse:
        raise SystemExit("Slower than before by more than a tenth:\n" + "\n".join(worse))


def losses(held: Mapping[str, float], found: Mapping[str, float]) -> list[str]:
    """A sentence for each ratio that is worse by more than a tenth."""
    return [
        f"{name}: {held[name]:.2f} predictions before, {value:.2f} now"
        for name, value in found.items()
        if name in held and value > held[name] * TOLERATED
    ]


def measured(index: int, before: float | None) -> float:
    """The ratio of an entry in a process of its own; the least of three where it is worse than before."""
    command = [sys.executable, "-m", "benchmarks.bench.quick", "--measure", str(index)]
    values: list[float] = []
    while len(values) < 1 + REPEATS:
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"{WATCHED[index]} failed:\n{done.stderr[-2000:]}")
        values.append(float(done.stdout.split()[-1]))
        if before is None or values[-1] <= before * TOLERATED:
            break
    return round(min(values), 3)


def ratio(task: str, network: str, rows: int, points: int) -> float:
    """Processor time of a task over that of a prediction of as many rows, both the least of runs in turn."""
    case = cases.case(network)
    files.make_apart(case)
    from benchmarks.bench.sides.ours import Ours

    side = Ours(case, threads=1)
    runs = {**side.prepare("forward", rows), **side.prepare(task, rows, points)}
    times: dict[str, list[float]] = {who: [] for who in runs}
    for run in runs.values():
        run()
    start = time.perf_counter()
    while len(times["forward"]) < 5 or time.perf_counter() - start < SECONDS:
        for who, run in runs.items():
            began = time.process_time()
            run()
            times[who].append(time.process_time() - began)
    few = {who: sorted(values)[: max(3, len(values) // 4)] for who, values in times.items()}
    return statistics.median(few["onnxattr"]) / statistics.median(few["forward"])


if __name__ == "__main__":
    main()
