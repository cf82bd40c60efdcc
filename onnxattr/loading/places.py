"""Which value of a model a caller means: a layer by path, name or index, a value or a node by its name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxattr.callers import warn_caller
from onnxattr.errors import FoldedLayerError, ModelError
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.subgraphs import nodes_of, subgraphs_of
from onnxattr.graph.values import dims_of, named_values, values_of
from onnxattr.loading.layers import Layer

_NEAREST, _LISTED = 5, 20


@dataclass(frozen=True)
class Place:
    """A value that a caller has named.

    Attributes:
        name: What results call it: as the caller did; a layer given by its index by its path.
        value: The value.
        layer: The layer whose output it is; None if it was not named as one.
    """

    name: str
    value: ir.Value
    layer: Layer | None = None


def find_place(graph: ir.Graph, layers: Sequence[Layer], wanted: str | int, what: str) -> Place:
    """The value of a name, or of a layer's index: layers come first, then values, then nodes.

    Args:
        graph: The model.
        layers: Its layer table.
        wanted: The name or the index; digits that are no name are an index as well.
        what: The parameter that it was given for.

    Raises:
        ModelError: If there is none, or there are several: names those that are meant most likely.
    """
    values = named_values(graph)
    if not isinstance(wanted, str):
        layer = _layer_at(layers, wanted, what)
        _say_calls(layers, layer, f"{what}={wanted}")
        value = _output_of(values, layer, what)
        return Place(str(value.name) if _is_input(graph, layer.path) else layer.path, value, layer)
    layer_named = _layer_named(layers, wanted, what)
    if layer_named is not None:
        return Place(wanted, _output_of(values, layer_named, what), layer_named)
    if wanted in values:
        return Place(wanted, values[wanted])
    for node in nodes_of(graph):
        if node.name == wanted:
            return Place(wanted, node.outputs[0])
    if re.fullmatch(r"-?[0-9]{1,18}", wanted):
        return find_place(graph, layers, int(wanted), what)
    raise ModelError(
        f"{what} {wanted!r} is neither a layer, a value nor a node of the model. "
        f"{_suggestion(graph, layers, wanted)} `onnxattr inspect` lists what there is."
    )


def find_output(graph: ir.Graph, layers: Sequence[Layer], wanted: str | int | None) -> ir.Value:
    """The value whose score is explained; None for the only float output.

    Raises:
        ModelError: If it is unknown, ambiguous, inside a subgraph or no float.
    """
    if wanted is None:
        return _only_output(graph)
    value = find_place(graph, layers, wanted, "output_layer").value
    check_outside(graph, value, "output_layer")
    if value.dtype not in FLOATS:
        raise ModelError(f"output_layer {wanted!r} is {value.dtype}; only float values have a gradient.")
    return value


#: In place of names: all outputs of floats.
ALL_OUTPUTS = ("*",)


def find_outputs(graph: ir.Graph, wanted: str | int | Sequence[str | int]) -> list[ir.Value]:
    """The model's own outputs of some names or indices; digits that are no name are an index as well.

    Raises:
        ModelError: If one is unknown or no float, or two are the same.
    """
    floats = {str(value.name): value for value in graph.outputs if value.dtype in FLOATS}
    if wanted == ALL_OUTPUTS:
        return list(floats.values()) if len(floats) > 1 else [_only_output(graph)]
    places = [wanted] if isinstance(wanted, (str, int, np.integer)) else list(wanted)
    names = [_output_name(graph, place) for place in places]
    if len(set(names)) < len(names):
        raise ModelError(f"output={wanted!r} names an output twice: {names}.")
    for place, name in zip(places, names, strict=True):
        if name not in floats:
            known = ", ".join(f"{v.name} ({v.dtype.name.lower() if v.dtype else '?'})" for v in graph.outputs)
            like = "".join(f" Did you mean {near!r}?" for near in nearest(str(name), floats)[:1])
            like += " Layers and values inside the model are named by output_layer=<name> (--output-layer <name>)."
            raise ModelError(f"output={place!r}: expected an output of floats of the model, {known}.{like}")
    return [floats[str(name)] for name in names]


def _output_name(graph: ir.Graph, place: str | int) -> str | int:
    """The name of an output; an index that there is none of as it is."""
    names = [str(value.name) for value in graph.outputs]
    if isinstance(place, str) and (place in names or not re.fullmatch(r"-?[0-9]{1,9}", place)):
        return place
    index = int(place)
    return names[index] if -len(names) <= index < len(names) else place


def _only_output(graph: ir.Graph) -> ir.Value:
    outputs = [value for value in graph.outputs if value.dtype in FLOATS]
    if len(outputs) == 1:
        return outputs[0]
    if not outputs:
        names = [str(value.name) for value in graph.outputs]
        raise ModelError(
            f"None of the model's outputs {names} is a float tensor; name a float value as output_layer."
        )
    names = [str(value.name) for value in outputs]
    raise ModelError(
        f"The model has {len(outputs)} float outputs {names}: say which to explain with "
        "output=<name> (--model-output <name>)."
    )


def copy_of(graph: ir.Graph, value: ir.Value) -> ir.Value:
    """A value of its own for an input that is the output: what is put in the place of one must leave the other."""
    names = named_values(graph)
    name = f"{value.name}_output"
    while name in names:
        name += "_"
    node = ir.node("Identity", [value])
    node.name, node.outputs[0].name = name, name
    node.outputs[0].type, node.outputs[0].shape = value.type, value.shape
    graph.append(node)
    return node.outputs[0]


def check_outside(graph: ir.Graph, value: ir.Value, what: str) -> None:
    """Refuses values inside subgraphs.

    Raises:
        ModelError: If the value is not one of the graph itself.
    """
    if value.graph is not graph:
        holder = next(n for n in graph if any(value in values_of(body) for body in subgraphs_of(n)))
        floats = [str(v.name) for v in holder.outputs if v.name and v.dtype in FLOATS]
        outputs = f": {', '.join(map(repr, floats[:_NEAREST]))}" if floats else ""
        raise ModelError(
            f"{what} {value.name!r} is inside a subgraph of the {holder.op_type} node {holder.name!r}, where it may "
            f"have no value or many; name a value outside, such as an output of that node{outputs}."
        )


def check_ranks(graph: ir.Graph, explained: Iterable[ir.Value]) -> None:
    """Refuses inputs and explained values of which not even the number of axes is known.

    Raises:
        ModelError: If there is one.
    """
    for value in (*(value for value in graph.inputs if value.uses()), *explained):
        if dims_of(value) is None and isinstance(value.type, ir.TensorType):
            maker = value.producer()
            what, why = f"input {value.name!r}", "the file declares no shape of it"
            if maker is not None:
                what, why = (
                    f"value {value.name!r}",
                    f"{maker.op_type} node {maker.name!r} gives it at run time",
                )
            raise ModelError(
                f"The number of axes of the {what} is not known: {why}. Declare its shape in the file, where sizes may "
                f"be names: onnx.helper.make_tensor_value_info({value.name!r}, type, ['N', ...]) in the place of the "
                "graph's input or output of that name."
            )


def _is_input(graph: ir.Graph, name: str) -> bool:
    return any(value.name == name for value in graph.inputs)


def _layer_at(layers: Sequence[Layer], wanted: int, what: str) -> Layer:
    indexed = {layer.index: layer for layer in layers if layer.index is not None}
    if not indexed:
        raise ModelError(
            f"{what}={wanted} is an index, but the model has no layer table; give a value's name."
        )
    position = wanted if wanted >= 0 else wanted + max(indexed) + 1
    if position not in indexed:
        raise ModelError(f"{what}={wanted}: the model has layers 0 to {max(indexed)}.")
    return indexed[position]


def _layer_named(layers: Sequence[Layer], wanted: str, what: str) -> Layer | None:
    matches = [layer for layer in layers if wanted in (layer.path, layer.name)]
    exact = [layer for layer in matches if layer.path == wanted] or matches
    if not exact:
        return next((layer for layer in layers if _spelled(layer) == wanted), None)
    if len(exact) > 1:
        paths = [_spelled(layer) for layer in exact]
        raise ModelError(f"{what} {wanted!r} names several layers: {paths}. Give one of these paths.")
    ask_which_call(layers, exact[0], wanted, what)
    return exact[0]


def ask_which_call(layers: Sequence[Layer], layer: Layer, wanted: str, what: str) -> None:
    """Warns that a name without a number stands for the first of several calls of a layer.

    Raises:
        ModelError: If the name alone does not tell where the layer is called.
    """
    if layer.elsewhere and wanted == layer.name:
        raise ModelError(
            f"{what} {wanted!r} names a layer that is called at several places: "
            f"{[*layer.elsewhere, *_calls_at(layers, layer.path)]}. Give one of these paths."
        )
    _say_calls(layers, layer, f"{what} {wanted!r}")


def _spelled(layer: Layer) -> str:
    """The path that means this call of a layer alone."""
    return f"{layer.path}#1" if layer.calls > 1 and "#" not in layer.path else layer.path


def _calls_at(layers: Sequence[Layer], path: str) -> list[str]:
    return [_spelled(layer) for layer in layers if layer.path.partition("#")[0] == path]


def _say_calls(layers: Sequence[Layer], layer: Layer, asked: str) -> None:
    calls = _calls_at(layers, layer.path)
    if layer.calls > 1 and len(calls) > 1:
        warn_caller(
            f"{asked} is a layer that is called {len(calls)} times, and means its first call, as {calls[0]!r} does "
            f"without this warning. The others are {', '.join(map(repr, calls[1 : _LISTED + 1]))}."
        )


def _output_of(values: dict[str, ir.Value], layer: Layer, what: str) -> ir.Value:
    present = [values[name] for name in layer.outputs if name in values]
    if len(present) == 1:
        return present[0]
    if len(present) > 1:
        raise ModelError(
            f"Layer {layer.path!r} has several outputs {list(layer.outputs)}: name one of them as {what}."
        )
    message = f"Layer {layer.path!r} is not in the converted model: {layer.folded or 'its output was optimised away'}."
    if layer.can_be_kept:
        raise FoldedLayerError(message, layer.path)
    raise ModelError(message)


def _suggestion(graph: ir.Graph, layers: Sequence[Layer], wanted: str) -> str:
    usable = [layer for layer in layers if layer.outputs]
    inner = [value.name for node in graph for value in node.outputs if value.dtype in FLOATS]
    names = [
        *(layer.path for layer in usable),
        *(str(name) for name in (*(value.name for value in graph.inputs), *inner) if name),
        *(str(node.name) for node in graph if node.name),
    ]
    near = nearest(wanted, names)
    told = [f"Nearest: {', '.join(map(repr, near))}."] if near else []
    if usable:
        more = ", ..." if len(usable) > _LISTED else ""
        told.append(f"Layers: {', '.join(layer.path for layer in usable[:_LISTED])}{more}.")
    return " ".join([*told, f"Inputs: {[str(value.name) for value in graph.inputs]}."])


def nearest(wanted: str, names: Iterable[str]) -> list[str]:
    """The names most like one that is unknown: those that differ in case or separators first, then by spelling."""
    by_letters: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        by_letters.setdefault(_letters(name), []).append(name)
    letters = _letters(wanted)
    ends = [key for key in by_letters if letters and key.endswith(letters)]
    keys = [*ends, *difflib.get_close_matches(letters, by_letters, n=_NEAREST)]
    return [name for key in dict.fromkeys(keys) for name in by_letters[key]][:_NEAREST]


def _letters(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())
