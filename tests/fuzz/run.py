"""Draws and judges N models: ``python tests/fuzz/run.py N``; prints counts, and a minimised model for each failure.

Failures are kept as ``<seed>.onnx`` with the text of the model beside it. Exits with 1 if any number was wrong or
anything but a reasoned refusal was raised.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("OMP_NUM_THREADS", "1")

import onnx
from tqdm import tqdm

from fuzz.generate import NEWER, NEWEST, TYPED, draw
from fuzz.judge import CRASHED, REFUSED, WRONG, Verdict, judge
from fuzz.minimise import minimise

_BLOCK = 20
#: Seconds for one model, beyond which it counts as crashed.
_LIMIT = 120
#: How many failures are minimised: each takes some seconds.
_MINIMISED = 40


def _timed_out(*_: Any) -> None:
    raise TimeoutError(f"more than {_LIMIT} seconds")


def judged(seed: int) -> Verdict:
    """The verdict on a seed's model, within the time limit."""
    signal.signal(signal.SIGALRM, _timed_out)
    signal.alarm(_LIMIT)
    try:
        return judge(draw(seed))
    except TimeoutError as error:
        return Verdict(CRASHED, "time", str(error))
    finally:
        signal.alarm(0)


def _block(start: int, stop: int) -> list[tuple[int, Verdict]]:
    return [(seed, judged(seed)) for seed in range(start, stop)]


def verdicts(start: int, stop: int, jobs: int) -> dict[int, Verdict]:
    """The verdicts on a range of seeds, judged by several processes."""
    found: dict[int, Verdict] = {}
    blocks = [(k, min(k + _BLOCK, stop)) for k in range(start, stop, _BLOCK)]
    with ProcessPoolExecutor(jobs) as pool, tqdm(total=stop - start, unit="model") as bar:
        pending = {pool.submit(_block, *block): block for block in blocks}
        for future in as_completed(pending):
            first, last = pending[future]
            try:
                found.update(future.result())
            except BrokenProcessPool:
                found[first] = Verdict(
                    CRASHED, "process", f"a process died on one of the seeds {first} to {last - 1}"
                )
            bar.update(last - first)
    return found


def reason(verdict: Verdict) -> str:
    """A verdict without the names and numbers of its model."""
    return f"{verdict.check}: " + re.sub(r"'[^']*'|-?\d[\d.e+-]*|\[[^]]*\]", "_", verdict.detail)[:140]


def report(found: dict[int, Verdict], folder: Path) -> bool:
    """Prints what was found and keeps failures; whether nothing failed."""
    counts = Counter(verdict.status for verdict in found.values())
    print(f"{len(found)} models: " + ", ".join(f"{count} {status}" for status, count in counts.most_common()))
    for (status, why), count in Counter(
        (v.status, reason(v)) for v in found.values() if v.check
    ).most_common():
        print(f"{count:6d}  {status}: {why}")
    failed = {seed: v for seed, v in sorted(found.items()) if v.status in (WRONG, CRASHED)}
    for seed, verdict in list(failed.items())[:_MINIMISED]:
        if verdict.check in ("time", "process"):
            print(f"\nseed {seed}: {verdict.detail}")
            continue
        case = minimise(draw(seed), verdict)
        folder.mkdir(parents=True, exist_ok=True)
        text = onnx.printer.to_text(case.model)
        onnx.save(case.model, folder / f"{seed}.onnx")
        (folder / f"{seed}.txt").write_text(f"{verdict}\n{case.declared}\n{text}\n")
        print(f"\nseed {seed} ({case.declared}), {verdict.status}, {verdict.check}: {verdict.detail}\n{text}")
    return not failed


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, metavar="N", help="how many models")
    parser.add_argument(
        "--start",
        type=int,
        help=f"the first seed; by default a quarter of the seeds from each of 0, {NEWER}, {NEWEST} and {TYPED} on",
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many processes")
    parser.add_argument("--keep", type=Path, default=Path("reports/fuzz"), help="where failures are kept")
    given = parser.parse_args()
    quarter = given.count // 4
    ranges = {0: given.count - 3 * quarter, NEWER: quarter, NEWEST: quarter, TYPED: quarter}
    ranges = ranges if given.start is None else {given.start: given.count}
    found = {}
    for start, count in ranges.items():
        found |= verdicts(start, start + count, given.jobs)
    refused = sum(verdict.status == REFUSED for verdict in found.values())
    print(f"refused: {refused / len(found):.2%}")
    sys.exit(0 if report(found, given.keep) else 1)


if __name__ == "__main__":
    main()
