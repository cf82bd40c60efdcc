"""The rank of a value, or an error that names the node from which on it is unknown."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from onnxattr.errors import UnsupportedOpError
from onnxattr.graph.values import dims_of, shape_text


def rank_of(value: ir.Value, node: Any) -> int:
    """The rank of a value, which the rule of ``node`` needs to know.

    Raises:
        UnsupportedOpError: If shape inference could not tell it.
    """
    dims = dims_of(value)
    if dims is None:
        raise UnsupportedOpError(
            f"{node.op_type} node {node.name!r}: the rank of {value.name!r} is unknown{_since(value)}"
        )
    return len(dims)


def _since(value: ir.Value) -> str:
    """From which node on a rank is unknown, and the way out."""
    node = value.producer()
    while node is not None:
        open_ranks = [source for source in node.inputs if source is not None and dims_of(source) is None]
        if not open_ranks or open_ranks[0].producer() is None:
            break
        node = open_ranks[0].producer()
    if node is None:
        return ". Give the model's inputs their ranks."
    since = f" from {node.op_type} node {node.name!r} on"
    dims = dims_of(node.inputs[0]) if node.inputs and node.inputs[0] is not None else None
    if node.op_type == "Squeeze" and dims is not None:
        names = [str(dim) for dim in dims if isinstance(dim, str)]
        name = names[0] if names else "<name>"
        return (
            f"{since}, which has no axes: it takes away every axis of {shape_text(dims)} that has size 1 in a run. "
            f"Give it axes, or fix the size: python -m onnxruntime.tools.make_dynamic_shape_fixed --dim_param {name} "
            "--dim_value 1 model.onnx fixed.onnx."
        )
    return (
        f"{since}. Give the model's inputs their ranks, or run onnx.shape_inference on a model whose custom operators "
        "are removed."
    )
