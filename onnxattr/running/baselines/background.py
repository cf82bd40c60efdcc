"""Paths from the members of a background set: each in its turn, or drawn at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from onnxattr.compile.baseline_kinds import Background, Baseline
from onnxattr.compile.method import Method, first_moment
from onnxattr.compile.noise import normal_like, start_rows
from onnxattr.compile.placed_path import Rows
from onnxattr.errors import ParameterError, ShapeError
from onnxattr.graph.values import dims_of
from onnxattr.loading.prepared import Prepared
from onnxattr.running.baselines.shapes import cast, fits
from onnxattr.running.baselines.values import asked
from onnxattr.running.given.arrays import as_array
from onnxattr.running.given.tables import by_name

if TYPE_CHECKING:
    from onnxattr.compile.renderings.points_graph import PointsGraph

#: Stands for a position or a member that is drawn.
DRAWN = -1


@dataclass(frozen=True, eq=False)
class FromMembers:
    """z = (1 - alpha) b + alpha x' from a member b to x' = x + e, of slope x' - b.

    Attributes:
        members: Which member each point starts at; -1 where it is drawn.
        noise: Standard deviation of e at the points whose member is drawn; e is 0 at the others.
    """

    members: np.ndarray
    noise: float = 0.0

    @property
    def seeded(self) -> bool:
        """Whether numbers are drawn."""
        return bool((self.members == DRAWN).any())

    def at(self, rewrite: PointsGraph, x: ir.Value, position: int, rows: Rows) -> tuple[ir.Value, ir.Value]:
        """The points and slopes."""
        op, kind = rewrite.op, rewrite.method.baseline[position]
        assert rows.draw is not None
        assert rows.number is not None
        alpha, member = rows.alpha, op.Gather(self.members.astype(np.int64), rows.draw)
        if self.seeded:
            drawn, seed = op.Less(member, 0), rewrite.seed()
            position_drawn, chosen = start_rows(op, seed, rows.number, rows.draw, len(kind.members))
            member, alpha = op.Where(drawn, chosen, member), op.Where(drawn, position_drawn, alpha)
            if self.noise:
                noise = normal_like(op, x, seed, rows.number, rows.draw, position)
                scale = op.Where(drawn, self.noise, op.constant(0, ir.DataType.FLOAT))
                x = op.Add(x, op.Mul(noise, rewrite.column(scale, x)))
        start = op.Gather(op.constant(kind.members, x.dtype), member, axis=0)
        start = rewrite.fitted(start, x, kind.members.shape[1:], op.shape(member, 0, 1))
        column = rewrite.column(alpha, x)
        return op.Add(op.Mul(op.Sub(1.0, column), start), op.Mul(column, x)), op.Sub(x, start)


@dataclass(frozen=True, eq=False)
class AskedBackground:
    """A background set as the caller asked for it, read for a model.

    Attributes:
        members: The members for each explained value, by its name.
        what: The parameter's name.
        numbers: Whether members are numbers, by the name of the explained value.
    """

    members: Mapping[str, np.ndarray]
    what: str
    numbers: Mapping[str, bool]

    @property
    def count(self) -> int:
        """The number of members."""
        return len(next(iter(self.members.values())))

    def fit(self, prepared: Prepared, ran: Prepared, axes: Sequence[int | None]) -> tuple[Baseline, ...]:
        """The members of each explained value in the dtypes of the model; arguments as of ``Asked.fit``.

        Raises:
            ParameterError: If they do not fit the model.
        """
        found = []
        for name, members in self.members.items():
            numbers = cast(members, ran.value(name), self.what)
            if self.numbers[name]:
                numbers = numbers.reshape([-1] + [1] * (len(dims_of(ran.value(name)) or [None]) - 1))
            sample = (dims_of(ran.value(name)) or [None])[1:]
            row = self.numbers[name] and [len(members)] == sample
            if row or not fits(numbers, ran.value(name), name, self.what):
                raise ParameterError(
                    f"{self.what} has shape {members.shape} for {name!r}, one baseline; expected a row for each: "
                    f"(members, {', '.join(map(str, sample))})."
                )
            found.append(Background(numbers))
        return tuple(found)


def asked_background(given: Any, prepared: Prepared, what: str = "background") -> AskedBackground:
    """Reads a background set: an array with a row for each member, or a list of members; likewise by input.

    A member is one sample, or a number for all of it.

    Raises:
        ParameterError: If it is none, is empty, or has other numbers of members for other inputs.
    """
    try:
        rows = by_name(given, prepared.features, what)
    except ShapeError as error:
        raise ParameterError(str(error)) from error
    given = given if rows is None else rows
    single = isinstance(given, list) or (isinstance(given, tuple) and len(prepared.wrt) == 1)
    if single and given:
        given = _stacked(given, what)
    if isinstance(given, Mapping):
        given = {
            name: _stacked(part, what) if isinstance(part, list) else part for name, part in given.items()
        }
    parts = asked(given, what).parts(prepared)
    wrong = [part for part in parts.values() if not hasattr(part, "shape")]
    if wrong:
        raise ParameterError(f"{what} holds {wrong[0]!r}; expected arrays with a row for each member.")
    counts = {len(part) for part in parts.values() if np.ndim(part)}
    if len(counts) != 1 or counts == {0}:
        raise ParameterError(
            f"{what} has {sorted(counts) or 'no'} members; expected one or more, the same number for each of "
            f"{list(prepared.asked)}."
        )
    (count,) = counts
    # An input that is not named starts at 0.
    members = {name: np.asarray(part) if np.ndim(part) else np.zeros(count) for name, part in parts.items()}
    return AskedBackground(members, what, {name: array.ndim == 1 for name, array in members.items()})


def _stacked(members: Sequence[Any], what: str) -> np.ndarray:
    try:
        arrays = [as_array(member, what) for member in members]
    except ShapeError as error:
        raise ParameterError(str(error)) from error
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) != 1:
        raise ParameterError(f"{what} has members of different shapes {shapes[:5]}; expected one shape.")
    return np.stack(arrays)


def averaged(method: Method, background: AskedBackground) -> Method:
    """The mean over all members of a method on a path from one baseline."""
    count = background.count
    return replace(
        method,
        finish=first_moment,
        weights=np.tile(method.weights, count) / count,
        alphas=np.tile(method.alphas, count),  # type: ignore[arg-type]
        ends=np.tile(method.ends, count) / count,  # type: ignore[arg-type]
        baseline=background,
        path=FromMembers(np.repeat(np.arange(count), method.points)),
    )


def expected(background: AskedBackground, draws: int, noise: float = 0.0) -> Method:
    """(x' - b) g(z) at drawn members b and positions of z, averaged.

    Behind the draws there are points for the score alone, at all members and at x: f(x) - mean f(b).
    """
    count = background.count
    drawn, rest = np.full(draws, DRAWN), np.zeros(count + 1)
    return Method(
        first_moment,
        weights=np.append(np.full(draws, 1.0 / draws), rest),
        alphas=np.concatenate([drawn, np.zeros(count), [1.0]]),
        baseline=background,
        ends=np.concatenate([np.zeros(draws), np.full(count, -1.0 / count), [1.0]]),
        path=FromMembers(np.concatenate([drawn, np.arange(count), [0]]), noise),
    )
