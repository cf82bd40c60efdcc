"""Conditions of the tables on a node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx

_ZEROS = "any but zeros"


@dataclass
class Scope:
    """What is known of the values of a graph and of those around it.

    Attributes:
        types: Element types by name.
        constant: Names of values that no input of the model changes.
        own: Names of the initializers of this graph.
        initializers: Those of the graphs around it.
        readers: The operators that read a value as this input, as (operator, position), by its name.
        shapes: The sizes of a value, by name, None for those that are not known.
    """

    types: dict[str, int] = field(default_factory=dict)
    constant: set[str] = field(default_factory=set)
    own: set[str] = field(default_factory=set)
    initializers: set[str] = field(default_factory=set)
    readers: dict[str, set[tuple[str, int]]] = field(default_factory=dict)
    shapes: dict[str, list[int | None]] = field(default_factory=dict)


def holds(when: Mapping[str, Any], node: onnx.NodeProto, scope: Scope) -> bool:
    """Whether all conditions hold for a node.

    ``computed``: one of the inputs at these positions depends on an input of the model. ``captured``: one of them is an
    initializer of a graph around that of the node. ``types``: the first input is of one of these element types.
    ``uneven_pads``: the pads of both sides differ. ``shared_with``: the initializer at input 1 is read by this operator
    too, which has as many input as output channels. Any other name is an attribute: its value, or "any but zeros".
    """
    return all(_holds(name, wanted, node, scope) for name, wanted in when.items())


def _holds(name: str, wanted: Any, node: onnx.NodeProto, scope: Scope) -> bool:
    def given(position: int) -> str:
        return node.input[position] if position < len(node.input) else ""

    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if name == "computed":
        return any(given(p) and given(p) not in scope.constant for p in wanted)
    if name == "captured":
        return any(given(p) in scope.initializers and given(p) not in scope.own for p in wanted)
    if name == "types":
        kinds = {onnx.TensorProto.DataType.Value(kind) for kind in wanted}
        return scope.types.get(given(0)) in kinds
    if name == "uneven_pads":
        pads = list(attributes.get("pads", []))
        half = len(pads) // 2
        return (pads[:half] != pads[half:]) is wanted
    if name == "shared_with":
        shape = scope.shapes.get(given(1)) or [None, 0]
        return (wanted, 1) in scope.readers.get(given(1), set()) and shape[0] == shape[1]
    value = attributes.get(name)
    if isinstance(value, bytes):
        value = value.decode()
    if wanted == _ZEROS:
        return any(value or [])
    return bool(value == wanted)
