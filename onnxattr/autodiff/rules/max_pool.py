"""The rule of MaxPool: pools along one axis after the other, and their pullbacks in the opposite order."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.node import NodeView
from onnxattr.autodiff.registry import Cotangent, attributes_of, vjp
from onnxattr.autodiff.rewrites.patterns import Routed
from onnxattr.autodiff.rules.padding import along
from onnxattr.autodiff.rules.windows import Windows, known, pool_windows
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.ties import FIRST, SHARED, ties_of


@vjp("MaxPool", compares=True)
def max_pool(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = largest element of each window;  its ybar goes to the first position, in row-major order, that equals y.

    In volumes of TensorFlow's models every position that equals y gets the whole of it, as in its MaxPool3DGrad.
    The first position is the first in the first row that holds y, so pools along the last axis, then along the one
    before it, find it with k + k comparisons instead of k * k where windows overlap. Asking MaxPool for its Indices
    output would slow the forward pass down many times, and its ties differ between execution providers.
    """
    (x,), y = node.required(1), node.outputs[0]
    integers = x.dtype in (ir.DataType.UINT8, ir.DataType.INT8)
    if integers:
        # An element may be the lowest integer, which would fill the padding.
        x, y = (op.cast(value, ct.dtype) for value in (x, y))
    windows = pool_windows(op, node)
    spatial = range(2, 2 + windows.rank)
    axes = [a for a in reversed(range(windows.rank)) if windows.kernel[a] > 1 or windows.strides[a] > 1]
    if not axes:
        return (ct,)

    def channels_last(value: ir.Value) -> ir.Value:
        # Positions are then cut out and put back as runs of channels, not as single elements.
        return op.Transpose(value, perm=[0, *spatial, 1])

    if len(axes) == 2 and _divide(windows):
        moved = _apart_in_cells(op, windows, *map(channels_last, (x, y, ct)))
    else:
        value, pools = x, []
        for axis in axes:
            pooled = y if axis == axes[-1] else _pooled(op, node, value, axis)
            pools.append(_AxisPool(op, windows, axis, channels_last(value), channels_last(pooled)))
            value = pooled
        moved = channels_last(ct)
        for pool in reversed(pools):
            moved = pool.pull_back(moved, shared=ties_of(node.node, FIRST) == SHARED)
    result = op.Transpose(moved, perm=[0, 1 + windows.rank, *range(1, 1 + windows.rank)])
    result.shape = x.shape
    pads = windows.pads
    layout = None if pads is None else replace(windows.layout, pads=tuple(pads), auto_pad="NOTSET")
    if not integers:  # other forms of the pool's gradient read x and y themselves
        Routed(x, y, ct, layout).note(result)
    return (result,)


def _pooled(op: OpBuilder, node: NodeView, x: ir.Value, axis: int) -> ir.Value:
    """A value pooled along one spatial axis as the node does, and not along the others."""
    attributes = attributes_of(node)
    for key in ("kernel_shape", "strides", "dilations"):
        if key in attributes:
            attributes[key] = [size if i == axis else 1 for i, size in enumerate(attributes[key])]
    if "pads" in attributes:
        rank = len(attributes["kernel_shape"])
        attributes["pads"] = [pad if i % rank == axis else 0 for i, pad in enumerate(attributes["pads"])]
    return op.node("MaxPool", [x], attributes)


def _apart(op: OpBuilder, ct: ir.Value, views: Sequence[ir.Value], pooled: ir.Value) -> list[ir.Value]:
    """What each view gets of ct, the first that equals the pooled value; at the end what is left for one view more."""
    parts, rest = [], ct
    for view in views:
        wins = op.Equal(view, pooled)
        parts.append(op.Where(wins, rest, 0.0))
        rest = op.Where(wins, 0.0, rest)
    return [*parts, rest]


def _apart_in_cells(op: OpBuilder, windows: Windows, x: ir.Value, pooled: ir.Value, ct: ir.Value) -> ir.Value:
    """The cotangent of an (N, H, W, C) value that windows divide into cells.

    Its positions are compared in row-major order, k * k - 1 of them: as many numbers in all as along one axis after
    the other, and without the pool along one axis that this would take.
    """
    counts, sizes, strides = op.shape(pooled, 1, 3), op.shape(x, 1, 3), [*windows.strides]
    span = op.Mul(op.Sub(counts, 1), strides)
    places = [*itertools.product(*map(range, strides))]
    views = [
        op.Slice(x, [*place], op.Add(span, [index + 1 for index in place]), [1, 2], strides)
        for place in places[:-1]
    ]
    parts, width = _apart(op, ct, views, pooled), strides[1]
    lines = [op.Concat(*parts[row : row + width], axis=3) for row in range(0, len(parts), width)]
    cells = op.Concat(*(op.Unsqueeze(line, [2]) for line in lines), axis=2)
    covered = op.Mul(counts, strides)
    result = op.reshape(cells, [0, covered, op.shape(x, 3)])
    rests = known(op.Sub(sizes, covered)) or []
    return op.Pad(result, [0, 0, 0, 0, 0, *rests, 0], 0.0) if any(rests) else result


def _divide(windows: Windows) -> bool:
    """Whether the windows of an image of known size lie side by side, none of them past its end."""
    layout = windows.layout
    side_by_side = layout.kernel == layout.strides and set(layout.dilations) == {1} and windows.rank == 2
    # A runtime may give an image smaller than a window an output of one element, for a window past its end.
    return side_by_side and windows.rests is not None and not any(windows.pads or [])


