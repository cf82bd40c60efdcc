"""Where the gradient is taken: baselines, and the points of rows between them and the explained values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import onnx_ir as ir

from onnxattr.compile.baseline_kinds import OF_PATH, Computed, Fed, Fixed
from onnxattr.compile.fit import BASELINE_FIT, broadcast_to
from onnxattr.compile.placed_path import Rows
from onnxattr.compile.renderings.model_graph import ModelGraph, own_name
from onnxattr.graph.values import dims_of

if TYPE_CHECKING:
    from onnxattr.compile.renderings.rewrite import Request


class PointsGraph(ModelGraph):
    """A model's graph with the baselines and points of a method."""

    def __init__(self, request: Request):
        super().__init__(request)
        self._baselines: dict[int, ir.Value] = {}
        self._slopes: dict[int, ir.Value] = {}

    def baseline(
        self, position: int, x: ir.Value | None = None, sample: ir.Value | None = None
    ) -> ir.Value | None:
        """The baseline of the explained value at a position, of one row or as many as there are samples.

        Args:
            position: Which of the explained values it is.
            x: The explained value, a row for each sample; needed where the baseline is first asked for and computed.
            sample: The numbers of the samples, int64; None if they are counted from 0 on.
        """
        if self.method.baseline is None:
            return None
        kind, like = self.method.baseline[position], self.wrt[position]
        if isinstance(kind, OF_PATH):
            return None
        if position not in self._baselines:
            if isinstance(kind, Fixed):
                numbers = self.op.constant(kind.numbers, like.dtype)
                found = self.fitted(numbers, like, kind.numbers.shape)
            elif isinstance(kind, Fed):
                found = self._fed_baseline(like, position)
            else:
                found = self._computed_baseline(kind, position, x, sample)
            self._baselines[position] = found
        return self._baselines[position]

    def _fed_baseline(self, like: ir.Value, position: int) -> ir.Value:
        prepared, dims = self.request.prepared, (dims_of(like) or [])[1:]
        if prepared.value(prepared.wrt[position]).producer() is not None:
            # What broadcasts to an inner value whose sizes are open is taken too.
            dims = [dim if isinstance(dim, int) else None for dim in dims]
        name = own_name(prepared, "baseline", position)
        return self.rows_of_baseline(self.op.input(name, like.dtype, ["baselines", *dims]), like)

    def rows_of_baseline(self, given: ir.Value, like: ir.Value) -> ir.Value:
        """Baselines from outside, of one row or of one for each sample; a run fails where there are others.

        Args:
            given: The graph's input.
            like: A value with rows of their size.
        """
        op, rows = self.op, self.op.shape(given, 0, 1)
        rows = op.Where(op.Equal(rows, 1), 1, op.shape(self.with_rows, 0, 1))
        return self._broadcast(given, like, rows)

    def fitted(
        self, baseline: ir.Value, like: ir.Value, shape: Sequence[int], rows: ir.Value | None = None
    ) -> ir.Value:
        """A baseline; a run fails where it has other sizes than samples, to which the runtime would broadcast them.

        Args:
            baseline: The numbers, with as many axes as a sample or fewer, or as rows.
            like: What they are a baseline of, with rows.
            shape: Their shape for one sample.
            rows: How many rows there are, (1,) int64; None for numbers that all samples share.
        """
        pairs = zip(reversed((dims_of(like) or [])[1:]), reversed(shape), strict=False)
        if all(size == 1 or isinstance(dim, int) for dim, size in pairs):
            return baseline
        return self._broadcast(baseline, like, self.op.constant([1]) if rows is None else rows)

    def _broadcast(self, baseline: ir.Value, like: ir.Value, rows: ir.Value) -> ir.Value:
        dims = (dims_of(like) or [])[1:]
        sizes = self.op.Concat(rows, self.op.shape(like, 1), axis=0) if dims else rows
        fitted = broadcast_to(self.op, baseline, sizes, BASELINE_FIT)
        fitted.shape = ir.Shape([None, *dims])
        return fitted

    def _computed_baseline(
        self, kind: Computed, position: int, x: ir.Value | None, sample: ir.Value | None
    ) -> ir.Value:
        assert x is not None
        if not kind.seeded:
            return self.op.expand_like(kind.build(self.op, x, None, None, position), x)
        if sample is None:
            rows = self.op.Shape(x, start=0, end=1)
            sample = self.op.Range(0, self.op.Squeeze(rows, [0]), 1)
        return self.op.expand_like(kind.build(self.op, x, self.seed(), sample, position), x)

    def baselines_per_sample(self, number: ir.Value | None) -> dict[str, ir.Value]:
        """The baselines that are not the same for each sample, a row for each, by the names of inputs.

        Args:
            number: What the numbers drawn for each sample are a function of, if not its position.
        """
        found = {}
        for position, kind in enumerate(self.request.method.baseline or ()):
            if not isinstance(kind, (Fixed, *OF_PATH)):
                x = self.wrt[position]
                baseline = self.baseline(position, x, number)
                assert baseline is not None
                name = own_name(self.request.prepared, "baseline", position)
                found[name] = self.op.expand_like(baseline, x)
        return found

    def on_path(self, x: ir.Value, position: int, rows: Rows) -> ir.Value:
        """z = (1 - alpha) b + alpha x: b and x themselves at the ends, to the last bit; or the method's own path.

        Args:
            x: The explained value at a position, for each row.
            position: Which of the explained values it is.
            rows: Where the rows lie.
        """
        if self.method.path is not None:
            z, self._slopes[position] = self.method.path.at(self, x, position, rows)
            return z
        op, column = self.op, self.column(rows.alpha, x)
        baseline = self.baseline_of_rows(position, rows.sample)
        return op.Add(op.Mul(op.Sub(1.0, column), baseline), op.Mul(column, x))

    def baseline_of_rows(self, position: int, sample: ir.Value) -> ir.Value:
        """The baseline of the explained value at a position, for rows of some samples."""
        op, baseline = self.op, self.baseline(position)
        assert baseline is not None
        if not isinstance(self.method.baseline[position], Fixed):
            baseline = op.Gather(baseline, op.Mod(sample, op.Shape(baseline, start=0, end=1)), axis=0)
        return baseline

    def deviation(self, x: ir.Value) -> ir.Value | float:
        """The standard deviation of the noise: a number, or for each row a share of its range."""
        if not self.method.relative:
            return self.method.noise
        op, axes = self.op, list(range(1, len(dims_of(x) or [None])))
        spread = op.Sub(op.ReduceMax(x, axes, keepdims=1), op.ReduceMin(x, axes, keepdims=1))
        share: ir.Value = op.Mul(spread, self.method.noise)
        return share

    def along_path(self, gradient: ir.Value, position: int) -> ir.Value:
        """A gradient of rows times the slope of a path of the method's own; else the gradient itself."""
        slope = self._slopes.get(position)
        return gradient if slope is None else self.op.Mul(gradient, slope)
