"""Cheaper forms of the pullbacks of max-pools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.rewrites.patterns import Routed, filled_with, thresholds_of
from onnxattr.autodiff.rewrites.registry import Backward, rewrite
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of
from onnxattr.graph.windows import Layout

#: Channels fill whole blocks of ONNX Runtime's layout if there are a multiple of so many of them.
_BLOCK = 16


@rewrite(
    "Where",
    why="The winners of a max-pool are as large as what it gives, of which there are fewer than it reads.",
    gains="VGG16: 1 % of the CPU time of a gradient",
)
def mask_before_pool(backward: Backward, node: ir.Node) -> ir.Value | None:
    """The pullback of y = maxpool(x), masked by x > bound -> the pullback of a cotangent masked by y > bound."""
    op, (condition, ct, other) = backward.op, node.inputs
    routed = None if ct is None else Routed.of(ct)
    found = thresholds_of(condition)
    if routed is None or ct is None or not filled_with(other, 0) or backward.only_reader(ct) is not node:
        return None
    if not found or any(threshold.value is not routed.x for threshold in found):
        return None
    reader = _reader(backward, routed.ct, ct)
    if reader is None:
        return None
    last = op.graph[-1]
    mask = found[0].build(op, routed.largest)
    for threshold in found[1:]:
        mask = op.And(mask, threshold.build(op, routed.largest))
    masked = op.Where(mask, routed.ct, 0.0)
    masked.shape = routed.ct.shape
    backward.before(reader, last)
    reader.replace_input_with(list(reader.inputs).index(routed.ct), masked)
    replace(routed, ct=masked).note(ct)
    return ct


def _reader(backward: Backward, source: ir.Value, result: ir.Value) -> ir.Node | None:
    """The node that reads ``source`` on its way to ``result``; None if there are several, or none is left."""
    found: list[ir.Node] = []
    seen, waiting = set(), [backward.producer(result)]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        found += [node for value in node.inputs if value is source]
        waiting += [backward.producer(value) for value in node.inputs if value is not source]
    return found[0] if len(found) == 1 else None


@rewrite(
    "Transpose",
    why="Convolutions of one tap cut out, compare and put back inside ONNX Runtime's blocked layout, which slices and "
    "comparisons leave.",
    gains="InceptionTime, overlapping pools: 5 to 7 % of the CPU time of a gradient; one pool alone: 9 to 29 %",
)
def pool_by_convs(backward: Backward, node: ir.Node) -> ir.Value | None:
    """The pullback of y = maxpool(x) by slices and comparisons -> by depthwise convolutions, for finite x and ct.

    Windows are pooled along one axis after the other, as the rule does. The winners are where y - x is 0; differences
    below 2^-127 count as none. Both sides of the difference are convolutions, so that a runtime that rounds what it
    multiplies rounds both.
    """
    op, routed = backward.op, Routed.of(node.outputs[0])
    if routed is None or not _fills_blocks(op, routed):
        return None
    layout, values = routed.layout, [routed.x]
    assert layout is not None
    axes = [axis for axis in (1, 0) if layout.kernel[axis] > 1 or layout.strides[axis] > 1]
    values += [_pooled(op, routed.x, layout, axis) for axis in axes[:-1]] + [routed.largest]
    ct, blocked = routed.ct, _from_conv(routed.ct)
    for index in reversed(range(len(axes))):
        pool = _ConvPool(op, layout, axes[index], *values[index : index + 2])
        ct = pool.pull_back(ct if blocked else pool.copy(ct))
        blocked = pool.stride == 1
    return ct


def _fills_blocks(op: OpBuilder, routed: Routed) -> bool:
    """Whether a pool is one of images of known size and finite numbers, whose windows leave out no element."""
    layout, dims, counts = routed.layout, dims_of(routed.x) or [], dims_of(routed.largest) or []
    if layout is None or len(dims) != 4 or routed.x.dtype != ir.DataType.FLOAT:
        return False
    known = all(isinstance(dim, int) for dim in (*dims[1:], *counts[1:]))
    if not known or dims[1] % _BLOCK:  # type: ignore[operator]
        return False
    for axis, stride in enumerate(layout.strides):
        if {position % stride for position in layout.positions(axis)} != {*range(stride)}:
            return False
    x = op.range_of(routed.x)
    return x.finite and not x.nan and op.range_of(routed.ct).finite


def _pooled(op: OpBuilder, x: ir.Value, layout: Layout, axis: int) -> ir.Value:
    """A value pooled along one spatial axis, and not along the others."""

    def along(sizes: Sequence[int], other: int) -> list[int]:
        return [size if i % layout.rank == axis else other for i, size in enumerate(sizes)]

    return op.MaxPool(
        x,
        kernel_shape=along(layout.kernel, 1),
        strides=along(layout.strides, 1),
        dilations=along(layout.dilations, 1),
        pads=along(layout.pads, 0),
        ceil_mode=int(layout.ceil_mode),
    )


def _from_conv(ct: ir.Value) -> bool:
    """Whether a cotangent comes from a convolution, or is a masked one that does."""
    node = ct.producer()
    if node is not None and node.op_type == "Where":
        node = None if node.inputs[1] is None else node.inputs[1].producer()
    return node is not None and node.op_type in ("Conv", "ConvTranspose")


@dataclass(frozen=True)
class _Line:
    """Elements ``first + i * stride`` for ``i < count`` of an axis of so many elements; zeros outside it."""

    stride: int
    first: int
    count: int
    size: int

    @property
    def window(self) -> tuple[int, int, int, int]:
        """The tap of the kernel that cuts them out, its size, and the padding before and behind the axis."""
        begin, tap = max(-self.first, 0), max(self.first, 0)
        end = (self.count - 1) * self.stride + tap + 1 - self.size - begin
        # Windows that do not reach the end: less than a stride may be left, more makes the kernel wider.
        wider = max(-end - (self.stride - 1), 0)
        return tap, tap + 1 + wider, begin, max(end, 0)


class _ConvPool:
    """A max-pool along one spatial axis of x, ``largest`` being what it gives, pulled back by convolutions.

    The axis is seen as cells of as many elements as the stride. Position p of the windows holds element ``p % stride``
    of cells that lie ``p // stride`` behind those of the windows.
    """

    def __init__(self, op: OpBuilder, layout: Layout, axis: int, x: ir.Value, largest: ir.Value):
        self.op, self.axis, self.x, self.largest = op, axis, x, largest
        self.stride, self.positions = layout.strides[axis], layout.positions(axis)
        self.channels, *self.sizes = (int(str(dim)) for dim in (dims_of(x) or [])[1:])
        self.count = int(str((dims_of(largest) or [])[2 + axis]))
        self.cells = -(-self.sizes[axis] // self.stride)

    def copy(self, value: ir.Value) -> ir.Value:
        """A value of as many elements as there are windows."""
        return self._cut(value, _Line(1, 0, self.count, self.count))

    def pull_back(self, ct: ir.Value) -> ir.Value:
        """The cotangent of x: ct at the first winner of each window."""
        op, rest = self.op, ct
        elements: list[list[ir.Value]] = [[] for _ in range(self.stride)]
        for position in self.positions[:-1]:
            cell, element = divmod(position, self.stride)
            x = self._cut(self.x, _Line(self.stride, element, self.cells, self.sizes[self.axis]), -1)
            behind = op.Add(self._behind(self.largest, cell, copied=True), x)
            # 1 where nothing is behind, 0 from 2^-126 on.
            wins = op.HardSigmoid(behind, alpha=-(2.0**127), beta=2.0)
            part = op.Mul(self._behind(rest, cell), wins)
            elements[element].append(part)
            rest = op.Add(self._cut(part, _Line(1, cell, self.count, self.cells), -1), rest)
        # The last position wins where no other did.
        cell, element = divmod(self.positions[-1], self.stride)
        elements[element].append(self._behind(rest, cell))
        return self._joined([reduce(op.Add, parts) for parts in elements])

    def _behind(self, value: ir.Value, cell: int, copied: bool = False) -> ir.Value:
        """What belongs to the windows, at the cells that lie so many behind theirs."""
        if cell == 0 and self.count == self.cells and not copied:
            return value
        return self._cut(value, _Line(1, -cell, self.cells, self.count))

    def _cut(self, value: ir.Value, line: _Line, factor: int = 1) -> ir.Value:
        """Elements of the axis, times a factor."""
        tap, size, begin, end = line.window
        kernel = np.zeros((self.channels, 1, size), np.float32)
        kernel[:, :, tap] = factor

        def along(number: int, other: int) -> list[int]:
            return [number, other] if self.axis == 0 else [other, number]

        return self.op.Conv(
            value,
            kernel.reshape(self.channels, 1, *along(size, 1)),
            group=self.channels,
            strides=along(line.stride, 1),
            pads=along(begin, 0) + along(end, 0),
        )

    def _joined(self, elements: Sequence[ir.Value]) -> ir.Value:
        """The elements of the cells side by side, cut to x."""
        op, axis, size = self.op, self.axis, self.sizes[self.axis]
        if len(elements) == 1:
            return elements[0]
        length = self.cells * self.stride
        if axis == 0:
            # Rows are moved as a whole.
            rows = op.reshape(op.Concat(*elements, axis=3), [0, self.channels, length, self.sizes[1]])
            return op.Slice(rows, [0], [size], [2]) if length > size else rows
        last = op.Concat(*(op.Transpose(element, perm=[0, 2, 3, 1]) for element in elements), axis=3)
        columns = op.reshape(last, [0, self.sizes[0], length, self.channels])
        columns = op.Slice(columns, [0], [size], [2]) if length > size else columns
        return op.Transpose(columns, perm=[0, 3, 1, 2])
