"""Judges every case, in several processes, and keeps the verdicts in a file: ``python tests/node_cases/run.py``."""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as a script
    sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[1:3]]

from node_cases import report
from node_cases.cases import collect, with_constants
from node_cases.judge import Verdict, judge
from node_cases.packages import PACKAGES


def judge_named(package: str, constants: bool, name: str) -> Verdict:
    """What a package makes of the case of a name, with or without its integer inputs as constants."""
    cases = collect()
    case = with_constants(cases[name]) if constants else cases[name]
    return judge(case, cases[name.partition("_expanded")[0]], PACKAGES[package])


def judge_all(
    names: Sequence[str], package: str = "onnxattr", constants: bool = False, processes: int = 2
) -> dict[str, Verdict]:
    """What a package makes of cases, by name."""
    with multiprocessing.Pool(processes) as pool:
        verdicts = pool.imap(functools.partial(judge_named, package, constants), names, chunksize=8)
        return dict(zip(names, verdicts, strict=True))


def main() -> None:
    """Prints the verdicts on some cases, or judges all by all packages and writes the support table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="judge everything and write docs/operators.md")
    parser.add_argument("--pattern", default="", help="judge cases with this in their names")
    parser.add_argument("--op", help="judge cases of this operator")
    parser.add_argument("--package", choices=sorted(PACKAGES), default="onnxattr")
    parser.add_argument("--constants", action="store_true", help="integer inputs become constants")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    cases = collect()
    if arguments.write:
        runs = {
            (package, constants): judge_all(list(cases), package, constants, arguments.processes)
            for package in PACKAGES
            for constants in (False, True)
        }
        report.write(runs)
        return
    names = [n for n, c in cases.items() if arguments.pattern in n and arguments.op in (None, c.op)]
    verdicts = judge_all(names, arguments.package, arguments.constants, arguments.processes)
    for name, verdict in verdicts.items():
        print(f"{name}: {verdict}")


if __name__ == "__main__":
    main()
