"""Rules that integrate along a path: where its points lie and what each of them counts."""

from __future__ import annotations

import math
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


@dataclass(frozen=True, eq=False)
class Finer:
    """What takes a rule to more points, of which those there are may be a part.

    Attributes:
        alphas: Where the added points lie.
        weights: What the gradient at each counts.
        kept: What is left of the weights of the points there are; 0 where they have no part in the finer rule.
        steps: How many gradients the finer rule has.
    """

    alphas: np.ndarray
    weights: np.ndarray
    kept: float
    steps: int


def finer(rule: str, steps: int) -> Finer:
    """The same rule with about twice as many points, thrice for "riemann_middle", whose points then stay.

    Those of "gauss_legendre" do not: it begins again.
    """
    more = {"trapezoid": 2 * steps - 1, "riemann_middle": 3 * steps}.get(rule, 2 * steps)
    found = points(rule, more)
    counting = found.weights > 0
    alphas, weights = found.alphas[counting], found.weights[counting]
    number = np.arange(more)
    old = {
        "trapezoid": number % 2 == 0,
        "riemann_left": number % 2 == 0,
        "riemann_right": number % 2 == 1,
        "riemann_middle": number % 3 == 1,
    }.get(rule, np.zeros(more, bool))
    kept = (steps - 1) / (more - 1) if rule == "trapezoid" else steps / more
    return Finer(alphas[~old], weights[~old], kept if old.any() else 0.0, more)


@dataclass(frozen=True)
class Refinement:
    """How points are added until a row's attributions add up to f(x) - f(b).

    Attributes:
        rule: The rule.
        steps: How many points it begins with.
        adaptive: Whether points are added where the path needs them, not everywhere.
        tolerance: The gap to reach, relative to f(x) - f(b); None to take ``most`` points.
        most: Most points of a row.
    """

    rule: str
    steps: int
    adaptive: bool
    tolerance: float | None
    most: int

    @property
    def margin(self) -> int:
        """How far below the largest error one may be for its interval to be chosen by what is left of the sum.

        In quarters of powers of two: (t / 1 %)^1.5 for a tolerance t, nothing up to 1 %. The coarser the tolerance, the
        more the sum counts beside the single errors.
        """
        if self.tolerance is None or self.tolerance <= _FINE:
            return 0
        return min(math.floor(6 * math.log2(self.tolerance / _FINE)), NEGLIGIBLE)


#: What a score is exact to, relative to its size, by the size of its type in bytes: nothing is refined below it.
ROUNDING = {2: 2.0**-9, 4: 1e-6, 8: 1e-14}
PLACES = ("uniform", "adaptive")
#: Adaptive points: a round takes one for each so many there are. An interval's error times the square root of its
#: length is compared in quarters of powers of two, NONE below TINY; in a round one that many quarters below the largest
#: gets no point.
EACH, TINY, NONE, NEGLIGIBLE = 8, 1e-37, -1000.0, 4 * 8
#: Up to this tolerance the largest errors alone say where points go. Above it, of the intervals with large errors those
#: are halved first after which the sum of all errors is expected to be least, as halving one takes away three quarters
#: of the error of a trapezoid. FIRST puts them before all others in the order of the intervals.
_FINE, TAKEN, FIRST = 0.01, 0.75, 4000.0
#: Intervals are halved down to this length, which float32 still tells apart everywhere on the path.
SHORTEST = 2.0**-20
#: Most points of a row unless the caller says so, and how many points adaptive paths begin with.
MOST, _FIRST = 800, (9, 5, 3, 2)


def at_once(points: int) -> int:
    """How many points a round adds to so many."""
    return max(1, points // EACH)


def refinement(
    rule: str, steps: int, places: str, tolerance: float | None, max_steps: int | None
) -> Refinement | None:
    """The refinement that parameters ask for; None for a fixed number of points.

    Raises:
        ParameterError: If a parameter is outside its domain, or they do not go together.
    """
    if places not in PLACES:
        raise ParameterError(f"points={places!r}: expected one of {PLACES}.")
    number = isinstance(tolerance, (int, float, np.number)) and not isinstance(tolerance, bool)
    if tolerance is not None and not (number and np.isfinite(tolerance) and tolerance > 0):
        raise ParameterError(
            f"tolerance={tolerance!r}: expected a share of f(x) - f(b) above 0, such as 0.01, or None."
        )
    if max_steps is not None and tolerance is None:
        raise ParameterError(
            f"max_steps={max_steps!r} limits the points that tolerance= adds, and tolerance is None. Set the number of "
            "points with steps=, or give a tolerance."
        )
    integer = isinstance(max_steps, (int, np.integer)) and not isinstance(max_steps, bool)
    if max_steps is not None and not integer:
        raise ParameterError(f"max_steps={max_steps!r}: expected an integer, or None for {MOST}.")
    adaptive = places == "adaptive"
    if adaptive and rule != "trapezoid":
        raise ParameterError(f"quadrature={rule!r} with points='adaptive': adaptive points need 'trapezoid'.")
    if tolerance is None and not adaptive:
        return None
    most = steps if tolerance is None else max(MOST, steps) if max_steps is None else max_steps
    first = next(count for count in _FIRST if count <= most or count == 2) if adaptive else steps
    if most < first:
        raise ParameterError(f"max_steps={max_steps!r}: expected an integer from {first} on.")
    return Refinement(rule, first, adaptive, None if tolerance is None else float(tolerance), int(most))
