"""Finds out which axis of images, series and volumes holds the channels."""

from __future__ import annotations

from collections import deque
from typing import Any

import onnx_ir as ir

from onnxattr.graph.values import dims_of

_CHANNELS_SECOND = frozenset(
    "Conv ConvTranspose MaxPool AveragePool GlobalAveragePool GlobalMaxPool BatchNormalization InstanceNormalization "
    "Resize DepthToSpace SpaceToDepth LRN".split()
)
#: Operators whose output is no image like their input, though it may have as many axes.
_OTHER_AXES = frozenset("MatMul Gemm Gather Einsum Shape GatherND OneHot Loop Scan If".split())
_COUNTS = (1, 3, 4)

#: First part of the names of nodes that preprocess a photo: behind them, no operator knows the network's channels.
PREPROCESSING = "onnxattr_preprocessing"
#: For each axis of a value the axis of another value that it is; None for one that the other does not have.
Places = list[int | None]


def find_channel_axis(value: ir.Value) -> int:
    """The channel axis, 1 or 3, of a value of rank 4: what the first operator that treats it as an image says.

    The graph is followed through elementwise operators; without an answer the axis of size 1, 3 or 4 is taken, the
    last one in doubt.
    """
    dims = dims_of(value) or [None] * 4
    return _told_axis(value) or (1 if dims[1] in _COUNTS and dims[3] not in _COUNTS else 3)


def channel_axis_is_guessed(value: ir.Value) -> bool:
    """Whether neither an operator nor the sizes say which axis of a value of rank 4 holds channels."""
    dims = dims_of(value) or [None] * 4
    alike = (dims[1] in _COUNTS) == (dims[3] in _COUNTS) and not dims[1] == dims[3] == 1
    return alike and not _told_axis(value) and not _axis_ahead(value)[0]


def _told_axis(value: ir.Value) -> int | None:
    """The channel axis that the first operator says which treats a value of rank 4 as an image."""
    seen, front = {value}, deque([value])
    while front:
        reader = front.popleft()
        for node in reader.consumers():
            if node.op_type in _CHANNELS_SECOND:
                return 1
            if node.op_type == "Transpose":
                perm = list(node.attributes.get_ints("perm") or [3, 2, 1, 0])
                if perm in ([0, 3, 1, 2], [0, 2, 3, 1]):
                    return 3 if perm == [0, 3, 1, 2] else 1
                continue
            for output in node.outputs:
                if (
                    output not in seen
                    and len(dims_of(output) or []) == 4
                    and node.op_type not in ("Reshape", "MatMul")
                ):
                    seen.add(output)
                    front.append(output)
    return None


def channel_axis_of_input(value: ir.Value) -> int | None:
    """The channel axis of an input of any rank; None where it has none, as a grey image (N, H, W) has.

    It is the axis that the first convolution, pooling or normalisation on the way takes as channels.
    """
    found, axis = _axis_ahead(value)
    rank = len(dims_of(value) or [])
    if found:
        return axis if axis else None
    return find_channel_axis(value) if rank == 4 else rank - 1


def channel_axis_of_layer(value: ir.Value) -> int:
    """The channel axis of a value inside a model: of the convolution before it, or of what reads it; else the last."""
    if _preprocesses(value.producer()) and len(dims_of(value) or []) == 4:
        return find_channel_axis(value)
    axis = _axis_behind(value)
    if axis is None:
        axis = _axis_ahead(value)[1]
    return len(dims_of(value) or [None]) - 1 if axis is None else axis


def has_one_place(value: ir.Value) -> bool:
    """Whether every axis of space of a value inside a model has the size 1."""
    channel = channel_axis_of_layer(value)
    return all(dim == 1 for axis, dim in enumerate(dims_of(value) or []) if axis not in (0, channel))


