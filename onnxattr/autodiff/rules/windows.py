"""How the windows of convolutions and pools lie: kernel, strides, dilations, pads, and what follows from them.

Loading states pads as numbers wherever they can be known (``passes/stated_pads.py``); what is left depends on sizes
that a run decides. As padding of its own before the node it would cost time in the forward pass, and change what an
average counts and where MaxPool finds its maxima.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from onnxattr.autodiff.node import NodeView
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of
from onnxattr.graph.windows import Layout, layout_of


@dataclass(frozen=True)
class Windows:
    """How windows of a kernel lie over the spatial axes of a value.

    Attributes:
        layout: Kernel, strides and dilations.
        begins: The padding before each axis, an int64 vector; a constant unless a run decides it.
        ends: The same behind each axis.
        padded: What the windows lie over.
        strided: What has an element for each window.
    """

    layout: Layout
    begins: ir.Value
    ends: ir.Value
    padded: ir.Value
    strided: ir.Value

    @property
    def kernel(self) -> tuple[int, ...]:
        """The size of a window along each axis."""
        return self.layout.kernel

    @property
    def strides(self) -> tuple[int, ...]:
        """The distance from one window to the next."""
        return self.layout.strides

    @property
    def dilations(self) -> tuple[int, ...]:
        """The distance from one position of a window to the next."""
        return self.layout.dilations

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return self.layout.rank

    @property
    def extents(self) -> list[int]:
        """Span of one window, dilation included."""
        return self.layout.extents

    @property
    def pads(self) -> list[int] | None:
        """The padding before each axis, then behind each; None where a run decides it."""
        begins, ends = known(self.begins), known(self.ends)
        return None if begins is None or ends is None else begins + ends

    @property
    def rests(self) -> list[int] | None:
        """How many elements behind the last window of each axis none reads; None where that is not known to be some."""
        pads = self.pads
        sizes, counts = (
            (dims_of(side) or [None] * (self.rank + 2))[2:] for side in (self.padded, self.strided)
        )
        rests = [0] * self.rank
        for axis, stride in enumerate(self.strides):
            size, count = sizes[axis], counts[axis]
            if pads is None or (stride > 1 and not (isinstance(size, int) and isinstance(count, int))):
                return None
            if isinstance(size, int) and isinstance(count, int):
                rests[axis] = pads[axis] + pads[axis + self.rank] - self.layout.padding(axis, size, count)
        return rests if all(0 <= r < s for r, s in zip(rests, self.strides, strict=True)) else None

    def spans(self, op: OpBuilder) -> ir.Value:
        """The length that all windows cover along each axis: (count - 1) * stride + extent."""
        return _spans(op, self.strided, self.strides, self.extents)

    def spread(self, op: OpBuilder, ct: ir.Value, w: ir.Value, group: int = 1) -> ir.Value:
        """Adds each element of ct, times the kernel w, to what its window covers: the pullback of a convolution."""
        strides, dilations = [*self.strides], [*self.dilations]
        pads, rests = self.pads, self.rests
        if pads is not None and rests is not None and min(pads) >= 0:
            return op.ConvTranspose(
                ct, w, group=group, strides=strides, dilations=dilations, pads=pads, output_padding=rests
            )
        full = op.ConvTranspose(ct, w, group=group, strides=strides, dilations=dilations)
        # From the padding on, with zeros where no window reaches the end.
        length = op.Sub(op.Shape(full, start=2), self.begins)
        return pad_spatial(op, full, op.Neg(self.begins), op.Sub(op.shape(self.padded, 2), length))


def windows_of(
    op: OpBuilder,
    node: NodeView,
    kernel: Sequence[int],
    padded: ir.Value,
    strided: ir.Value,
    rests: Sequence[int] = (),
) -> Windows:
    """The windows of a convolution, a transposed one or a pool.

    Args:
        op: The builder.
        node: The node.
        kernel: The size of its windows.
        padded: What the windows lie over: the node's input, or the output of a transposed convolution.
        strided: What has an element for each window: the other one.
        rests: For each axis, how many elements there are behind the last window at least.
    """
    layout = layout_of(node.attributes, kernel)
    begins, ends = (op.constant(part, ir.DataType.INT64) for part in (layout.begins, layout.ends))
    if layout.auto_pad.startswith("SAME") or node.get_ints("output_shape"):
        reach = [e + r for e, r in zip(layout.extents, rests or [0] * layout.rank, strict=True)]
        total = op.Sub(_spans(op, strided, layout.strides, reach), op.shape(padded, 2))
        begins, ends = _halved(op, layout, total)
    return Windows(layout, begins, ends, padded, strided)


def _halved(op: OpBuilder, layout: Layout, total: ir.Value) -> tuple[ir.Value, ir.Value]:
    """The padding before and behind each axis, of so much in all or none."""
    total = op.Max(total, 0)
    small = op.Div(total, 2)
    return layout.halves(small, op.Sub(total, small))


def pool_windows(op: OpBuilder, node: NodeView) -> Windows:
    """The windows of a pool."""
    (x,) = node.required(1)
    windows = windows_of(op, node, node.get_ints("kernel_shape"), x, node.outputs[0])
    layout = windows.layout
    if not layout.auto_pad.startswith("SAME") or set(layout.dilations) == {1}:
        return windows
    # ONNX Runtime pads as if the windows were not dilated, so many that there is one for each stride.
    size, strides = op.shape(x, 2), [*layout.strides]
    before_last = op.Mul(op.Div(op.Sub(size, 1), strides), strides)
    begins, ends = _halved(op, layout, op.Sub(op.Add(before_last, [*layout.kernel]), size))
    return replace(windows, begins=begins, ends=ends)


def known(numbers: ir.Value) -> list[int] | None:
    """The numbers of an integer vector; None where a run decides them."""
    return None if numbers.const_value is None else [int(n) for n in numbers.const_value.numpy()]


def pad_spatial(op: OpBuilder, x: ir.Value, begins: ir.Value, ends: ir.Value) -> ir.Value:
    """Pads (or, where negative, crops) the spatial axes with zeros."""
    zeros = op.constant([0, 0], ir.DataType.INT64)
    return op.Pad(x, op.Concat(zeros, begins, zeros, ends, axis=0))


def _spans(op: OpBuilder, strided: ir.Value, strides: Sequence[int], reach: Sequence[int]) -> ir.Value:
    return op.Add(op.Mul(op.Sub(op.shape(strided, 2), 1), [*strides]), [*reach])
