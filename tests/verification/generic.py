"""Looks for inputs in generic position, by the tape alone; run as a script it prints `models.SEEDS`.

A row is taken if at every point where a method takes a gradient (the row, its path from the baseline, its noisy
copies) TensorFlow's float32 gradient is the float64 one to `ROUNDED`, and the float64 one is the same to `MOVED` when
every number of the point moves by up to `ROUNDINGS` roundings: then no ReLU and no max-pool is about to decide
otherwise. onnxattr only gives the noise; none of its gradients is looked at.
"""

import argparse
import itertools
import sys
from pathlib import Path

import numpy as np

if not __package__:  # started as a script
    sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[1:3]]

from onnxattr.compile.noise import draw_noise
from verification.compare import DEFAULTS, FAST, FULL_MODELS, VARIANTS, Settings, tape
from verification.models import BUILDERS, Case, build_case

ROUNDED, MOVED = 4e-6, 1e-5
ROUNDINGS, TRIES = 16, 6


def points_of(case: Case, position: int, row: np.ndarray, settings: Settings) -> np.ndarray:
    """Every point where a method takes a gradient for one row, (P, ...) float64."""
    alphas = np.linspace(0.0, 1.0, settings.steps).reshape(-1, *[1] * row.ndim)
    path = case.baseline + alphas * (row.astype(np.float64) - case.baseline)[None]
    draws = draw_noise(settings.seed, (1, *row.shape), settings.nb_samples, first_row=position)[:, 0]
    return np.concatenate([row[None], path, row + np.float32(settings.noise) * draws])


def is_generic(case: Case, points: np.ndarray, target: np.ndarray) -> bool:
    """Whether no decision is close at any of the points.

    Rounding is looked at in the whole model and in the cut one; moved points at the logits, which have all decisions.
    """
    targets = np.tile(target, (len(points), 1))
    for layer in VARIANTS.values():
        exact = tape(case.name, layer, "float64", "all").gradient(points, targets)
        rounded = tape(case.name, layer, "float32", "all").gradient(points, targets)
        if _largest(rounded, exact) > ROUNDED:
            return False
    cut, rng = tape(case.name, VARIANTS["cut"], "float64", "all"), np.random.default_rng(0)
    exact = cut.gradient(points, targets)
    for _ in range(TRIES):
        moved = points * (1 + rng.uniform(-ROUNDINGS, ROUNDINGS, points.shape) * 2.0**-24)
        if _largest(cut.gradient(moved, targets), exact) > MOVED:
            return False
    return True


def _largest(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference of any map, relative to the map's maximum."""
    axes = tuple(range(1, expected.ndim))
    return float((np.abs(found - expected).max(axis=axes) / np.abs(expected).max(axis=axes)).max())


def seeds_of(name: str) -> tuple[int, ...]:
    """The first seed of every row of a case that puts it in generic position."""
    case, found = build_case(name), []
    settings = (FAST, DEFAULTS) if name in FULL_MODELS else (FAST,)
    for position, target in enumerate(case.targets):
        for seed in itertools.count():
            row = case.row(position, seed)
            if all(is_generic(case, points_of(case, position, row, each), target) for each in settings):
                found.append(seed)
                break
    return tuple(found)


def main() -> None:
    """Prints the seeds of the chosen cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=BUILDERS, default=list(BUILDERS))
    for name in parser.parse_args().models:
        print(f'    "{name}": {seeds_of(name)},', flush=True)


if __name__ == "__main__":
    main()
