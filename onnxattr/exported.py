"""An exported explainer: made small, described by its metadata."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import onnx

from onnxattr.autodiff import FLOATS

_OURS = "onnxattr/"
_FLOATS = frozenset(dtype.value for dtype in FLOATS)
#: From this rank on a known shape decides which layout, and so which kernel, a runtime takes.
_LAYOUT_RANK = 3


def compact(proto: onnx.ModelProto) -> None:
    """Gives what a rewrite added to a model the shortest names, and drops the shapes that make no difference.

    The model's own nodes and values keep their names.
    """
    graphs = list(_graphs(proto.graph))
    kept = {value.name for value in [*proto.graph.input, *proto.graph.output]}
    taken = kept | {name for graph in graphs for node in graph.node for name in [*node.input, *node.output]}
    fresh = (name for name in map(_short, itertools.count()) if name not in taken)
    names: dict[str, str] = {}

    def short(name: str) -> str:
        if not name.startswith(_OURS) or name in kept:
            return name
        if name not in names:
            names[name] = next(fresh)
        return names[name]

    for graph in graphs:
        for node in graph.node:
            node.input[:] = [short(name) for name in node.input]
            node.output[:] = [short(name) for name in node.output]
            if node.name.startswith(_OURS):
                node.ClearField("name")
        for tensor in [*graph.initializer, *graph.input, *graph.output]:
            tensor.name = short(tensor.name)
        described = [v for v in graph.value_info if not v.name.startswith(_OURS) or _decides_layout(v)]
        del graph.value_info[:]
        graph.value_info.extend(described)
        for value in graph.value_info:
            value.name = short(value.name)
        graph.name = short(graph.name)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and the graphs inside it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _graphs(attribute.g)


def _decides_layout(value: onnx.ValueInfoProto) -> bool:
    tensor = value.type.tensor_type
    return tensor.elem_type in _FLOATS and len(tensor.shape.dim) >= _LAYOUT_RANK


def _short(number: int) -> str:
    """A name of letters for a number: a, b, ..., z, ba, bb, ..."""
    letters = ""
    while number or not letters:
        number, digit = divmod(number, 26)
        letters = chr(ord("a") + digit) + letters
    return letters
