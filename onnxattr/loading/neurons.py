"""One unit or channel of a layer as a model's output: a number for each sample."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.errors import ParameterError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of, shape_text
from onnxattr.loading.channels import channel_axis_of_layer

_END = 2**31 - 1


def neuron_of(graph: ir.Graph, opset: int, layer: ir.Value, neuron: int | Sequence[int]) -> ir.Value:
    """Appends the nodes that pick one neuron of a layer, (N,).

    Args:
        graph: The model.
        opset: Its ai.onnx opset.
        layer: The layer's output.
        neuron: An integer for a unit of (N, units), or a channel, of which the mean over all other axes is taken; one
            integer for each axis behind the first for a single unit.

    Raises:
        ParameterError: If the layer has no such neuron.
    """
    dims = dims_of(layer)
    if not dims or len(dims) < 2:
        raise ParameterError(
            f"neuron={neuron!r}: {layer.name!r} has shape {shape_text(dims)}, one number for each sample; "
            "leave out neuron."
        )
    single = not isinstance(neuron, Sequence)
    given = list(neuron) if isinstance(neuron, Sequence) else [neuron]
    indices = [int(index) for index in given]
    axes = [channel_axis_of_layer(layer)] if single else list(range(1, len(dims)))
    if len(indices) != len(axes):
        raise ParameterError(
            f"neuron={neuron!r}: {layer.name!r} has shape {shape_text(dims)}; expected one integer, its channel "
            f"on axis {channel_axis_of_layer(layer)}, or {len(axes)} integers, an index for each axis behind the first."
        )
    for axis, index in zip(axes, indices, strict=True):
        size = dims[axis]
        if isinstance(size, int) and not -size <= index < size:
            raise ParameterError(
                f"neuron={neuron!r}: {layer.name!r} has shape {shape_text(dims)}, so that axis {axis} takes indices "
                f"from 0 to {size - 1}; got {index}."
            )
    op = OpBuilder(graph, opset, prefix="neuron")
    picked = op.Slice(layer, indices, [index + 1 if index != -1 else _END for index in indices], axes)
    others = list(range(1, len(dims)))
    found = op.ReduceMean(picked, others, keepdims=0) if single else op.Squeeze(picked, others)
    found.name = op.unique_name(f"{layer.name}[{', '.join(map(str, indices))}]", exact=True)
    found.type, found.shape = layer.type, ir.Shape(dims[:1])
    return found
