"""Makes a model with a fixed batch dynamic, where that is provably the same computation row by row."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxattr.errors import ModelError
from onnxattr.graph.values import dims_of, shape_text
from onnxattr.loading.rows.independence import apart
from onnxattr.loading.rows.sets import MOST_ROWS, Shape
from onnxattr.loading.rows.walk import Walk

#: The symbol of the rows.
_ROWS = "N"


def free_batch(graph: ir.Graph, opset: int) -> bool:
    """Gives the inputs of a graph a dynamic first axis if all have the same fixed one and the proof succeeds.

    The graph is walked as if it took other numbers of rows, with targets of Reshapes that leave the batch to be
    inferred where they wrote it down.

    Args:
        graph: Changed in place: dimensions of values, and the targets of Reshapes.
        opset: Its ai.onnx opset.

    Returns:
        Whether the graph was changed.
    """
    sizes = {dims[0] for value in graph.inputs if (dims := dims_of(value))}
    if len(sizes) != 1 or not isinstance(batch := next(iter(sizes)), int):
        return False
    fewer = Walk(graph, opset, MOST_ROWS - 1, 1, fixed=batch)
    fewer.run()
    walk = Walk(graph, opset, MOST_ROWS, 1, before=fewer, fixed=batch)
    walk.run()
    same = fewer.freed.keys() == walk.freed.keys()
    if not (apart(fewer, graph.outputs) and apart(walk, graph.outputs) and same):
        return False
    if any(not np.array_equal(target, fewer.freed[node]) for node, target in walk.freed.items()):
        return False
    for node, target in walk.freed.items():
        _set_target(graph, node, target)
    for value, seen in walk.seen.items():
        before = fewer.seen.get(value)
        if value.const_value is None and before is not None:
            _free_dims(value, before.shape, seen.shape)
    return True


def batch_size_of(value: ir.Value) -> int | None:
    """The fixed number of rows a value has, or None if it is dynamic.

    Raises:
        ModelError: If the value has no batch axis at all.
    """
    dims = dims_of(value)
    if not dims:
        raise ModelError(
            f"{value.name!r} of shape {shape_text(dims)} has no batch axis; expected samples along the first axis."
        )
    return dims[0] if isinstance(dims[0], int) else None


def _free_dims(value: ir.Value, fewer: Shape | None, more: Shape | None) -> None:
    """Lets the axes of a value be dynamic that grow with the rows."""
    dims = dims_of(value)
    if dims is None or fewer is None or more is None or not len(dims) == len(fewer) == len(more):
        return
    pairs = zip(dims, fewer, more, strict=True)
    value.shape = ir.Shape([dim if a == b else _ROWS if b == MOST_ROWS else None for dim, a, b in pairs])


def _set_target(graph: ir.Graph, node: ir.Node, target: np.ndarray) -> None:
    name = f"{node.outputs[0].name}_shape_without_batch"
    while name in graph.initializers:
        name += "_"
    value = ir.Value(
        name=name,
        type=ir.TensorType(ir.DataType.INT64),
        shape=ir.Shape([target.size]),
        const_value=ir.tensor(target),
    )
    graph.register_initializer(value)
    node.replace_input_with(1, value)
