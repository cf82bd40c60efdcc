"""A process with one side and one network; it takes orders as lines of JSON and answers each with one.

`python -m benchmarks.bench.worker SIDE CASE THREADS`; orders are
{"do": "prepare", "task": ..., "rows": ..., "points": ...} and {"do": "run", "who": ...}.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import warnings
from typing import Any, TextIO

import numpy as np

from benchmarks.bench.cases import case
from benchmarks.bench.sides.base import UnavailableError

SIDES = {
    "onnxattr": ("ours", "Ours"),
    "TensorFlow": ("keras_side", "TensorFlow"),
    "PyTorch": ("torch_side", "PyTorch"),
    "onnx-ad": ("onnx_ad_side", "OnnxAd"),
}


def side_class(name: str) -> Any:
    """The class of a side."""
    module, attribute = SIDES[name]
    return getattr(importlib.import_module(f"benchmarks.bench.sides.{module}"), attribute)


def main() -> None:
    """Answers orders until there are no more."""
    # Libraries print; the answers keep the standard output to themselves.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    name, network, threads = sys.argv[1], case(sys.argv[2]), int(sys.argv[3])
    start = time.perf_counter()
    try:
        side = side_class(name)(network, threads)
    except Exception as error:
        say(answers, {"error": reason(error)})
        return
    say(answers, {"seconds": time.perf_counter() - start})
    runs: dict[str, Any] = {}
    for line in sys.stdin:
        order = json.loads(line)
        try:
            if order["do"] == "prepare":
                runs = {}
                answer, runs = prepared(side, order)
            else:
                answer = timed(runs[order["who"]])[1]
        except Exception as error:
            answer = {"error": reason(error)}
        say(answers, answer)


def prepared(side: Any, order: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The functions of a task, each run once: seconds of that first call, and a digest of its result."""
    start = time.perf_counter()
    runs = side.prepare(order["task"], order["rows"], order["points"])
    answer: dict[str, Any] = {"seconds": time.perf_counter() - start, "first": {}, "digest": {}}
    for who, run in runs.items():
        found, seconds = timed(run)
        answer["first"][who], answer["digest"][who] = seconds["wall"], digest(found)
    return answer, runs


def timed(run: Any) -> tuple[Any, dict[str, float]]:
    """A result with the processor seconds of all threads of this process, and the seconds that passed."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = run()
    return found, {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}


def digest(found: np.ndarray) -> list[float]:
    """Its norm and its products with two random vectors of ones and minus ones, by which results are compared."""
    flat = np.asarray(found, np.float32).ravel()
    rng = np.random.default_rng(1)
    dots = [float(np.dot(np.where(rng.random(flat.size, np.float32) < 0.5, -1, 1), flat)) for _ in range(2)]
    return [float(np.linalg.norm(flat)), *dots]


def reason(error: Exception) -> str:
    """Why something was not measured, in one line."""
    if isinstance(error, UnavailableError):
        return str(error)
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"[:200]


def say(answers: TextIO, answer: dict[str, Any]) -> None:
    """Writes one answer."""
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
