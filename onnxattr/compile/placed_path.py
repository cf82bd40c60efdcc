"""Paths other than the straight one from one baseline: what a method takes for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import onnx_ir as ir

if TYPE_CHECKING:
    from onnxattr.compile.renderings.points_graph import PointsGraph


@dataclass(frozen=True, eq=False)
class Rows:
    """Where the rows of a run lie on their paths; each is a value (R,).

    Attributes:
        alpha: The position, float32; what a negative one means is the path's to say.
        sample: The sample among those of the run, int64.
        number: The sample among all, int64.
        draw: The number of the point, int64.
    """

    alpha: ir.Value
    sample: ir.Value
    number: ir.Value | None = None
    draw: ir.Value | None = None


class Path(Protocol):
    """A path z(alpha) for each explained value; moments are of the gradient at z times dz/dalpha."""

    @property
    def seeded(self) -> bool:
        """Whether numbers are drawn."""

    def at(self, rewrite: PointsGraph, x: ir.Value, position: int, rows: Rows) -> tuple[ir.Value, ir.Value]:
        """The points z of an explained value x and the slopes dz/dalpha there, a row for each of x."""
