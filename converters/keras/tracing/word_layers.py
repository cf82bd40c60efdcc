"""Finds the layers in front of a Keras model that ONNX has no operator for: tables of words, and hashes of text."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from onnxattr.errors import ConversionError

from ...common import dependencies
from .inputs import flatten, symbolic_structure

LOOKUPS = ("TextVectorization", "StringLookup", "IntegerLookup")
HASHES = ("Hashing", "HashedCrossing")


def is_table(layer: Any) -> bool:
    """Whether a layer looks values up in a table of words, or computes a hash of their text."""
    return type(layer).__name__ in (*LOOKUPS, *HASHES)


@dataclass(frozen=True)
class Front:
    """The calls of such layers in front of a model.

    Attributes:
        layers: By the name of the new input the layer that gives it.
        tensors: What these calls give, in that order.
        given: The names of the model's own inputs.
        names: The names of the inputs that are left, new ones among them.
        inputs: The tensors that are left, nested as ``keras.Model`` takes them.
    """

    layers: dict[str, Any]
    tensors: list[Any]
    given: list[str]
    names: list[str]
    inputs: Any


def front_of(model: Any) -> Front | None:
    """The last calls of tables and hashes on the way from a model's inputs to its outputs; None without any.

    Raises:
        ConversionError: One of them reads numbers that the model computes with as well.
    """
    structure = symbolic_structure(model)
    own = {id(tensor): (key or tensor.name.split(":")[0], tensor) for key, tensor in flatten(structure)}
    reached = list(_behind(dependencies.tensorflow().nest.flatten(model.outputs), set(own), stop=True))
    cuts = sorted((t for t in reached if id(t) not in own), key=lambda tensor: _place(model, tensor))
    if not cuts:
        return None
    left = {id(tensor) for tensor in reached if id(tensor) in own}
    _check_numbers(cuts, own, left)
    layers: dict[str, Any] = {}
    named = {name: tensor for key, (name, tensor) in own.items() if key in left}
    for tensor in cuts:
        layer = _maker(tensor)[0]
        layers[_free(layer.name, {*layers, *named})] = layer
    named |= dict(zip(layers, cuts, strict=True))
    if isinstance(structure, dict):
        return Front(layers, cuts, _names(own), sorted(named), named)
    names = sorted(named, key=lambda name: _first(named[name], list(own)))
    return Front(layers, cuts, _names(own), names, [named[name] for name in names])


def _names(own: dict[int, tuple[str, Any]]) -> list[str]:
    return [name for name, _ in own.values()]


def _first(tensor: Any, own: list[int]) -> int:
    """The place of the first of a model's inputs that a tensor is computed of."""
    return min((own.index(id(found)) for found in _behind([tensor], set(own), stop=False)), default=0)


def check_tables(calls: Iterable[Any]) -> None:
    """Refuses tables and hashes inside a traced model, which have no operator.

    Args:
        calls: The layer calls of the trace.

    Raises:
        ConversionError: Names the first and says what can be done.
    """
    for call in calls:
        if is_table(call.layer):
            kind = (
                "looks values up in a table"
                if type(call.layer).__name__ in LOOKUPS
                else "computes a hash of text"
            )
            raise ConversionError(
                f"Layer {call.path!r} ({type(call.layer).__name__}) {kind}, for which ONNX has no operator. Convert a "
                f"model that takes what this layer gives: give that an input of its own, keras.Input(...), and call "
                f"the layer in front of the model."
            )


def _maker(tensor: Any) -> tuple[Any, list[Any]]:
    """The layer or operation that gives a symbolic tensor, and what that call of it takes."""
    history = tensor._keras_history
    layer = getattr(history, "operation", None) or history.layer
    node = layer._inbound_nodes[history.node_index]
    return layer, list(dependencies.tensorflow().nest.flatten(node.input_tensors))


def _place(model: Any, tensor: Any) -> tuple[int, int]:
    layer, _ = _maker(tensor)
    layers = list(model.layers)
    return layers.index(layer) if layer in layers else len(layers), tensor._keras_history.node_index


def _behind(tensors: list[Any], own: set[int], stop: bool) -> Iterator[Any]:
    """The model's inputs that tensors are computed of, and where to stop at tables, what those give."""
    waiting, seen = list(tensors), set[int]()
    while waiting:
        tensor = waiting.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        if id(tensor) in own:
            yield tensor
            continue
        layer, inputs = _maker(tensor)
        if stop and is_table(layer):
            yield tensor
        else:
            waiting += inputs


def _check_numbers(cuts: list[Any], own: dict[int, tuple[str, Any]], left: set[int]) -> None:
    """Refuses tables of numbers that the rest of the model reads too: one value would be two inputs then."""
    for cut in cuts:
        layer = _maker(cut)[0]
        for tensor in _behind(_maker(cut)[1], set(own), stop=False):
            kind = getattr(tensor.dtype, "name", tensor.dtype)
            if id(tensor) in left and str(kind).startswith(("float", "bfloat")):
                raise ConversionError(
                    f"Layer {layer.name!r} ({type(layer).__name__}), for which ONNX has no operator, reads the input "
                    f"{own[id(tensor)][0]!r}, which the model computes with as well. Give the layer an input of its "
                    "own; the file takes what the layer gives then."
                )


def _free(name: str, taken: set[str]) -> str:
    """A name that is not taken: "name", "name_2", ..."""
    number, chosen = 1, name
    while chosen in taken:
        number += 1
        chosen = f"{name}_{number}"
    return chosen
