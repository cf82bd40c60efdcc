"""Rules that integrate along a path: where its points lie and what each of them counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial.legendre import leggauss

from onnxattr.errors import ParameterError

#: The rules, and how many points each needs at least.
FEWEST = {"trapezoid": 2, "riemann_left": 1, "riemann_right": 1, "riemann_middle": 1, "gauss_legendre": 1}


@dataclass(frozen=True, eq=False)
class Points:
    """Points on the path from the baseline at 0 to the input at 1, both among them.

    Attributes:
        alphas: Where they lie, ascending.
        weights: What the gradient at each counts; they add up to 1. The ends of a rule without end points count 0: the
            score there is needed, as attributions should add up to f(x) - f(b).
        ends: What the score at each counts in f(x) - f(b): -1 at the baseline, 1 at the input, else 0.
    """

    alphas: np.ndarray
    weights: np.ndarray
    ends: np.ndarray


def points(rule: str, steps: int) -> Points:
    """The points of a rule with ``steps`` gradients on [0, 1].

    "trapezoid" takes both ends, "riemann_left" begins at the baseline, "riemann_right" ends at the input,
    "riemann_middle" takes the middles of ``steps`` equal parts; "gauss_legendre" is exact where the gradient is a
    polynomial of degree up to 2 steps - 1 along the path.
    """
    if rule == "trapezoid":
        alphas, weights = trapezoid(steps)
    elif rule == "gauss_legendre":
        alphas, weights = leggauss(steps)
        alphas, weights = (alphas + 1) / 2, weights / 2
    else:
        shift = {"riemann_left": 0.0, "riemann_middle": 0.5, "riemann_right": 1.0}[rule]
        alphas, weights = (np.arange(steps) + shift) / steps, np.full(steps, 1.0 / steps)
    if alphas[0] != 0.0:
        alphas, weights = np.append(0.0, alphas), np.append(0.0, weights)
    if alphas[-1] != 1.0:
        alphas, weights = np.append(alphas, 1.0), np.append(weights, 0.0)
    ends = np.zeros(len(alphas), np.float32)
    ends[0], ends[-1] = -1, 1
    return Points(alphas, weights, ends)


def trapezoid(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions and weights of the trapezoid rule on [0, 1] with ``steps`` points, both ends included."""
    weights = np.full(steps, 1.0 / (steps - 1))
    weights[[0, -1]] /= 2
    return np.linspace(0.0, 1.0, steps), weights


def check_rule(rule: str) -> None:
    """Checks the parameter ``quadrature``.

    Raises:
        ParameterError: If there is no such rule.
    """
    if rule not in FEWEST:
        raise ParameterError(f"quadrature={rule!r}: expected one of {tuple(FEWEST)}.")
