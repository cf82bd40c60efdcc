"""Pads for every axis of a value.

ONNX Runtime moves a Transpose over a Pad with its ``axes`` input as if it had none, and then fails or pads other axes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder


def along(
    op: OpBuilder, axes: Sequence[int], rank: int, begins: Sequence[ir.Value], ends: Sequence[ir.Value]
) -> ir.Value:
    """The pads of all axes from those of some, given as vectors of one element each; the others get 0."""
    before, after = (dict(zip(axes, side, strict=True)) for side in (begins, ends))
    return op.sizes([side.get(axis, 0) for side in (before, after) for axis in range(rank)])


def along_computed(op: OpBuilder, axes: ir.Value, rank: int | ir.Value, pads: ir.Value) -> ir.Value:
    """The pads of all axes from those of axes that may be known only at run time.

    Args:
        op: The builder.
        axes: The padded axes, an integer vector; they may count from the end.
        rank: The number of all axes; an int64 vector of one element where a run decides it.
        pads: What is put before each of ``axes``, then what is put behind each.
    """
    known = None if axes.const_value is None else axes.const_value.numpy()
    if known is not None and isinstance(rank, int):
        # By a gather instead of a scatter, which shape inference sees through.
        places = np.full(2 * rank, 2 * len(known))
        for index, axis in enumerate(known % rank):
            places[[axis, axis + rank]] = index, index + len(known)
        return op.Gather(op.sizes([pads, 0]), places)
    size = op.constant([rank], ir.DataType.INT64) if isinstance(rank, int) else rank
    begins = op.Mod(op.cast(axes, ir.DataType.INT64), size)
    none = op.Expand(op.constant([0], ir.DataType.INT64), op.Mul(size, 2))
    return op.ScatterElements(none, op.sizes([begins, op.Add(begins, size)]), pads, axis=0)
