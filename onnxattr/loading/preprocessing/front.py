"""Puts preprocessing in front of a model, as nodes: its image input then takes pixels of a photo of any size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import onnx_ir as ir

from onnxattr.callers import warn_caller
from onnxattr.errors import ModelError, ParameterError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.values import dims_of, shape_text
from onnxattr.loading.channels import PREPROCESSING, channel_axis_of_input
from onnxattr.loading.preprocessing.agreement import disagreements
from onnxattr.loading.preprocessing.geometry import Axis, axes_of, covered, resizing
from onnxattr.loading.preprocessing.spec import KEY, Preprocessing, read_preprocessing

#: The share of an image that ImageNet networks are tested on: 224 of 256 pixels.
_CENTRE = 0.875
#: From this opset on the nodes can be written.
OLDEST_OPSET = 15
_FLOAT = ir.DataType.FLOAT


def expected(model: ir.Model) -> Preprocessing:
    """The preprocessing that a model's file says that it expects.

    Raises:
        ParameterError: If it does not say.
    """
    spec = read_preprocessing(model.metadata_props)
    if spec is None:
        raise ParameterError(
            "preprocess='model': the model's file does not say what preprocessing it expects; name it, or describe it "
            "in a JSON file."
        )
    return spec


def fitted(preprocessing: Preprocessing, model: ir.Model) -> Preprocessing:
    """A preprocessing with all that it leaves open as the model's image input wants it.

    Sizes that are not given are the model's; for "shortest_edge" 8/7 of that, of which the middle is cut out.

    Args:
        preprocessing: What was asked for.
        model: The model, with typed values.

    Raises:
        ParameterError: If the model takes no image, or one that the preprocessing does not give.
    """
    graph = model.graph
    present = read_preprocessing(model.metadata_props)
    if present is not None and present.in_graph:
        raise ParameterError(
            f"preprocess: the model's file has preprocessing in front already ({present.source or present.resize}); "
            "leave preprocess out, or start from the model without it."
        )
    image = _image_input(graph, preprocessing.feeds)
    axis, dims = channel_axis_of_input(image), dims_of(image) or []
    axis = 3 if axis not in (1, 3) else axis
    channels = dims[axis]
    if not isinstance(channels, int):
        channels = preprocessing.channels
    if channels not in (1, 3):
        raise ParameterError(
            f"preprocess: the input {image.name!r} of shape {shape_text(dims_of(image))} has {channels} channels; "
            "photos have 3 or 1."
        )
    named = replace(preprocessing, channels=channels, feeds=str(image.name))
    found = _sized(named, image, axis)
    for text in disagreements(model, present, found):
        warn_caller(text)
    return found


def _image_input(graph: ir.Graph, name: str) -> ir.Value:
    """The input that takes an image: the one of that name, or the only one of floats with four axes."""
    fits = [v for v in graph.inputs if v.dtype in FLOATS and len(dims_of(v) or []) == 4]
    if name:
        fits = [v for v in fits if v.name == name]
    if len(fits) == 1:
        return fits[0]
    shapes = ", ".join(f"{v.name!r} {shape_text(dims_of(v))}" for v in graph.inputs)
    which = f"an input {name!r}" if name else f"{'several inputs' if fits else 'an input'}"
    raise ParameterError(
        f"preprocess: the inputs are {shapes}; expected {which} of floats (N, 3, height, width) or (N, height, width, "
        "3)" + (": name the one that takes the photo with 'feeds'." if len(fits) > 1 else ", an image.")
    )


def _sized(spec: Preprocessing, image: ir.Value, axis: int) -> Preprocessing:
    """A preprocessing with the sizes that give the model what it takes."""
    dims = dims_of(image) or []
    own = tuple(dim if isinstance(dim, int) else None for k, dim in enumerate(dims[1:], 1) if k != axis)
    size, crop = spec.size, spec.crop
    given = crop or (size if spec.resize in ("stretch", "letterbox") else None)
    if given is None and None in own and spec.resize != "none":
        raise ParameterError(
            f"preprocess: the input {image.name!r} of shape {shape_text(dims_of(image))} takes images of any size; "
            "say which one with a JSON file or dict: size, and crop for shortest_edge."
        )
    there = given or own
    if any(o is not None and o != t for o, t in zip(own, there, strict=True)):
        raise ParameterError(
            f"preprocess: it gives images of {there[0]} x {there[1]} pixels, and the input {image.name!r} of shape "
            f"{shape_text(dims_of(image))} takes {own[0]} x {own[1]}."
        )
    if spec.resize == "none":
        return spec if crop else replace(spec, height=own[0], width=own[1])
    height, width = there
    assert height is not None
    assert width is not None
    if spec.resize == "shortest_edge":
        edge = int(max(height, width) / _CENTRE) if size is None else size[0]
        return replace(spec, size=(edge, edge), crop=(height, width))
    return replace(spec, size=size or (height, width))


def put_in_front(model: ir.Model, preprocessing: Preprocessing, as_bytes: bool = False) -> Preprocessing:
    """Appends the nodes to a model, in place; the value that was its input keeps its name.

    Args:
        model: The model, of opset 15 or newer.
        preprocessing: What was ``fitted`` to it.
        as_bytes: Whether the new input has the dtype of the preprocessing; else it takes the same numbers as floats.

    Returns:
        The preprocessing, with the name that the new input has.

    Raises:
        ModelError: If the opset is older.
    """
    graph, opset = model.graph, model.opset_imports.get("", 0)
    if opset < OLDEST_OPSET:
        raise ModelError(
            f"preprocess: the model has ai.onnx opset {opset}; preprocessing is written with opset {OLDEST_OPSET} or "
            "newer. Convert it with onnx.version_converter first."
        )
    op = OpBuilder(graph, opset, prefix=PREPROCESSING)
    old = next(value for value in graph.inputs if value.name == preprocessing.feeds)
    spec = replace(preprocessing, in_graph=True, name=op.unique_name(preprocessing.name, exact=True))
    dtype = ir.DataType.UINT8 if as_bytes and spec.dtype == "uint8" else _FLOAT
    batch = (dims_of(old) or [None])[0]
    pixels = ir.Value(name=spec.name, type=ir.TensorType(dtype), shape=ir.Shape(_pixel_dims(spec, batch)))
    graph.inputs[list(graph.inputs).index(old)] = pixels
    name, old.name = old.name, op.unique_name(f"{old.name}/before")
    readers = list(old.uses())
    floats = op.cast(pixels, _FLOAT)
    floats.shape = pixels.shape
    result = op.cast_like(_network_image(op, floats, old, spec), old)
    if result is floats:
        result = op.Identity(result)
    result.name, result.type, result.shape = name, old.type, old.shape
    for reader in readers:
        reader.node.replace_input_with(reader.idx, result)
    outputs = [result if value is old else value for value in graph.outputs]
    graph.outputs[:] = outputs
    graph.sort()
    model.metadata_props[KEY] = spec.text()
    return spec


def explained_image(model: ir.Model, wrt: Any, attributions_at: str | None) -> str | None:
    """The image that is explained of a model with preprocessing in front; None for all float inputs.

    Raises:
        ParameterError: If there is none and a place was asked for, or ``wrt`` names another one.
    """
    spec = read_preprocessing(model.metadata_props)
    if spec is None or not spec.in_graph:
        if attributions_at is not None:
            raise ParameterError(
                f"attributions_at={attributions_at!r}: the model has no preprocessing in front, so that there is one "
                "image to explain; put it there with preprocess=."
            )
        return None
    named = {spec.name: "pixels", spec.feeds: "input"}.get(wrt) if isinstance(wrt, str) else None
    if named is not None and attributions_at not in (None, named):
        raise ParameterError(
            f"wrt={wrt!r} and attributions_at={attributions_at!r} name two places: {spec.name!r} are the pixels, "
            f"{spec.feeds!r} is the network's input. Give one of the two."
        )
    place = named or attributions_at or spec.attributions_at
    if place != spec.attributions_at:
        model.metadata_props[KEY] = replace(spec, attributions_at=place).text()
    return spec.name if place == "pixels" else spec.feeds


def _pixel_dims(spec: Preprocessing, batch: int | str | None) -> list[int | str | None]:
    """The shape of what the new input takes."""
    space: list[int | str | None] = [spec.height or "height", spec.width or "width"]
    return [batch, *space, spec.channels] if spec.layout == "NHWC" else [batch, spec.channels, *space]


def _network_image(op: OpBuilder, pixels: ir.Value, like: ir.Value, spec: Preprocessing) -> ir.Value:
    """The image that a network takes, from pixels as floats."""
    dims, channels = dims_of(like) or [], spec.channels
    last = dims[3] == channels and (dims[1] != channels or channel_axis_of_input(like) == 3)
    x = op.Transpose(pixels, perm=[0, 3, 1, 2]) if spec.layout == "NHWC" else pixels
    if spec.resize != "none" or spec.crop is not None:
        x = _resized(op, x, spec)
    if spec.order == "BGR":
        red, green, blue = op.Split(x, [1, 1, 1], axis=1, outputs=3)
        x = op.Concat(blue, green, red, axis=1)
    for op_type, numbers, neutral in (("Mul", (spec.scale,), 1), ("Sub", spec.mean, 0), ("Div", spec.std, 1)):
        if any(number != neutral for number in numbers):
            constant = op.constant([[[[number]] for number in numbers]], _FLOAT)
            x = op.node(op_type, [x, constant])
    return op.Transpose(x, perm=[0, 2, 3, 1]) if last else x


def _resized(op: OpBuilder, x: ir.Value, spec: Preprocessing) -> ir.Value:
    """(N, C, H, W) resized, and cut out or padded."""
    batch, channels, _, width = dims_of(x) or [None] * 4
    there = spec.crop or spec.size
    assert there is not None
    vertical, horizontal = axes_of(op, x, (2, 3), spec, there)
    x = op.MatMul(resizing(op, vertical, spec.kernel, spec.antialias), x)
    x.shape = ir.Shape([batch, channels, there[0], width])
    x = op.MatMul(x, op.Transpose(resizing(op, horizontal, spec.kernel, spec.antialias), perm=[1, 0]))
    x.shape = ir.Shape([batch, channels, *there])
    if any(spec.pad):
        x = op.Add(x, _padding(op, spec, vertical, horizontal))
    return x


def _padding(op: OpBuilder, spec: Preprocessing, vertical: Axis, horizontal: Axis) -> ir.Value:
    """The colour of what lies beside the photo, 0 inside; (1, C, there, there)."""
    inside = op.MatMul(covered(op, vertical), op.Transpose(covered(op, horizontal), perm=[1, 0]))
    colour = op.constant([[[[number]] for number in spec.pad]], _FLOAT)
    return op.Mul(op.Sub(1.0, inside), colour)
