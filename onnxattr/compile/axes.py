"""What the axes of an explained value are: rows, height, width, channels, steps, tokens."""

from __future__ import annotations

from collections import deque

import onnx_ir as ir

from onnxattr.compile.placement import Placement
from onnxattr.graph.values import dims_of
from onnxattr.loading.prepared import Prepared

_CHANNELS_SECOND = frozenset(
    "Conv ConvTranspose MaxPool AveragePool GlobalAveragePool GlobalMaxPool BatchNormalization "
    "InstanceNormalization".split()
)
_TOKENS = ("token", "embedding")
_STEPS_FIRST = ([0, 2, 1], [1, 0, 2])
#: Layers of Keras, and recurrent ones of PyTorch, that take (rows, steps, channels).
_OVER_STEPS = frozenset("Conv1D SeparableConv1D LSTM GRU SimpleRNN RNN Bidirectional".split())


def axis_names(
    original: Prepared,
    name: str,
    channel_axis: int | None,
    placement: Placement | None = None,
    grouped: bool = False,
) -> tuple[str, ...]:
    """What is known of the axes of the attributions of an explained value.

    Args:
        original: The model as the caller knows it.
        name: The value.
        channel_axis: The channel axis of an image, counted with an axis of samples; None for what is no image.
        placement: For a map at a layer, how it lies over the image, whose axes it has.
        grouped: Whether attributions are sums over groups of features.

    Returns:
        A name for each axis: "row", or "axis 0" where all of the first axis is one sample; "height", "width",
        "channel"; "step" and "channel" of series where the graph tells them apart; "feature" for named columns; "group"
        of sums over groups; else "axis 1", "axis 2", ...
    """
    value = original.value(name)
    rank, one_sample = len(dims_of(value) or []), original.rows.mixed
    first = "axis 0" if one_sample else "row"
    if grouped:
        return ("group",) if one_sample else (first, "group")
    if placement is not None:
        return _of_map(placement)
    series = _series(value) if rank == 3 and not one_sample else None
    if channel_axis is not None and series != _TOKENS:
        space = iter({3: ("step",), 5: ("depth", "height", "width")}.get(rank, ("height", "width")))
        own = channel_axis - one_sample
        return first, *("channel" if axis == own else next(space) for axis in range(1, rank))
    if series is not None:
        return first, *series
    if rank == 3 and value.is_graph_input() and any(v.class_name in _OVER_STEPS for v in original.layers):
        return first, "step", "channel"
    if rank == 2 and name in original.features:
        return first, "feature"
    return first, *(f"axis {axis}" for axis in range(1, rank))


def _of_map(placement: Placement) -> tuple[str, ...]:
    """The axes of a map that lies over an image, a series or a volume."""
    space = {1: ["step"], 2: ["height", "width"]}.get(len(placement.image_space))
    if space is None:
        space = [
            f"axis {axis}"
            for axis in range(1, 2 + len(placement.image_space))
            if axis != placement.channel_there
        ]
    space.insert(placement.channel_there - 1, "channel")
    return "row", *space


def _series(value: ir.Value) -> tuple[str, str] | None:
    """The last two axes of a value of rank 3: what the first operator that treats it as a series says."""
    node = value.producer()
    if node is not None and node.op_type == "Gather":
        return _TOKENS
    seen, front = {value}, deque([value])
    while front:
        for node in front.popleft().consumers():
            if node.op_type in _CHANNELS_SECOND:
                return "channel", "step"
            perm = list(node.attributes.get_ints("perm") or []) if node.op_type == "Transpose" else None
            if perm in _STEPS_FIRST or node.op_type == "MatMul":
                return "step", "channel"
            for output in node.outputs if perm is None else ():
                if output not in seen and len(dims_of(output) or []) == 3 and node.op_type != "Reshape":
                    seen.add(output)
                    front.append(output)
    return None
