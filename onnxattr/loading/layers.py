"""The layer table that converters store in a model: which value holds which layer's output, which nodes are ReLUs."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import onnx
from google.protobuf.message import DecodeError

from onnxattr.errors import ModelError
from onnxattr.loading.meaning.entries import read_entry

_T = TypeVar("_T")

METADATA_KEY = "onnxattr.layers"
VIEWS_KEY = "onnxattr.layer_views"


@dataclass(frozen=True)
class ReluRecord:
    """One application of a ReLU-like activation: the nodes between the values ``input`` and ``output``.

    ``kind`` is "relu", "relu6", "relu_max", "relu_threshold", or that of an activation which merely contains ReLU
    nodes ("prelu", "hard_sigmoid", ...). ``xplique`` says whether Xplique would override the layer.
    """

    kind: str
    input: str
    output: str
    nodes: tuple[str, ...]
    xplique: bool


@dataclass(frozen=True)
class Layer:
    """One layer of the source model; ``outputs`` names the values that equal its outputs, empty if it was folded.

    ``can_be_kept`` says that another conversion keeps such a layer. ``calls`` counts the calls of the layer, each of
    which has an entry; ``elsewhere`` holds the paths of those that are at another path than this one.
    """

    name: str
    index: int | None
    class_name: str
    path: str
    outputs: tuple[str, ...]
    folded: str | None
    can_be_kept: bool
    relus: tuple[ReluRecord, ...]
    calls: int = 1
    elsewhere: tuple[str, ...] = ()


def append_views(model: onnx.ModelProto) -> bool:
    """Appends the nodes that make layers' outputs of other values, which the converter kept out of the graph.

    Returns:
        Whether there were any.

    Raises:
        ModelError: If the metadata entry that holds them is damaged.
    """
    views = _views(next((entry.value for entry in model.metadata_props if entry.key == VIEWS_KEY), ""))
    graph = model.graph
    present = {value.name for value in (*graph.input, *graph.initializer)}.union(
        *(n.output for n in graph.node)
    )
    constants = [tensor for tensor in views.initializer if tensor.name not in present]
    graph.initializer.extend(constants)
    present.update(tensor.name for tensor in constants)
    count = len(graph.node)
    for node in views.node:
        if present.issuperset(node.input) and present.isdisjoint(node.output):
            graph.node.append(node)
            present.update(node.output)
    return bool(constants) or len(graph.node) > count


def sources_of_views(metadata: Mapping[str, str]) -> dict[str, str]:
    """By the name of each value that the converter kept out of the graph, the one that it is another view of.

    Raises:
        ModelError: If the metadata entry that holds them is damaged.
    """
    nodes = _views(metadata.get(VIEWS_KEY, "")).node
    return {name: node.input[0] for node in nodes if node.input for name in node.output}


def _views(text: str) -> onnx.GraphProto:
    try:
        views = onnx.GraphProto()
        views.ParseFromString(base64.b64decode(text, validate=True))
        return views
    except (ValueError, DecodeError) as error:
        raise ModelError(
            f"The metadata entry {VIEWS_KEY!r} is damaged ({error!r}); convert the model again."
        ) from error


def read_layers(metadata: Mapping[str, str]) -> list[Layer]:
    """Reads the layer table of a model's metadata; an absent table is empty.

    Raises:
        ModelError: If the table is damaged.
    """
    return read_entry(metadata, METADATA_KEY, lambda found: [_layer(entry) for entry in found["layers"]], [])


def _layer(entry: Mapping[str, Any]) -> Layer:
    output, relu, index = entry["output"], entry.get("relu"), entry["index"]
    records = relu if isinstance(relu, list) else [relu] if relu else []
    return Layer(
        name=_of_kind(entry["name"], str),
        index=index if index is None else _of_kind(index, int),
        class_name=_of_kind(entry["class"], str),
        path=_of_kind(entry["path"], str),
        outputs=_texts(output if isinstance(output, list) else [output] if output else []),
        folded=entry.get("folded"),
        can_be_kept=bool(entry.get("can_be_kept")),
        relus=tuple(
            ReluRecord(
                _of_kind(r["kind"], str),
                _of_kind(r["input"], str),
                _of_kind(r["output"], str),
                _texts(r["nodes"]),
                bool(r["xplique"]),
            )
            for r in records
        ),
        calls=_of_kind(entry.get("calls", 1), int),
        elsewhere=_texts(entry.get("elsewhere", [])),
    )


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(_of_kind(value, str) for value in _of_kind(values, list))


def _of_kind(value: Any, kind: type[_T]) -> _T:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value
