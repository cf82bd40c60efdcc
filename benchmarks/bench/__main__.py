"""`make bench`: measures what is not measured yet and writes docs/speed.json and the tables of docs/speed.md."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence, Set
from pathlib import Path

from benchmarks.bench import files, kinds, plan, preparation, report, start
from benchmarks.bench.cases import CASES
from benchmarks.bench.files import ROOT
from benchmarks.bench.plan import Cell
from benchmarks.bench.race import processes, race
from benchmarks.bench.results import Results, ratio


def main() -> None:
    """Runs the parts that are asked for."""
    options = arguments()
    results = Results(options.results)
    asked = [word for word in options.only.replace(", ", ",").lower().split(",") if word]
    began = time.perf_counter()
    for step in STEPS if options.part == "all" else [options.part]:
        if step in PARTS:
            if not asked or step in asked or options.part == step:
                names = [n for n in CASES if n.lower() in asked] or list(CASES)
                PARTS[step](results, names, options.fresh)
            continue
        for group in selected(step, asked):
            measure([cell for cell in group if wanted(cell, results, options.fresh)], results)
    if options.document:
        report.write(results.data, options.document)
    print(report.summary(results.data))
    print(f"{time.perf_counter() - began:.0f} s; {options.results}", flush=True)


#: Races by groups of cells.
RACES = {"headline": plan.headline, "growth": plan.growth, "methods": plan.others}
#: What is measured in fresh processes, one network or size after the other.
PARTS = {
    "start": start.measure,
    "profile": kinds.measure,
    "preparation": lambda results, names, fresh: preparation.measure(results, fresh),
}
#: The order of everything: what takes hours comes last.
STEPS = ("headline", *PARTS, "growth", "methods")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--part", default="all", choices=["all", *STEPS])
    parser.add_argument(
        "--only", default="", help="comma-separated: networks, tasks, '8 rows', 'all threads', start, profile"
    )
    parser.add_argument("--fresh", action="store_true", help="measure again what is measured")
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "speed.json")
    parser.add_argument("--document", type=Path, default=ROOT / "docs" / "speed.md")
    return parser.parse_args()


def selected(step: str, asked: Sequence[str]) -> Iterator[list[Cell]]:
    """The measurements of a step, in groups that share their processes.

    A measurement is selected when each kind of word that is asked for has one of its own.
    """
    every = [cell for make in RACES.values() for group in make() for cell in group]
    known = set().union(*(cell.words for cell in every)) | set(PARTS)
    unknown = [word for word in asked if word not in known]
    if unknown:
        raise SystemExit(f"Nothing is called {', '.join(unknown)}; there are: {', '.join(sorted(known))}.")
    networks = {cell.case.name.lower() for cell in every}
    by_kind: dict[str, set[str]] = {}
    for word in asked:
        by_kind.setdefault(kind_of_word(word, networks), set()).add(word)
    for group in RACES[step]():
        yield [cell for cell in group if all(cell.words & words for words in by_kind.values())]


def kind_of_word(word: str, networks: Set[str]) -> str:
    """What a word of `ONLY=` is about."""
    if word in networks:
        return "network"
    return word.split()[-1].rstrip("s") if " " in word else "task"


def wanted(cell: Cell, results: Results, fresh: bool) -> bool:
    """Whether to measure a cell; an entry of this project alone neither counts for one with rivals nor replaces it."""
    entry = results.measured.get(cell.key, {})
    rivals = {*entry.get("times", {}), *entry.get("missing", {})} - {"onnxattr", "forward"}
    alone = cell.sides == ("onnxattr",)
    if alone and rivals:
        return False
    return fresh or not results.current(cell.key) or not (alone or rivals)


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
    files.make_apart(first.case)
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


if __name__ == "__main__":
    main()
