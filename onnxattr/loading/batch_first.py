"""Explained values whose batch is not their first axis, such as (T, N, C) inside a transformer: seen with it first."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from onnxattr.builder import OpBuilder
from onnxattr.values import dims_of


def put_batch_first(graph: ir.Graph, opset: int, values: Iterable[ir.Value]) -> None:
    """Gives the names of such values to themselves with the batch first, and lets all readers read that; in place."""
    batch = {dims[0] for value in graph.inputs if (dims := dims_of(value)) and isinstance(dims[0], str)}
    op = None
    for value in values:
        dims = dims_of(value) or []
        places = [axis for axis, dim in enumerate(dims) if dim in batch]
        if len(places) != 1 or places[0] == 0 or value.producer() is None:
            continue
        op = op or OpBuilder(graph, opset, prefix="batch_first")
        (axis,), readers = places, list(value.uses())
        first = op.Transpose(value, perm=[axis, *(other for other in range(len(dims)) if other != axis)])
        back = op.Transpose(first, perm=[*range(1, axis + 1), 0, *range(axis + 1, len(dims))])
        back.type, back.shape = value.type, value.shape
        for reader in readers:
            reader.node.replace_input_with(reader.idx, back)
        name, value.name = value.name, op.unique_name(f"{value.name}/{axis}")
        first.name, first.type = name, value.type
    if op is not None:
        graph.sort()