def _axis_ahead(value: ir.Value) -> tuple[bool, int | None]:
    """Whether an operator ahead knows channels, and which axis of the value it takes them from."""
    start: Places = list(range(len(dims_of(value) or [])))
    seen, front = {value}, deque([(value, start)])
    while front:
        read, places = front.popleft()
        for node in read.consumers():
            if node.inputs[0] is not read and node.op_type in _CHANNELS_SECOND | {"MatMul"}:
                continue
            if node.op_type in _CHANNELS_SECOND - {"Resize"} and len(places) > 1:
                return True, places[1]
            if node.op_type == "MatMul" and places:
                return True, places[-1]
            left = _left_by_mean(node, len(places))
            if left is not None:
                return True, places[left]
            for output in node.outputs[:1]:
                moved = _moved(node, read, places)
                if moved is not None and output not in seen:
                    seen.add(output)
                    front.append((output, moved))
    return False, None


def _axis_behind(value: ir.Value) -> int | None:
    """The channel axis that a value has from the convolution or the product with a matrix that it comes from."""
    way: list[tuple[ir.Node, ir.Value]] = []
    while True:
        node = value.producer()
        if node is None or _preprocesses(node):
            return None
        if node.op_type in _CHANNELS_SECOND - {"Resize"}:
            axis = 1
        elif node.op_type == "MatMul" and len(dims_of(value) or []) > 2:
            axis = len(dims_of(value) or []) - 1
        else:
            reads = [v for v in node.inputs if v is not None and v.const_value is None and dims_of(v)]
            rank = len(dims_of(value) or [])
            reads.sort(key=lambda v: len(dims_of(v) or []) != rank)
            if not reads or len(way) > 1000:
                return None
            way.append((node, reads[0]))
            value = reads[0]
            continue
        break
    places: Places = list(range(len(dims_of(value) or [])))
    for node, read in reversed(way):
        moved = _moved(node, read, places)
        if moved is None:
            return None
        places = moved
    return places.index(axis) if axis in places else None


def _preprocesses(node: ir.Node | None) -> bool:
    """Whether a node belongs to the preprocessing in front of a model."""
    return node is not None and str(node.name).startswith(f"{PREPROCESSING}/")


def _moved(node: ir.Node, read: ir.Value, places: Places) -> Places | None:
    """Where axes stand in a node's first output; None where that is not known."""
    have, want = dims_of(read), dims_of(node.outputs[0])
    if have is None or want is None or node.op_type in _OTHER_AXES:
        return None
    if node.op_type == "Transpose":
        perm = list(node.attributes.get_ints("perm") or range(len(places))[::-1])
        return [places[axis] for axis in perm]
    if node.op_type in ("Squeeze", "Unsqueeze", "Reshape"):
        return _reshaped(have, want, places) if read is node.inputs[0] else None
    return places if len(have) == len(want) else None


def _reshaped(have: list[Any], want: list[Any], places: Places) -> Places | None:
    """Where axes stand after axes of size 1 came, went or moved; None where others did."""
    kept = [k for k in range(1, len(have)) if have[k] != 1]
    if [have[k] for k in kept] != [dim for dim in want[1:] if dim != 1]:
        return None
    ones = [k for k in range(1, len(have)) if have[k] == 1]
    moved: Places = [places[0]]
    for dim in want[1:]:
        source = ones if dim == 1 else kept
        moved.append(places[source.pop(0)] if source else None)
    return moved


def _left_by_mean(node: ir.Node, rank: int) -> int | None:
    """The one axis beside the first that a mean or maximum over axes leaves; None for any other node."""
    if node.op_type not in ("ReduceMean", "ReduceMax", "ReduceSum") or rank < 3:
        return None
    given = node.inputs[1] if len(node.inputs) > 1 else None
    axes = node.attributes.get_ints("axes") if given is None else None
    if given is not None and given.const_value is not None:
        axes = given.const_value.numpy().tolist()
    left = set(range(1, rank)) - {axis % rank for axis in axes or ()}
    return left.pop() if len(left) == 1 and axes else None
