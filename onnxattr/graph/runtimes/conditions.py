"""Conditions of the tables on a node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx

from onnxattr.graph.subgraphs import bodies_of, captured_by

_ZEROS = "any but zeros"
_MOVE = ("Flatten", "Identity", "MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


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
        makers: The node that makes a value, by its name.
    """

    types: dict[str, int] = field(default_factory=dict)
    constant: set[str] = field(default_factory=set)
    own: set[str] = field(default_factory=set)
    initializers: set[str] = field(default_factory=set)
    readers: dict[str, set[tuple[str, int]]] = field(default_factory=dict)
    shapes: dict[str, list[int | None]] = field(default_factory=dict)
    makers: dict[str, onnx.NodeProto] = field(default_factory=dict)


def holds(when: Mapping[str, Any], node: onnx.NodeProto, scope: Scope) -> bool:
    """Whether all conditions hold for a node.

    - ``computed``: one of the inputs at these positions depends on an input of the model.
    - ``captured``: one of them is an initializer of a graph around that of the node.
    - ``unknown_size``: one of them has a dimension that does not follow from the file.
    - ``captures_computed``: a body of the node reads a value of a graph around it that is no initializer.
    - ``behind``: one of these operators makes the first input, but for what moves values or takes the largest.
    - ``types``: the first input is of one of these element types.
    - ``uneven_pads``: the pads of both sides differ.
    - ``shared_with``: the initializer at input 1 is read by this operator too, and has as many outputs as inputs. A
      Transpose that reads it stands for the operator that reads the transposed one.
    - Any other name is an attribute: its value, or "any but zeros".
    """
    return all(_holds(name, wanted, node, scope) for name, wanted in when.items())


def _maker(name: str, scope: Scope) -> str:
    """The operator behind a value, but for those that move values or take the largest."""
    maker = scope.makers.get(name)
    while maker is not None and maker.op_type in _MOVE and maker.input[0] in scope.makers:
        maker = scope.makers[maker.input[0]]
    return maker.op_type if maker is not None else ""


def _holds(name: str, wanted: Any, node: onnx.NodeProto, scope: Scope) -> bool:
    def given(position: int) -> str:
        return node.input[position] if position < len(node.input) else ""

    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if name == "computed":
        return any(given(p) and given(p) not in scope.constant for p in wanted)
    if name == "captured":
        return any(given(p) in scope.initializers and given(p) not in scope.own for p in wanted)
    if name == "unknown_size":
        return any(given(p) and None in scope.shapes.get(given(p), [None]) for p in wanted)
    if name == "captures_computed":
        around = scope.own | scope.initializers
        return any(not around.issuperset(captured_by(body)) for body in bodies_of(node)) is wanted
    if name == "behind":
        return _maker(given(0), scope) in wanted
    if name == "types":
        kinds = {onnx.TensorProto.DataType.Value(kind) for kind in wanted}
        return scope.types.get(given(0)) in kinds
    if name == "uneven_pads":
        pads = list(attributes.get("pads", []))
        half = len(pads) // 2
        return (pads[:half] != pads[half:]) is wanted
    if name == "shared_with":
        shape = scope.shapes.get(given(1)) or [None, 0]
        position = 0 if wanted == "Transpose" else 1
        return (wanted, position) in scope.readers.get(given(1), set()) and shape[0] == shape[1]
    value = attributes.get(name)
    if isinstance(value, bytes):
        value = value.decode()
    if wanted == _ZEROS:
        return any(value or [])
    return bool(value == wanted)
