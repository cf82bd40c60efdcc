"""What a model's inputs and outputs are, for someone who has to feed them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from onnxattr.compile.axes import axis_names
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.values import UNKNOWN, dims_of
from onnxattr.loading.channels import channel_axis_of_input
from onnxattr.loading.heads import is_binary, logits_of, probability_head, unit_of
from onnxattr.loading.layers import Layer
from onnxattr.loading.prepared import Prepared

_LETTERS = {
    "row": "N",
    "channel": "C",
    "height": "H",
    "width": "W",
    "depth": "D",
    "step": "T",
    "feature": "F",
}


def shape_of(value: ir.Value) -> list[int | str | None] | None:
    """The shape of a value; names that inference gives to sizes which it does not know are None."""
    dims = dims_of(value)
    return None if dims is None else [None if str(dim).startswith(UNKNOWN) else dim for dim in dims]


def dtype_of(value: ir.Value) -> str:
    """The type of a value's numbers."""
    return value.dtype.name.lower() if value.dtype else "unknown"


def input_facts(prepared: Prepared, value: ir.Value) -> dict[str, Any]:
    """An input: name, type, shape, kind, layout, and of images the sizes."""
    dims, meaning = shape_of(value), prepared.meaning.inputs.get(str(value.name))
    found: dict[str, Any] = {"name": str(value.name), "type": dtype_of(value), "shape": dims}
    spec = prepared.preprocessing
    pixels = spec is not None and spec.in_graph and spec.name == value.name
    if pixels and spec is not None and spec.dtype == "uint8":
        found["type"] = "uint8"  # of which loading makes floats
    axes = _axes(prepared, value) if dims is not None else ()
    kind = meaning.kind if meaning is not None and meaning.kind else "image" if pixels else _kind(value, axes)
    found["kind"] = kind
    if "channel" in axes:
        found["layout"] = "".join(_LETTERS.get(axis, "?") for axis in axes)
    if kind == "image" and dims is not None and len(dims) == 4 and "channel" in axes:
        sides = [dims[axis] for axis in range(1, 4) if axes[axis] != "channel"]
        found |= {"height": sides[0], "width": sides[1], "channels": dims[axes.index("channel")]}
    if meaning is not None:
        found |= {
            name: given
            for name in ("unit", "sampling_rate", "vocabulary")
            if (given := getattr(meaning, name)) is not None
        }
        found |= {"normalized_by": list(meaning.normalized_by)} if meaning.normalized_by else {}
    if value.name in prepared.vocabularies:
        found["words"] = len(prepared.vocabularies[str(value.name)])
    if value.name in prepared.features:
        found["features"] = list(prepared.features[str(value.name)])
    return found


def _axes(prepared: Prepared, value: ir.Value) -> tuple[str, ...]:
    spec, rank = prepared.preprocessing, len(dims_of(value) or [])
    if spec is not None and spec.in_graph and spec.name == value.name and rank == 4:
        return (
            ("row", "height", "width", "channel")
            if spec.layout == "NHWC"
            else ("row", "channel", "height", "width")
        )
    axis = channel_axis_of_input(value) if rank in (4, 5) and value.dtype in FLOATS else None
    # Where the whole first axis is one sample, the channel axis is counted with an axis of samples.
    axis = None if axis is None else axis + prepared.rows.mixed
    return axis_names(prepared, str(value.name), axis) if value.dtype in FLOATS else ()


def _kind(value: ir.Value, axes: Sequence[str]) -> str:
    """What an input is most likely, by its type and axes."""
    if value.dtype is None or value.dtype == ir.DataType.STRING:
        return "text"
    if value.dtype == ir.DataType.BOOL:
        return "booleans"
    if value.dtype not in FLOATS:
        return "image" if value.dtype == ir.DataType.UINT8 and len(dims_of(value) or []) == 4 else "integers"
    if "height" in axes:
        return "volume" if "depth" in axes else "image"
    if "step" in axes:
        return "series"
    return "table" if "feature" in axes else "numbers"


def output_facts(
    prepared: Prepared, graph: ir.Graph, value: ir.Value, layers: Sequence[Layer]
) -> dict[str, Any]:
    """An output: name, type, shape, whether it gives probabilities, and where its logits are."""
    found: dict[str, Any] = {"name": str(value.name), "type": dtype_of(value), "shape": shape_of(value)}
    if value.dtype not in FLOATS:
        return found
    logits, unit = probability_head(graph, value), unit_of(graph, value, layers)
    named = logits_of(graph, value, layers)
    meaning = prepared.meaning.outputs.get(str(value.name))
    if meaning is not None and meaning.kind:
        found["kind"] = meaning.kind
    elif logits is not None:
        found["kind"] = "probabilities"
    elif is_binary(unit):
        found["kind"] = str(unit)
    if logits is not None:
        found["logits"] = named
        values = [name for layer in layers if layer.path == named for name in layer.outputs]
        found["logits_shape"] = shape_of(prepared.value(next(iter(values), logits)))
    if is_binary(unit):
        found["unit"] = str(unit)
    if meaning is not None and meaning.unit:
        found["of"] = meaning.unit
    return found


def told(facts: Mapping[str, Any]) -> str:
    """What is said of an input behind its name and shape."""
    kind = facts["kind"]
    if kind == "image" and "channels" in facts:
        sides = [facts["height"], facts["width"]]
        size = (
            "any size"
            if not all(isinstance(side, int) for side in sides)
            else f"{sides[1]} x {sides[0]} pixels"
        )
        channels = {1: "grey", 3: "colour"}.get(
            facts["channels"], f"{facts['channels'] or 'any number of'} channels"
        )
        return f"image of {size}, {channels}, {facts['layout']}"
    layout = f", {facts['layout']}" if "layout" in facts else ""
    more = [f"in {facts['unit']}"] if "unit" in facts else []
    more += [f"{facts['sampling_rate']:g} samples a second"] if "sampling_rate" in facts else []
    more += [f"{facts['words']} words"] if "words" in facts else []
    return ", ".join([f"{kind}{layout}", *more]) if kind != "numbers" or more else ""
