"""Layers' outputs that the graph computes in another layout, put on the way to the score so that they can be explained.

A channels-last convolution of Keras becomes a Conv node on channels-first values; the layer's output is a Transpose of
it that few nodes read, or none. Whoever replaces the layer's output replaces what all of them read.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import onnx_ir as ir

from onnxattr.autodiff.paths import needed_nodes
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import LAYOUTS, dims_of, named_values
from onnxattr.loading.layers import Layer
from onnxattr.loading.places import Place


def put_on_path(
    graph: ir.Graph, opset: int, place: Place, layers: Sequence[Layer], reached: Collection[ir.Value]
) -> bool:
    """Lets all that reads a value's content in another layout read it from the value itself; in place.

    Args:
        graph: The model.
        opset: Its ai.onnx opset.
        place: The value.
        layers: The layer table.
        reached: The values that reach the score.

    Returns:
        Whether the value reaches the score then.
    """
    chain = _chain(place, graph, layers, reached)
    before = set(needed_nodes([place.value]))
    for length in range(len(chain), 0, -1):
        source = chain[length - 1].inputs[0]
        assert source is not None
        if any(use.node not in before and _reaches(use.node, reached) for use in source.uses()):
            _read_from(graph, opset, place.value, chain[:length], before)
            return True
    return place.value in reached


def _reaches(node: ir.Node, reached: Collection[ir.Value]) -> bool:
    return any(value in reached for value in node.outputs)


def _chain(
    place: Place, graph: ir.Graph, layers: Sequence[Layer], reached: Collection[ir.Value]
) -> list[ir.Node]:
    """The nodes that lay out a value otherwise, up from it: as far as the same layer's output goes."""
    chain: list[ir.Node] = []
    value, others = place.value, _others(place, graph, layers)
    while (
        (node := value.producer()) is not None and node.op_type in LAYOUTS and node.domain in ("", "ai.onnx")
    ):
        source = node.inputs[0]
        if source is None or source.const_value is not None or dims_of(source) is None:
            break
        # A value beside the path stands for what is on it. One on the path stands for others only in so far as they
        # are the same layer's output: a Flatten layer's is not that of the layer before.
        twin = (
            place.layer is not None
            and _moves_channels(node)
            and others.get(source, len(chain) + 1) > len(chain)
        )
        if value in reached and not twin:
            break
        chain.append(node)
        value = source
    return chain


def _others(place: Place, graph: ir.Graph, layers: Sequence[Layer]) -> dict[ir.Value, int]:
    """How many changes of layout lie between values and the output of another layer that they are, at least."""
    if place.layer is None:
        return {}
    values, distances = named_values(graph), dict[ir.Value, int]()
    names = {name for layer in layers for name in layer.outputs} - {place.value.name}
    for name in names & values.keys():
        value: ir.Value | None = values[name]
        distance = 0
        while value is not None:
            distances[value] = min(distance, distances.get(value, distance))
            node, distance = value.producer(), distance + 1
            value = node.inputs[0] if node is not None and node.op_type in LAYOUTS else None
    return distances


def _moves_channels(node: ir.Node) -> bool:
    if node.op_type in ("Squeeze", "Unsqueeze", "Identity"):
        return True
    perm = list(node.attributes.get_ints("perm") or []) if node.op_type == "Transpose" else []
    rank = len(perm)
    return rank > 2 and perm in ([0, *range(2, rank), 1], [0, rank - 1, *range(1, rank - 1)])


def _read_from(
    graph: ir.Graph, opset: int, value: ir.Value, chain: Sequence[ir.Node], before: Collection[ir.Node]
) -> None:
    """Lets the readers of what a chain lays out read the chain undone."""
    op = OpBuilder(graph, opset, prefix="layout")
    undone = value
    for node in chain:
        source = node.inputs[0]
        assert source is not None
        readers = [use for use in source.uses() if use.node not in before]
        undone = _undone(op, node, undone, source)
        undone.type, undone.shape = source.type, source.shape
        for use in readers:
            use.node.replace_input_with(use.idx, undone)
    graph.sort()


def _undone(op: OpBuilder, node: ir.Node, value: ir.Value, source: ir.Value) -> ir.Value:
    """The input of a node that only lays it out otherwise, from its output."""
    if node.op_type == "Identity":
        return op.Identity(value)
    if node.op_type == "Transpose":
        rank = len(dims_of(source) or [])
        perm = list(node.attributes.get_ints("perm") or range(rank)[::-1])
        return op.Transpose(value, perm=[perm.index(axis) for axis in range(rank)])
    return op.reshape_like(value, source)
