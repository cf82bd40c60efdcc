"""Attributions summed over groups of features: segments of an image, patches, tokens, columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.halves import in_float
from onnxattr.graph.values import dims_of

#: Name of the node that fails where a mask does not have the size that a sample turns out to have.
FIT = "onnxattr/feature_mask"
#: The input of a graph that says the groups of each sample.
MASK = "feature_mask"


@dataclass(frozen=True, eq=False)
class Groups:
    """Which group each feature of a sample is in.

    Attributes:
        ids: The groups, int64, with one axis for each of a sample's; a size of 1 where all along it are in one group.
            With ``per_sample`` a first axis with a row for each sample.
        count: How many groups there are.
        reduced: Whether what is summed is the map behind the reducer.
        per_sample: Whether each sample has groups of its own, which the graph takes as an input.
    """

    ids: np.ndarray
    count: int
    reduced: bool = False
    per_sample: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The mask's shape for one sample."""
        return self.ids.shape[1:] if self.per_sample else self.ids.shape


def summed(op: OpBuilder, full: ir.Value, groups: Groups, rows_of_mask: ir.Value | None) -> ir.Value:
    """The sums of a map (N, ...) over each group, (N, groups), in float32 where the map has half precision.

    Args:
        op: Builder on the graph.
        full: The map.
        groups: The groups.
        rows_of_mask: Those of each sample, where they have their own.
    """
    full = in_float(op, full)
    sizes = zip(groups.shape, (dims_of(full) or [])[1:], strict=True)
    axes = [axis for axis, (size, dim) in enumerate(sizes, start=1) if size == 1 and dim != 1]
    full = op.ReduceSum(full, axes, keepdims=1) if axes else full
    rows, dims = op.shape(full, 0, 1), (dims_of(full) or [])[1:]
    zeros = op.Expand(op.constant([[0]], full.dtype), op.Concat(rows, [groups.count], axis=0))
    if rows_of_mask is not None:
        places = op.Flatten(_named(op, op.Expand(rows_of_mask, op.Shape(full))), axis=1)
    elif all(isinstance(dim, int) for dim in dims):
        places = op.Expand(op.constant(groups.ids.reshape(1, -1)), op.Concat(rows, [1], axis=0))
    else:
        places = op.Flatten(_named(op, op.Expand(op.constant(groups.ids[None]), op.Shape(full))), axis=1)
    return _named(op, op.ScatterElements(zeros, places, op.Flatten(full, axis=1), axis=1, reduction="add"))


def _named(op: OpBuilder, value: ir.Value) -> ir.Value:
    if (node := value.producer()) is not None:
        node.name = op.unique_name(FIT, exact=True)
    return value
