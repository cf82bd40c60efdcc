"""Explained values whose batch is not their first axis, such as (T, N, C) inside a transformer: seen with it first."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of
from onnxattr.loading.rows.independence import EXTENTS
from onnxattr.loading.rows.sets import MOST_ROWS
from onnxattr.loading.rows.walk import Walk


def put_batch_first(graph: ir.Graph, opset: int, values: Sequence[ir.Value]) -> None:
    """Gives the names of such values to themselves with the batch first, and lets all readers read that; in place."""
    op, axes = None, _axes_of_rows(graph, opset, values)
    for value in values:
        axis, dims = axes.get(value, 0), dims_of(value) or []
        if axis == 0 or value.producer() is None:
            continue
        op = op or OpBuilder(graph, opset, prefix="batch_first")
        readers = list(value.uses())
        first = op.Transpose(value, perm=[axis, *(other for other in range(len(dims)) if other != axis)])
        back = op.Transpose(first, perm=[*range(1, axis + 1), 0, *range(axis + 1, len(dims))])
        back.type, back.shape = value.type, value.shape
        for reader in readers:
            reader.node.replace_input_with(reader.idx, back)
        name, value.name = value.name, op.unique_name(f"{value.name}/{axis}")
        first.name, first.type = name, value.type
    if op is not None:
        graph.sort()


def _axes_of_rows(graph: ir.Graph, opset: int, values: Sequence[ir.Value]) -> dict[ir.Value, int]:
    """The axis of the batch of each value, as far as it is known: by its name, or by sizes for two numbers of rows."""
    batch = {dims[0] for value in graph.inputs if (dims := dims_of(value)) and isinstance(dims[0], str)}
    axes, open_ones = {}, []
    for value in values:
        places = [axis for axis, dim in enumerate(dims_of(value) or []) if dim in batch]
        if len(places) == 1:
            axes[value] = places[0]
        elif value.producer() is not None and not places:
            open_ones.append(value)
    firsts = [dims[0] for value in graph.inputs if (dims := dims_of(value))]
    if open_ones and not any(isinstance(first, int) for first in firsts):
        axes |= _by_sizes(graph, opset, open_ones)
    return axes


def _by_sizes(graph: ir.Graph, opset: int, values: Sequence[ir.Value]) -> dict[ir.Value, int]:
    """The one axis of each value that has as many elements as there are rows, whatever their number."""
    for extent in EXTENTS:
        fewer = Walk(graph, opset, MOST_ROWS - 1, extent)
        fewer.run()
        walk = Walk(graph, opset, MOST_ROWS, extent, before=fewer)
        walk.run()
        shapes = {v: (fewer.seen[v].shape, walk.seen[v].shape) for v in values if v in walk.seen}
        if all(few is not None and many is not None for few, many in shapes.values()):
            break
    found = {}
    for value, (few, many) in shapes.items():
        if few is None or many is None or not len(few) == len(many) == len(dims_of(value) or []):
            continue
        changed = [axis for axis, (a, b) in enumerate(zip(few, many, strict=True)) if a != b]
        if len(changed) == 1 and (few[changed[0]], many[changed[0]]) == (fewer.batch, walk.batch):
            found[value] = changed[0]
    return found
