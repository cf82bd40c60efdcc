"""Measures the noise of a seed: moments, distribution, correlations, repetitions and time.

`--write` puts the table into docs/differences-from-xplique.md. It takes half a minute.
"""

from __future__ import annotations

import argparse
import itertools
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import stats

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from onnxattr.compile.noise import draw_noise  # noqa: E402

SHAPE, DRAWS, SEEDS = (16, 127, 129), 16, (0, 1, 7, 2**24 + 1, 2**31 - 2)
PAGE = ROOT / "docs" / "differences-from-xplique.md"
MARKS = re.compile(r"(<!-- table: benchmarks/noise.py -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write it into {PAGE.name}")
    options = parser.parse_args()
    lines = ["| what | measured | expected |", "| --- | --- | --- |"]
    lines += [f"| {what} | {measured} | {expected} |" for what, measured, expected in rows()]
    table = "\n".join(lines)
    print(table)
    if options.write:
        PAGE.write_text(MARKS.sub(lambda found: f"{found[1]}{table}\n{found[2]}", PAGE.read_text()))


def rows() -> Iterator[tuple[str, str, str]]:
    """The rows of the table."""
    drawn = {seed: draw_noise(seed, SHAPE, DRAWS) for seed in SEEDS}
    size = drawn[0].size
    values = [noise.astype(np.float64).ravel() for noise in drawn.values()]
    moments = {
        "mean": (np.mean, 0, 1), "variance": (np.var, 1, 2), "skewness": (stats.skew, 0, 6),
        "excess kurtosis": (stats.kurtosis, 0, 24),
    }  # fmt: skip
    for name, (function, expected, variance) in moments.items():
        errors = [(function(v) - expected) / np.sqrt(variance / size) for v in values]
        yield f"{name} of {size:,} numbers, {len(SEEDS)} seeds", spread(errors), "0 ± 1"
    p = [stats.kstest(v, "norm").pvalue for v in values]
    yield "Kolmogorov-Smirnov test, p", f"{min(p):.2f} to {max(p):.2f}", "0 to 1"
    yield "largest number", f"{max(np.abs(v).max() for v in values):.2f}", "5.1 to 5.8"
    for power, name in ((1, "correlations"), (2, "correlations of squares")):
        found = [correlation(a, b, power) for noise in drawn.values() for a, b in pairs(noise)]
        found += [correlation(drawn[a], drawn[b], power) for a, b in itertools.pairwise(SEEDS)]
        yield f"{name} of neighbours, samples, draws and seeds ({len(found)})", spread(found), "0 ± 1"
    many = draw_noise(7, (2**20, 2), 4)
    joined = np.unique(many.reshape(-1, 2), axis=0)
    yield f"different pairs among {len(many) * many.shape[1]:,}", f"{len(joined):,}", "all"


def pairs(noise: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Parts of the noise that shall have nothing to do with each other."""
    flat = noise.reshape(*noise.shape[:2], -1)
    half = (flat.shape[-1] + 1) // 2
    for lag in (1, 2, 3, SHAPE[-1], 4093, half - 1, half, half + 1):
        yield flat[..., lag:], flat[..., :-lag]
    yield noise[1:], noise[:-1]
    yield noise[:, 1:], noise[:, :-1]
    yield noise[1:, 1:], noise[:-1, :-1]
    yield flat[1:, :, 1:], flat[:-1, :, :-1]


def correlation(a: np.ndarray, b: np.ndarray, power: int) -> float:
    """A correlation in standard errors."""
    a, b = (part.astype(np.float64).ravel() ** power for part in (a, b))
    return float(np.corrcoef(a, b)[0, 1] * np.sqrt(a.size))


def spread(errors: list[float]) -> str:
    """Deviations in standard errors."""
    return f"{min(errors):+.1f} to {max(errors):+.1f} standard errors"


if __name__ == "__main__":
    main()
