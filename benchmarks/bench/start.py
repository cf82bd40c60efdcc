"""Start, first call and memory of fresh processes; `python -m benchmarks.bench.start WHO CASE ROWS` is one."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench import cases, files
from benchmarks.bench.cases import Case
from benchmarks.bench.results import Results

WHO = ("forward", "vjp", "gradient", "IG", "TensorFlow", "PyTorch")


def measure(results: Results, names: list[str], fresh: bool) -> None:
    """Measures every network that is not measured yet."""
    for case in (cases.case(name) for name in names):
        key = f"start/{case.name}"
        if results.current(key) and not fresh:
            continue
        files.make_apart(case)
        found: dict[str, Any] = {who: apart(who, case, case.rows) for who in WHO}
        # The forward pass of as many rows as a run of Integrated Gradients has.
        found["forward, chunk"] = apart("forward", case, found["IG"].get("rows", 1))
        found["file"] = round(files.onnx_file(case).stat().st_size / 2**20, 1)
        results.add(key, {"start": found, "load": round(os.getloadavg()[0], 1)})
        print(f"{key}: {json.dumps(found)}", flush=True)


def apart(who: str, case: Case, rows: int) -> dict[str, Any]:
    """The numbers of one fresh process."""
    command = [sys.executable, "-m", "benchmarks.bench.start", who, case.name, str(rows)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, cwd=files.ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["ended"])[-1][:200]}
    numbers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return numbers


class Clock:
    """Processor seconds and MiB of memory of this process, from here on."""

    def __init__(self) -> None:
        """Starts; what was in memory before does not count."""
        self.new_peak()
        self.found: dict[str, float] = {}
        self._base = status("VmRSS")

    @staticmethod
    def new_peak() -> None:
        """Lets the peak begin at what is in memory now."""
        Path("/proc/self/clear_refs").write_text("5")

    def timed(self, name: str, run: Callable[[], Any]) -> Any:
        """The result of a step, whose seconds are kept under its name."""
        begin = time.process_time()
        result = run()
        self.found[name] = round(time.process_time() - begin, 4)
        return result

    def memory(self, name: str, field: str = "VmRSS") -> None:
        """Keeps what memory has been added."""
        self.found[name] = round(status(field) - self._base, 1)


def status(field: str) -> float:
    """MiB of this process: VmRSS, or VmHWM for the peak."""
    text = Path("/proc/self/status").read_text()
    return int(text.split(f"{field}:")[1].split()[0]) / 1024


def gradient_file(case: Case) -> Path:
    """Where the process "vjp" leaves its result."""
    return files.FOLDER / f"{case.file}.gradient.onnx"


def main() -> None:
    """Runs one side once and once more."""
    warnings.simplefilter("ignore")
    who, case, rows = sys.argv[1], cases.case(sys.argv[2]), int(sys.argv[3])
    if who in ("TensorFlow", "PyTorch"):
        found = other(who, case, rows)
    else:
        found = {"forward": session, "gradient": session, "vjp": prepare, "IG": path}[who](who, case, rows)
    print(json.dumps(found))


def prepare(_: str, case: Case, rows: int) -> dict[str, float]:
    """The gradient as a graph."""
    import onnx

    from onnxattr import vjp

    clock = Clock()
    model = clock.timed("seconds", lambda: vjp(files.onnx_file(case)))
    clock.memory("peak", "VmHWM")
    onnx.save(model, gradient_file(case))
    return {**clock.found, "kept": round(kept(model) / 2**20, 2)}


def kept(gradient: Any) -> int:
    """Bytes of the values of one row that the way forth leaves for the way back."""
    import onnx

    typed = onnx.shape_inference.infer_shapes(gradient).graph
    forth = {name for node in typed.node if not node.name.startswith("vjp/") for name in node.output}
    read = {name for node in typed.node if node.name.startswith("vjp/") for name in node.input}
    shapes = {v.name: [dim.dim_value or 1 for dim in v.type.tensor_type.shape.dim] for v in typed.value_info}
    return sum(4 * math.prod(shapes.get(name, [0])) for name in forth & read)


def session(who: str, case: Case, rows: int) -> dict[str, float]:
    """A session with the model or its gradient, and two runs."""
    from benchmarks.bench.sides.ours import with_threads
    from onnxattr.providers import runtime
    from onnxattr.session import Session

    with_threads(1)
    runtime()
    clock = Clock()
    path = files.onnx_file(case) if who == "forward" else gradient_file(case)
    held = clock.timed("session", lambda: Session(path))
    clock.memory("resident")
    feeds = {}
    for value in held._session.get_inputs():
        shape = [dim if isinstance(dim, int) else rows for dim in value.shape]
        feeds[value.name] = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    clock.timed("first", lambda: held.run(feeds))
    clock.memory("peak", "VmHWM")
    clock.timed("later", lambda: held.run(feeds))
    return clock.found


def path(_: str, case: Case, rows: int) -> dict[str, float]:
    """Integrated Gradients of one sample, and how many rows its largest run has."""
    from benchmarks.bench.sides.ours import method, with_threads
    from onnxattr.providers import runtime
    from onnxattr.session import Session

    with_threads(1)
    runtime()
    largest, run = 0, Session.run

    def noting(self: Session, feeds: Any) -> Any:
        nonlocal largest
        # The points of a run are numbered by one of its inputs.
        largest = max([largest, *(len(v) for v in feeds.values() if np.ndim(v))])
        return run(self, feeds)

    Session.run = noting  # type: ignore[method-assign]
    clock = Clock()
    explainer = clock.timed("session", lambda: method(files.onnx_file(case), "IG", 50))
    x = np.random.default_rng(0).uniform(-1, 1, (1, *case.shape)).astype(np.float32)
    clock.timed("first", lambda: explainer.explain(x, [0]))
    clock.memory("peak", "VmHWM")
    clock.new_peak()  # the first call has written graphs too
    clock.timed("later", lambda: explainer.explain(x, [0]))
    clock.memory("peak later", "VmHWM")
    return {**clock.found, "rows": max(largest, 1)}


def other(who: str, case: Case, rows: int) -> dict[str, float]:
    """The gradient of another library; "session" is loading the model."""
    from benchmarks.bench.worker import side_class

    kind = side_class(who)
    clock = Clock()
    side = clock.timed("session", lambda: kind(case, 1))
    clock.memory("resident")
    run = side.prepare("gradient", rows)[who]
    clock.timed("first", run)
    clock.memory("peak", "VmHWM")
    clock.timed("later", run)
    return clock.found


if __name__ == "__main__":
    main()
