"""Checks of a model's file that come before any library looks into it: how deep it is, and that its names are text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import onnx

from onnxattr.errors import ModelError

#: Graphs inside graphs, so many deep; a file of protobuf cannot hold many more.
_DEEPEST = 32


def check_wellformed(proto: onnx.ModelProto) -> None:
    """Checks depth and names.

    Raises:
        ModelError: If graphs are nested too deeply, or a name is not UTF-8.
    """
    _check_texts("of the model", (entry.key for entry in proto.metadata_props))
    _check_texts("of the model's metadata", (entry.value for entry in proto.metadata_props))
    _check_texts("of an opset", (entry.domain for entry in proto.opset_import))
    level: list[Any] = [proto.graph, *proto.functions]
    for _ in range(_DEEPEST):
        for graph in level:
            _check_texts(f"of {graph.name!r}", _names(graph))
        level = [body for graph in level for node in graph.node for body in _bodies(node)]
        if not level:
            return
    raise ModelError(
        f"The model has subgraphs nested more than {_DEEPEST} deep, which cannot be followed. Export it with fewer "
        "branches and loops inside each other."
    )


def _bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _names(graph: Any) -> Iterator[Any]:
    """The names in a graph or function, those inside its subgraphs not included."""
    yield graph.name
    if isinstance(graph, onnx.FunctionProto):
        yield from (graph.domain, *graph.input, *graph.output, *graph.attribute)
    else:
        for value in (*graph.input, *graph.output, *graph.value_info):
            yield value.name
            yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
        yield from (tensor.name for tensor in graph.initializer)
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)


def _check_texts(where: str, texts: Iterable[Any]) -> None:
    for text in texts:
        # Protobuf gives text that is no UTF-8 as bytes.
        if not isinstance(text, str):
            raise ModelError(
                f"A name {where} is {text[:40]!r}, which is not UTF-8: the file is damaged. Export the model again."
            )
