"""What decides the numbers of a model's file: its nodes and weights, wherever these lie, and what rounds coarsely."""

from __future__ import annotations

import hashlib
import heapq
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import onnx

from onnxattr.graph.subgraphs import graphs_in, nodes_in
from onnxattr.loading.reading.external_data import read

#: Weights whose contents are told apart: the largest, from this many elements on.
_WEIGHTS, _ELEMENTS = 64, 16
#: Operators that compute in integers, or on weights of few bits.
_OF_INTEGERS = re.compile(r"Quantize|^QLinear|^Q[A-Z]|Integer|NBits|Bnb4|FpQ4|WithQuant")
_TYPE = onnx.TensorProto.DataType
_FLOATS = (_TYPE.Value("FLOAT"), _TYPE.Value("DOUBLE"))
_COARSE = {
    code: name for name, code in _TYPE.items() if name in ("FLOAT16", "BFLOAT16") or name.startswith("FLOAT8")
}


@dataclass(frozen=True)
class Content:
    """The content of a file.

    Attributes:
        digest: Of all nodes and weights; the same wherever external data lie.
        weights: Digests of the largest weights of floats, by name.
        coarse: What rounds coarsely, as an operator or a type, each with the first that does.
    """

    digest: str
    weights: dict[str, str]
    coarse: dict[str, str]


def content_of(proto: onnx.ModelProto, folder: Path | None) -> Content:
    """The content of a model.

    Args:
        proto: The model.
        folder: Where its external tensors are.

    Raises:
        ModelError: If external data cannot be read.
    """
    whole, graph = hashlib.sha256(), proto.graph
    digests = {tensor.name: _digest(tensor, folder) for tensor in graph.initializer}
    for tensor in sorted(graph.initializer, key=lambda one: one.name):
        whole.update(f"{tensor.name} {tensor.data_type} {list(tensor.dims)} {digests[tensor.name]}".encode())
    parts = [*graph.input, *graph.output, *graph.node, *graph.sparse_initializer, *proto.functions]
    for part in (*parts, *proto.opset_import):
        whole.update(part.SerializeToString(deterministic=True))
    large = [t for t in graph.initializer if t.data_type in _FLOATS and math.prod(t.dims) >= _ELEMENTS]
    largest = heapq.nlargest(_WEIGHTS, large, key=lambda one: math.prod(one.dims))
    weights = {tensor.name: digests[tensor.name][:8] for tensor in largest}
    return Content(whole.hexdigest()[:32], weights, _coarse(proto))


def integers_among(coarse: Iterable[str]) -> set[str]:
    """Those that are operators which compute in integers or on weights of few bits, and not types."""
    return {kind for kind in coarse if _OF_INTEGERS.search(kind)}


def _digest(tensor: onnx.TensorProto, folder: Path | None) -> str:
    """The digest of a tensor's elements, however they are held."""
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        copy = onnx.TensorProto()
        copy.CopyFrom(tensor)
        read(copy, folder)
        tensor = copy
    if tensor.HasField("raw_data") or tensor.data_type == onnx.TensorProto.STRING:
        raw = tensor.raw_data or tensor.SerializeToString(deterministic=True)
    else:
        raw = onnx.numpy_helper.to_array(tensor).tobytes()
    return hashlib.sha256(raw).hexdigest()


def _coarse(proto: onnx.ModelProto) -> dict[str, str]:
    """Operators and types that round coarsely, each with the first node or weight that has it."""
    found: dict[str, str] = {}
    for node in nodes_in(proto.graph):
        label = f"node {(node.name or next(iter(node.output), ''))!r}"
        if _OF_INTEGERS.search(node.op_type):
            found.setdefault(node.op_type, label)
        if node.op_type == "Cast":
            for attribute in node.attribute:
                if attribute.name == "to" and attribute.i in _COARSE:
                    found.setdefault(_COARSE[attribute.i], label)
    for graph in graphs_in(proto.graph):
        for tensor in graph.initializer:
            if tensor.data_type in _COARSE:
                found.setdefault(_COARSE[tensor.data_type], f"weight {tensor.name!r}")
    return found
