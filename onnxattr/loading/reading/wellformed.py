"""Checks of a model's file that come before any library looks into it: its depth, its names, its tensors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import onnx

from onnxattr.errors import ModelError
from onnxattr.graph.subgraphs import held_by
from onnxattr.loading.reading.external_data import byte_count

_TYPES = frozenset(onnx.TensorProto.DataType.values()) - {onnx.TensorProto.UNDEFINED}
#: The fields that hold one number for each element, by type.
_LISTS: dict[int, str] = {
    onnx.TensorProto.FLOAT: "float_data",
    onnx.TensorProto.DOUBLE: "double_data",
    onnx.TensorProto.INT64: "int64_data",
    onnx.TensorProto.INT32: "int32_data",
    onnx.TensorProto.BOOL: "int32_data",
}
#: Messages from so many bytes on are not copied.
_LARGE = 2**20
#: ONNX's own functions take smaller numbers of opsets alone.
_VERSIONS = 2**31
#: Graphs inside graphs, so many deep; a file of protobuf cannot hold many more.
_DEEPEST = 32


def check_wellformed(proto: onnx.ModelProto) -> None:
    """Checks depth, names and tensors.

    Raises:
        ModelError: If graphs are nested too deeply, a name is not UTF-8, a type is unknown, or a tensor has other bytes
            than its shape takes.
    """
    _check_texts("of the model", (entry.key for entry in proto.metadata_props))
    _check_texts("of the model's metadata", (entry.value for entry in proto.metadata_props))
    _check_texts("of an opset", (entry.domain for entry in proto.opset_import))
    _check_versions(proto)
    _check_inputs(proto.graph)
    level: list[Any] = [proto.graph, *proto.functions]
    for _ in range(_DEEPEST):
        for graph in level:
            _check_texts(f"of {graph.name!r}", _names(graph))
            for tensor in _tensors(graph):
                _check_tensor(tensor)
            if isinstance(graph, onnx.GraphProto):
                _check_types(graph)
        level = [body for graph in level for node in graph.node for body in held_by(node)]
        if not level:
            return
    raise ModelError(
        f"The model has subgraphs nested more than {_DEEPEST} deep, which cannot be followed. Export it with fewer "
        "branches and loops inside each other."
    )


def _check_versions(proto: onnx.ModelProto) -> None:
    for part in (proto, *proto.functions):
        for entry in part.opset_import:
            if abs(entry.version) >= _VERSIONS:
                raise ModelError(
                    f"The file names opset {entry.version} of the domain {entry.domain!r}; opsets are numbers of 32 "
                    "bits. It is damaged: export it again."
                )


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
        yield from (sparse.values.name for sparse in graph.sparse_initializer)
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)


def _tensors(graph: Any) -> Iterator[onnx.TensorProto]:
    """The tensors in a graph or function, those inside its subgraphs not included."""
    if isinstance(graph, onnx.GraphProto):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("sparse_tensor"):
                yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
            yield from attribute.tensors


def _check_tensor(tensor: onnx.TensorProto) -> None:
    known = tensor.data_type in _TYPES
    if not known or tensor.HasField("segment"):
        raise ModelError(
            f"The tensor {tensor.name!r} is "
            + ("a segment of a larger one" if known else f"of the unknown type {tensor.data_type}")
            + "; expected a whole tensor of a type that ONNX has. Export the model again."
        )
    if tensor.HasField("raw_data") and tensor.data_location != onnx.TensorProto.EXTERNAL:
        needs, whole = byte_count(tensor), tensor.ByteSize()
        # Reading the bytes copies them: of large tensors only the size of the message is looked at.
        fits = needs <= whole < needs + 1024 + 8 * len(tensor.name) + 8 * len(tensor.doc_string)
        has = whole if whole > _LARGE else len(tensor.raw_data)
        if has != needs and not (whole > _LARGE and fits):
            raise ModelError(
                f"The tensor {tensor.name!r} has {has} bytes; its shape {list(tensor.dims)} takes {needs}. The file is "
                "damaged: export the model again."
            )

    elif tensor.data_location != onnx.TensorProto.EXTERNAL and tensor.data_type in _LISTS:
        has, needs = len(getattr(tensor, _LISTS[tensor.data_type])), math.prod(tensor.dims)
        if has != needs:
            raise ModelError(
                f"The tensor {tensor.name!r} has {has} elements; its shape {list(tensor.dims)} takes {needs}. The file "
                "is damaged: export the model again."
            )


def _check_inputs(graph: onnx.GraphProto) -> None:
    held = {tensor.name for tensor in graph.initializer}
    for value in graph.input:
        if (
            value.type.HasField("tensor_type")
            and not value.type.tensor_type.elem_type
            and value.name not in held
        ):
            raise ModelError(
                f"Input {value.name!r} is declared as a tensor of no type; expected one such as float. Export the "
                "model again."
            )


def _check_types(graph: onnx.GraphProto) -> None:
    for value in (*graph.input, *graph.output, *graph.value_info):
        kind = value.type.tensor_type.elem_type
        if kind and kind not in _TYPES:
            raise ModelError(
                f"{value.name!r} is declared with the unknown type {kind}. The file is damaged: export the model again."
            )


def _check_texts(where: str, texts: Iterable[Any]) -> None:
    for text in texts:
        # Protobuf gives text that is no UTF-8 as bytes.
        if not isinstance(text, str):
            raise ModelError(
                f"A name {where} is {text[:40]!r}, which is not UTF-8: the file is damaged. Export the model again."
            )
