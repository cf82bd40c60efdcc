"""The last step of a method: its maps from the moments, and by how much they do not add up, as graph outputs."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import onnx_ir as ir

from onnxattr.compile.placement import Placement
from onnxattr.compile.renderings.groups import MASK, Groups, summed
from onnxattr.compile.renderings.model_graph import INT64, own_name
from onnxattr.compile.renderings.points_graph import PointsGraph
from onnxattr.compile.renderings.reducers import REDUCERS
from onnxattr.graph.halves import in_float
from onnxattr.graph.values import dims_of
from onnxattr.loading.missing import may_be_missing

if TYPE_CHECKING:
    from onnxattr.compile.renderings.rewrite import Request


class MapsGraph(PointsGraph):
    """A model's graph with the points of a method and its last step."""

    def __init__(self, request: Request):
        super().__init__(request)
        #: What maps are multiplied by, as GuidedGradCAM's are by its heatmap; None for nothing.
        self._factor: ir.Value | None = None

    def attributed(
        self, x: ir.Value, position: int, moments: Sequence[ir.Value], baseline: ir.Value | None
    ) -> ir.Value:
        """The method's last step for the explained value at a position, before anything is reduced."""
        full = self.method.finish(self.op, x, baseline, moments)
        if self._may_be_missing[position]:
            # The score does not depend on what stands in a missing value's place; 0 * NaN would be NaN.
            full = self.op.Where(self.op.IsNaN(x), 0.0, full)
        return full

    def attributions(
        self, xs: Sequence[ir.Value], moments: Sequence[Sequence[ir.Value]], difference: ir.Value | None
    ) -> None:
        """Appends the method's last step and the reducer as graph outputs, one for each explained value.

        Args:
            xs: The explained values.
            moments: The moments of the gradient for each.
            difference: f(x) - f(b), (N, 1), for methods on a path: gives the outputs ``convergence_delta``, (N,), by
                how much the attributions do not add up to it, and ``relative_gap``, (N,), its size over that of the
                difference; its size alone where there is no difference.
        """
        op, totals = self.op, []
        for position, (x, found) in enumerate(zip(xs, moments, strict=True)):
            full = self.attributed(x, position, found, self.baseline(position))
            if difference is not None:
                full_sum = op.ReduceSum(op.Flatten(full, axis=1), [1], keepdims=1)
                totals.append(op.cast_like(full_sum, difference))
            if self._factor is not None:
                # Both grow with the score: their product would leave the range of half precision first.
                full = op.Mul(in_float(op, full), in_float(op, self._factor))
            if (placement := self.method.placement) is not None:
                result = self._placed(placement, full)
                dims = list(dims_of(result) or [])
            else:
                result, dims = self._reduced(full, position, list(dims_of(x) or []))
            if (groups := self.request.map_groups[position]) is not None:
                result.shape = ir.Shape(dims)
                result = summed(op, result, groups, self._rows_of_mask(position, groups))
                dims = [dims[0], groups.count]
            name = own_name(self.request.prepared, "attribution", position)
            self.add_output(result, name, result.dtype or x.dtype, dims)
        if difference is not None:
            total = totals[0] if len(totals) == 1 else op.Sum(*totals)
            delta = op.Reshape(op.Sub(total, difference), [-1])
            size = op.Reshape(op.Abs(difference), [-1])
            gap = op.Div(op.Abs(delta), op.Where(op.Equal(size, 0), 1, size))
            for stem, value in (("convergence_delta", delta), ("relative_gap", gap)):
                name = own_name(self.request.prepared, stem)
                self.add_output(value, name, difference.dtype, (dims_of(xs[0]) or [None])[:1])

    def _rows_of_mask(self, position: int, groups: Groups) -> ir.Value | None:
        """The input that says the groups of each sample, where they are not the same for all."""
        if not groups.per_sample:
            return None
        name = own_name(self.request.prepared, MASK, position)
        rows = (dims_of(self.wrt[position]) or [None])[0]
        return self.op.input(name, INT64, [rows if isinstance(rows, int) else None, *groups.shape])

    def add_spent(self, spent: ir.Value) -> None:
        """Appends how many gradients each sample took as the graph output ``spent_steps``, (N,) int64."""
        self.add_output(
            spent, own_name(self.request.prepared, "spent_steps"), INT64, dims_of(spent) or [None]
        )

    def _placed(self, placement: Placement, full: ir.Value) -> ir.Value:
        """A map at a layer as one over the image."""
        inner = self._values.get(str(placement.image))
        image = next((v for v in self.graph.inputs if v.name == placement.image), inner)
        return placement.placed(self.op, full, image)

    @functools.cached_property
    def _may_be_missing(self) -> list[bool]:
        """Whether each explained value is an input in which the model replaces missing values."""
        prepared = self.request.prepared
        values = prepared.values
        found = may_be_missing([values[name] for name in prepared.wrt], values[prepared.output])
        return [
            missing and values[name].producer() is None
            for name, missing in zip(prepared.wrt, found, strict=True)
        ]

    def _reduced(
        self, full: ir.Value, position: int, dims: list[int | str | None]
    ) -> tuple[ir.Value, list[int | str | None]]:
        reducer, axis, groups = (
            self.request.reducer,
            self.request.channel_axes[position],
            self.request.map_groups[position],
        )
        if reducer is None or axis is None or (groups is not None and not groups.reduced):
            return full, dims
        dims[axis] = 1
        return REDUCERS[reducer](self.op, full, axis), dims
