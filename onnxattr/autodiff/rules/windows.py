"""The window arithmetic that convolutions and pools share: kernel, strides, dilations, pads, positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of


@dataclass(frozen=True)
class Windows:
    """How windows of a kernel lie over the spatial axes of an input.

    Window ``o`` covers the positions ``o * stride - begin + i * dilation`` for ``i < kernel`` along each axis.
    ``begins`` and ``sizes`` hold integers, or None where they depend on a dimension known only at run time.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[int | None, ...]
    ends: tuple[int | None, ...]
    sizes: tuple[int | None, ...]
    outputs: tuple[int | None, ...]
    upper: bool

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.kernel)

    @property
    def extents(self) -> tuple[int, ...]:
        """Span of one window, dilation included."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    @property
    def pads(self) -> list[int] | None:
        """The padding before each axis, then behind each; None where it depends on dimensions of a run."""
        pads = [pad for pad in self.begins + self.ends if pad is not None]
        return pads if len(pads) == 2 * self.rank else None

    @property
    def rests(self) -> list[int] | None:
        """How many elements behind the last window of each axis none reads; None where that is decided in a run."""
        if self.pads is None:
            return None
        rests = []
        for axis, stride in enumerate(self.strides):
            size, begin, end = self.sizes[axis], self.begins[axis], self.ends[axis]
            if size is None and stride > 1:
                return None
            rests.append(((size or 0) + (begin or 0) + (end or 0) - self.extents[axis]) % stride)
        return rests

    def begin_values(self, op: OpBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
        """The padding before each axis as an int64 vector, computed in the graph where a dimension is dynamic."""
        if None not in self.begins:
            return op.constant([*self.begins], ir.DataType.INT64)
        total = op.Max(op.Sub(self.spans(op, y), op.shape(x, 2)), 0)
        return op.Div(total if self.upper else op.Add(total, 1), 2)

    def spans(self, op: OpBuilder, y: ir.Value) -> ir.Value:
        """The length that all windows cover along each axis: (outputs - 1) * stride + extent."""
        steps = op.Mul(op.Sub(op.shape(y, 2), 1), [*self.strides])
        return op.Add(steps, [*self.extents])


def pad_spatial(op: OpBuilder, x: ir.Value, begins: ir.Value, ends: ir.Value) -> ir.Value:
    """Pads (or, where negative, crops) the spatial axes with zeros."""
    zeros = op.constant([0, 0], ir.DataType.INT64)
    return op.Pad(x, op.Concat(zeros, begins, zeros, ends, axis=0))


def windows_of(node: Any, kernel: tuple[int, ...], x: ir.Value, y: ir.Value) -> Windows:
    """Reads the window geometry of a Conv or pool node whose padded, strided side is ``x`` and other side ``y``."""
    rank = len(kernel)
    attributes = node.attributes
    strides = tuple(attributes.get_ints("strides", [1] * rank))
    dilations = tuple(attributes.get_ints("dilations", [1] * rank))
    sizes, outputs = (_spatial(value, rank) for value in (x, y))
    auto_pad = attributes.get_string("auto_pad", "NOTSET")
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    begins: list[int | None] = [0] * rank
    ends: list[int | None] = [0] * rank
    if auto_pad == "NOTSET":
        pads = attributes.get_ints("pads", [0] * (2 * rank))
        begins, ends = list(pads[:rank]), list(pads[rank:])
    elif auto_pad.startswith("SAME"):
        for axis in range(rank):
            begins[axis], ends[axis] = _same_pads(
                sizes[axis], strides[axis], extents[axis], auto_pad == "SAME_UPPER"
            )
    return Windows(
        kernel, strides, dilations, tuple(begins), tuple(ends), sizes, outputs, auto_pad != "SAME_LOWER"
    )


def pool_windows(node: Any) -> Windows:
    """The window geometry of a pooling node."""
    kernel = tuple(node.attributes.get_ints("kernel_shape"))
    return windows_of(node, kernel, node.inputs[0], node.outputs[0])


def _spatial(value: ir.Value, rank: int) -> tuple[int | None, ...]:
    dims = dims_of(value) or [None] * (rank + 2)
    return tuple(dim if isinstance(dim, int) else None for dim in dims[2:])


def _same_pads(size: int | None, stride: int, extent: int, upper: bool) -> tuple[int | None, int | None]:
    if size is None:
        if stride > 1:
            return None, None
        total = extent - 1
    else:
        total = max((-(-size // stride) - 1) * stride + extent - size, 0)
    small, large = total // 2, total - total // 2
    return (small, large) if upper else (large, small)
