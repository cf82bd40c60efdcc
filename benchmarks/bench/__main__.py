"""`make bench`: measures what is not measured yet and writes docs/speed.json and the tables of docs/speed.md."""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.bench import plan, report
from benchmarks.bench.files import ROOT
from benchmarks.bench.plan import Cell
from benchmarks.bench.race import processes, race
from benchmarks.bench.results import Results, ratio


def main() -> None:
    """Runs the parts that are asked for."""
    options = arguments()
    results = Results(options.results)
    asked = [word for word in options.only.replace(", ", ",").lower().split(",") if word]
    start = time.perf_counter()
    for group in selected(options.part, asked):
        cells = [cell for cell in group if options.fresh or not results.current(cell.key)]
        measure(cells, results)
    for name, part in PARTS.items():
        if options.part in ("all", name) and (not asked or name in asked):
            part(results, options.fresh)
    if options.document:
        report.write(results.data, options.document)
    print(report.summary(results.data))
    print(f"{time.perf_counter() - start:.0f} s; {options.results}", flush=True)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--part", default="all", choices=["all", "headline", "methods", "growth", *PARTS])
    parser.add_argument(
        "--only", default="", help="comma-separated: networks, tasks, '8 rows', 'all threads'"
    )
    parser.add_argument("--fresh", action="store_true", help="measure again what is measured")
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "speed.json")
    parser.add_argument("--document", type=Path, default=ROOT / "docs" / "speed.md")
    return parser.parse_args()


def selected(part: str, asked: Sequence[str]) -> Iterable[list[Cell]]:
    """The measurements of a part, in groups that share their processes.

    A measurement is selected when each kind of word that is asked for has one of its own.
    """
    makers = {"headline": plan.headline, "methods": plan.others, "growth": plan.growth}
    groups = itertools.chain.from_iterable(make() for name, make in makers.items() if part in ("all", name))
    every = list(groups)
    known = set().union(*(cell.words for group in every for cell in group)) | set(PARTS)
    unknown = [word for word in asked if word not in known]
    if unknown and part in ("all", *makers):
        raise SystemExit(f"Nothing is called {', '.join(unknown)}; there are: {', '.join(sorted(known))}.")
    networks = {cell.case.name.lower() for group in every for cell in group}
    kinds = [
        [w for w in asked if w in networks],
        [w for w in asked if w not in networks and not w[0].isdigit()],
    ]
    kinds.append([word for word in asked if word[0].isdigit()])
    for group in every:
        yield [c for c in group if all(not kind or c.words.intersection(kind) for kind in kinds)]


def measure(cells: Sequence[Cell], results: Results) -> None:
    """Races the sides of cells of one network and number of threads; each result is kept at once."""
    runnable = []
    for cell in cells:
        if cell.seconds > plan.LONGEST:
            results.add(cell.key, {"skipped": f"a run would take about {cell.seconds:.0f} s"})
        else:
            runnable.append(cell)
    if not runnable:
        return
    first = runnable[0]
    # TensorFlow stays out of this process.
    command = f"from benchmarks.bench import cases, files; files.make(cases.case({first.case.name!r}))"
    subprocess.run([sys.executable, "-c", command], cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
    sides = dict.fromkeys(side for cell in runnable for side in cell.sides)
    with processes(list(sides), first.case.name, first.threads) as workers:
        for cell in runnable:
            entry = race([w for w in workers if w.side in cell.sides], cell.task, cell.rows, cell.points)
            results.add(cell.key, entry)
            print(line(cell, entry), flush=True)


def line(cell: Cell, entry: dict) -> str:
    """One measurement in words."""
    kind = "cpu" if cell.threads == 1 else "wall"
    found = []
    for who in entry["times"]:
        pair = ratio(entry, who, "onnxattr", kind)
        if pair and who != "onnxattr":
            found.append(f"{who} {pair[0]:.2f} ({pair[1]:.2f})")
    rounds = len(next(iter(entry["times"].values()))[kind]) if entry["times"] else 0
    missing = "".join(f"; no {side}: {why}" for side, why in entry["missing"].items())
    return f"{cell.key}: {', '.join(found)}; {rounds} rounds{missing}"


PARTS: dict = {}

if __name__ == "__main__":
    main()
