"""Runs sides in turn: one process each, every one measures its own processor time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.bench.files import ROOT

#: Seconds that the rounds of a measurement take together, and how many rounds there are at least and at most.
BUDGET, FEWEST, MOST = 20.0, 3, 15
#: Where a round takes longer than this many seconds, one is enough.
LONG = 40.0


class Process:
    """A worker with one side and one network."""

    def __init__(self, side: str, case: str, threads: int):
        """Starts it; ``error`` says why it cannot take part, if so."""
        limits = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)} if threads else {}
        command = [sys.executable, "-m", "benchmarks.bench.worker", side, case, str(threads)]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | limits | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.side, self.case, self.threads = side, case, threads
        answer = self._answer()
        self.error: str | None = answer.get("error")
        self.load_seconds: float | None = answer.get("seconds")

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            return {"error": f"the process ended with code {self._process.wait()}"}
        found: dict[str, Any] = json.loads(line)
        return found

    def ask(self, **order: Any) -> dict[str, Any]:
        """The answer to one order."""
        try:
            self._process.stdin.write(json.dumps(order) + "\n")  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]
        except BrokenPipeError:
            return {"error": f"the process ended with code {self._process.wait()}"}
        return self._answer()

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()


@contextmanager
def processes(sides: Sequence[str], case: str, threads: int) -> Iterator[list[Process]]:
    """Workers of these sides, ended afterwards."""
    started: list[Process] = []
    try:
        for side in sides:
            started.append(Process(side, case, threads))  # noqa: PERF401  each must be ended if the next fails
        yield started
    finally:
        for process in started:
            process.close()


def race(
    workers: Sequence[Process], task: str, rows: int, points: int = 50, most: int = MOST
) -> dict[str, Any]:
    """Times of every contender in turn: {"who": {"cpu": [...], "wall": [...], "first": s}}, and who could not.

    At most ``most`` rounds.
    """
    times: dict[str, Any] = {}
    missing: dict[str, str] = {}
    turns: list[tuple[Process, str]] = []
    for worker in workers:
        answer = {"error": worker.error} if worker.error else {}
        answer = answer or worker.ask(do="prepare", task=task, rows=rows, points=points)
        if "error" in answer:
            missing[worker.side] = answer["error"]
            continue
        for who, first in answer["first"].items():
            times[who] = {"cpu": [], "wall": [], "first": first, "digest": answer["digest"][who]}
            turns.append((worker, who))
    start, rounds = time.perf_counter(), 0
    while rounds < most:
        began = time.perf_counter()
        for worker, who in turns:
            answer = worker.ask(do="run", who=who)
            if "error" in answer:
                raise RuntimeError(f"{who} in {task} of {worker.case}: {answer['error']}")
            for kind in ("cpu", "wall"):
                times[who][kind].append(round(answer[kind], 6))
        rounds += 1
        now = time.perf_counter()
        if now - began > LONG or (rounds >= FEWEST and now - start + (now - began) > BUDGET):
            break
    return {"times": times, "missing": missing, "load": round(os.getloadavg()[0], 1)} | differences(times)


def differences(times: dict[str, Any]) -> dict[str, Any]:
    """How far each result is from ours, relative to its norm; the digests themselves are not kept."""
    digests = {who: entry.pop("digest") for who, entry in times.items()}
    if "onnxattr" not in digests:
        return {}
    norm, *ours = digests["onnxattr"]
    found = {}
    for who, (_, *theirs) in digests.items():
        if "forward" not in who and who != "onnxattr" and norm > 0:
            far = max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) / norm
            found[who] = float(f"{far:.1e}")
    return {"difference": found}