class _AxisPool:
    """A max pool along one axis of an (N, ..., C) value, ``pooled`` being what it gives.

    The axis is seen as cells of as many elements as the stride: what the first window holds at position i is the
    element ``(i * dilation - begin) % stride`` of cell ``(i * dilation - begin) // stride``, and each further window
    holds the same element of one cell more.
    """

    def __init__(self, op: OpBuilder, windows: Windows, spatial_axis: int, x: ir.Value, pooled: ir.Value):
        self.op, self.axis, self.pooled = op, 1 + spatial_axis, pooled
        self.rank = 2 + windows.rank
        self.stride = windows.strides[spatial_axis]
        dilation = windows.dilations[spatial_axis]
        self.positions = [i * dilation for i in range(windows.kernel[spatial_axis])]
        padding, self.count = (
            op.Slice(vector, [spatial_axis], [spatial_axis + 1], [0])
            for vector in (windows.begins, op.shape(windows.strided, 2))
        )
        begins = known(windows.begins)
        self.begin = begins[spatial_axis] if begins else 0
        # Padding known only at run time becomes part of x, so that cells begin where x does.
        self.unknown = self._count(0) if begins else padding
        self.x = self._pad(x, self.unknown, self._count(0), lowest=True)
        self.size = op.shape(self.x, self.axis, self.axis + 1)
        self.cells = op.Div(op.Add(self.size, self.stride - 1), self.stride)

    def views(self, positions: Sequence[int]) -> list[ir.Value]:
        """The elements at some positions of the windows, in the pool's shape; the lowest number for padding."""
        op = self.op
        if not positions:
            return []
        span = op.Mul(op.Sub(self.count, 1), self.stride)
        if self.size.const_value is not None and self.count.const_value is not None:
            return [self._view(position - self.begin, span) for position in positions]
        end = op.Max(op.Sub(op.Add(span, positions[-1] + 1 - self.begin), self.size), 0)
        padded = self._pad(self.x, self._count(self.begin), end, lowest=True)
        return [
            op.Slice(padded, [position], op.Add(span, position + 1), [self.axis], [self.stride])
            for position in positions
        ]

    def _view(self, first: int, span: ir.Value) -> ir.Value:
        """The elements from ``first`` on, one for each window: what is padded is no more than a view."""
        op, axis = self.op, self.axis
        if self.stride == 1:
            behind = op.Sub(op.Add(self.count, first), self.size)
            return self._pad(self.x, self._count(-first), behind, lowest=True)
        before = max(-(first // self.stride), 0)
        begin = first + before * self.stride
        view = op.Slice(self.x, [begin], op.Add(span, first + 1), [axis], [self.stride])
        behind = op.Sub(self.count, op.Add(op.shape(view, axis, axis + 1), before))
        return self._pad(view, self._count(before), behind, lowest=True)

    def pull_back(self, ct: ir.Value, shared: bool) -> ir.Value:
        """The cotangent of x: ybar at the first winner of each window, or at each of them if ``shared``."""
        op = self.op
        elements: list[list[ir.Value]] = [[] for _ in range(self.stride)]
        # The last one wins where no other did.
        views = self.views(self.positions if shared else self.positions[:-1])
        parts = [op.Where(op.Equal(view, self.pooled), ct, 0.0) for view in views] if shared else []
        parts = parts or _apart(op, ct, views, self.pooled)
        for position, part in zip(self.positions, parts, strict=True):
            cell, element = divmod(position - self.begin, self.stride)
            behind = op.Sub(self.cells, op.Add(self.count, cell))
            elements[element].append(self._pad(part, self._count(cell), behind))
        return self._join(elements)

    def _join(self, elements: list[list[ir.Value]]) -> ir.Value:
        """The sums of what each element of the cells gets, side by side and cut to x."""
        op, after = self.op, self.axis + 1
        sums = [reduce(op.Add, parts) for parts in elements if parts]
        line = sums[0]
        if self.stride > 1:
            zeros = op.Mul(line, 0.0) if len(sums) < self.stride else None
            cells = [op.Unsqueeze(sums.pop(0) if parts else zeros, [after]) for parts in elements]
            length = op.Mul(self.cells, self.stride)
            side_by_side = op.Concat(*cells, axis=after)
            line = op.reshape(side_by_side, [*[0] * self.axis, length, op.shape(self.x, after)])
        have, want = op.shape(line, self.axis, after), self.size
        if have is not want or self.unknown is not self._count(0):
            line = op.Slice(line, self.unknown, want, [self.axis])
        return line

    def _count(self, count: int) -> ir.Value:
        return self.op.constant([count], ir.DataType.INT64)

    def _pad(self, value: ir.Value, begin: ir.Value, end: ir.Value, lowest: bool = False) -> ir.Value:
        """Pads the axis with zeros or the lowest number, or crops it where the amounts are negative."""
        op = self.op
        if all(v.const_value is not None and not v.const_value.numpy().any() for v in (begin, end)):
            return value
        amounts = along(op, [self.axis], self.rank, [begin], [end])
        fill = float(np.finfo(value.dtype.numpy()).min) if lowest else 0.0  # type: ignore[union-attr]
        return op.Pad(value, amounts, fill)
