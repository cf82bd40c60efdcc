"""The layer that a class activation map is made at, and the image that it is shown over."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import onnx_ir as ir

from onnxattr.autodiff.paths import inputs_of, needed_nodes, reaching
from onnxattr.callers import warn_caller
from onnxattr.compile.placement import Placement
from onnxattr.errors import ModelError
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.values import dims_of, named_values, shape_text
from onnxattr.loading.channels import channel_axis_of_input, channel_axis_of_layer
from onnxattr.loading.landmarks import convolution_before, other_layout
from onnxattr.loading.places import Place, check_outside, find_place
from onnxattr.loading.prepared import Prepared
from onnxattr.loading.preprocessing.geometry import is_whole

_LISTED = 6


def find_layer(prepared: Prepared, wanted: str | int | None) -> Place:
    """A layer on the way to the score, with its value in the layout that the graph computes it in.

    Args:
        prepared: The model, whole but for its outputs.
        wanted: A layer, value or node as ``output_layer`` takes them; None for the last convolution.

    Raises:
        ModelError: If there is none, or it has no axes of space.
    """
    graph, layers, output = prepared.model.graph, prepared.layers, prepared.value(prepared.output)
    reached = reaching(list(graph), output) - {output}
    if wanted is None:
        last = convolution_before(graph, layers, output)
        if last is None:
            raise ModelError(
                "The model has no convolution before the explained output to make a class activation map at. "
                f"{_candidates(prepared, reached)}"
            )
        path = next((layer.path for layer in layers if last.name in layer.outputs), str(last.name))
        place = Place(path, last)
    else:
        place = find_place(graph, layers, wanted, "conv_layer")
    check_outside(graph, place.value, "conv_layer")
    found = other_layout(place.value, reached)
    if found is None:
        raise ModelError(
            f"conv_layer={wanted!r}: the explained output {output.name!r} does not depend on that layer, or is it. "
            f"{_candidates(prepared, reached)}"
        )
    dims = dims_of(found)
    if dims is None or len(dims) < 3 or found.dtype not in FLOATS:
        raise ModelError(
            f"conv_layer={wanted!r} has the shape {shape_text(dims)}; expected a float value with an axis of samples, "
            f"one of channels and one or more axes of space. {_candidates(prepared, reached)}"
        )
    if wanted is None:
        _say_what_is_left_out(prepared, replace(place, value=found), reached)
    return replace(place, value=found)


def _say_what_is_left_out(prepared: Prepared, place: Place, reached: Collection[ir.Value]) -> None:
    """Warns of images and series that reach the score past the layer that was found, as in two branches."""
    read = {value for node in needed_nodes([place.value]) for value in inputs_of(node)}
    inputs = [v for v in prepared.model.graph.inputs if v in reached and v.dtype in FLOATS]
    past = [str(v.name) for v in inputs if v not in read and len(dims_of(v) or []) > 2]
    if past:
        warn_caller(
            f"The map is of the last convolution, {place.name!r}, which does not read {past}: it says nothing of what "
            "the score takes from there. Name a layer of that branch with conv_layer for its map."
        )


def _candidates(prepared: Prepared, reached: Collection[ir.Value]) -> str:
    """What can be named instead, the last first."""
    values, layers = prepared.values, prepared.layers
    outputs = {layer.path: values[n] for layer in layers for n in layer.outputs[:1] if n in values}
    if not outputs:
        made = [value for node in prepared.model.graph for value in node.outputs]
        outputs = {str(value.name): value for value in made if value in reached}
    fit = []
    for path, value in outputs.items():
        there = other_layout(value, reached)
        if there is not None and there.producer() is not None and len(dims_of(there) or []) > 2:
            fit += [path] if there.dtype in FLOATS else []
    if not fit:
        return "No value of the model has axes of space: its maps are those of the input, as Saliency's."
    return f"Name one of these with conv_layer: {', '.join(map(repr, fit[: -_LISTED - 1 : -1]))}."


def placement_of(
    prepared: Prepared, layer: str, image: str | None, channel_axis: int | None, upsampling: str | None
) -> Placement:
    """How a map at a layer lies over the image.

    Args:
        prepared: The model.
        layer: Name of the layer's value.
        image: Name of the input; None for the only one that has as many axes of space as the layer. With preprocessing
            in front, the pixels or the network's own input, whichever is explained.
        channel_axis: The channel axis of images, where the caller has said it.
        upsampling: See ``Placement``.

    Raises:
        ModelError: If there is no such input, or are several, and the map shall have its size.
    """
    graph = prepared.model.graph
    values, spec = named_values(graph), prepared.preprocessing
    value = values[layer]
    inputs = list(graph.inputs)
    if spec is not None and spec.in_graph:
        own = image or (spec.name if spec.at_pixels else spec.feeds)
        inputs = [values[spec.feeds] if v.name == spec.name and own == spec.feeds else v for v in inputs]
    if image is not None and image not in {v.name for v in inputs}:
        raise ModelError(
            f"wrt={image!r} is no input of the model that the map can be shown over; expected one of "
            f"{[v.name for v in inputs]}."
        )
    rank, channel = len(dims_of(value) or []), channel_axis_of_layer(value)
    space = tuple(axis for axis in range(1, rank) if axis != channel)
    read = {v for node in needed_nodes([value]) for v in inputs_of(node)}
    sources = [v for v in inputs if v in read and image in (None, v.name)]
    found = {str(v.name): fit for v in sources if (fit := _fit(v, value, space, channel_axis)) is not None}
    if len(found) == 1:
        name, (axis, image_space, kept) = next(iter(found.items()))
        squeezed = tuple(k for k in range(1, rank) if k not in kept)
        at = len(image_space) + 1 if axis is None else axis
        part = spec is not None and spec.in_graph and name == spec.name and not is_whole(spec)
        return Placement(layer, channel, squeezed, name, at, image_space, upsampling, spec if part else None)
    if upsampling is not None:
        shapes = ", ".join(f"{v.name!r} {shape_text(dims_of(v))}" for v in graph.inputs)
        several = f"several inputs, {sorted(found)}, have" if found else f"of the inputs {shapes} none has"
        raise ModelError(
            f"The layer {layer!r} of shape {shape_text(dims_of(value))} has {len(space)} axes of space; {several} as "
            "many. Say with wrt=<input> which the map is shown over, or take upsampling=None for a map of the layer's "
            "size."
        )
    return Placement(layer, channel, (channel,), None, channel, (), None)


def _fit(
    image: ir.Value, layer: ir.Value, space: tuple[int, ...], channel_axis: int | None
) -> tuple[int | None, tuple[int, ...], tuple[int, ...]] | None:
    """The channel axis of an input, its axes of space, and the layer's that they are; None where they do not fit.

    A layer may have more, of size 1: convolutions of series are often written with two axes.
    """
    dims, layer_dims = dims_of(image) or [], dims_of(layer) or []
    known = channel_axis is not None and len(dims) == 4
    axes = [channel_axis % 4] if known and channel_axis is not None else [channel_axis_of_input(image), None]
    for axis in axes:
        own = tuple(k for k in range(1, len(dims)) if k != axis)
        kept, extra = list(space), len(space) - len(own)
        for k in space:
            if extra > 0 and layer_dims[k] == 1:
                kept.remove(k)
                extra -= 1
        if own and len(kept) == len(own):
            return axis, own, tuple(kept)
    return None
