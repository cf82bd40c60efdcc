"""Conditions of the tables on a node."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx

from onnxattr.graph.fusions import ARGUMENTS, Readers, is_fused
from onnxattr.graph.sequences import Sequences, tells_all_states
from onnxattr.graph.subgraphs import bodies_of, captured_by
from onnxattr.graph.values import LAYOUTS

#: What an attribute that is a list, or a number, must not be filled with for a condition to hold.
_OTHER_THAN = {"any but zeros": 0, "any but ones": 1}
_ELEMENTWISE = ("Add", "Div", "Max", "Min", "Mul", "PRelu", "Sub", "Sum")
_MOVE = LAYOUTS | {"MaxPool"}


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
        sequences: What reads the same sequences in this graph.
        values: The readers of the values of this graph, see ``graph.fusions``.
    """

    types: dict[str, int] = field(default_factory=dict)
    constant: set[str] = field(default_factory=set)
    own: set[str] = field(default_factory=set)
    initializers: set[str] = field(default_factory=set)
    readers: dict[str, set[tuple[str, int]]] = field(default_factory=dict)
    shapes: dict[str, list[int | None]] = field(default_factory=dict)
    makers: dict[str, onnx.NodeProto] = field(default_factory=dict)
    sequences: Sequences = field(default_factory=lambda: Sequences([]))
    values: Readers = field(default_factory=dict)


def holds(when: Mapping[str, Any], node: onnx.NodeProto, scope: Scope) -> bool:
    """Whether all conditions hold for a node.

    - ``computed``: one of the inputs at these positions depends on an input of the model.
    - ``captured``: one of them is an initializer of a graph around that of the node.
    - ``captured_argument``: one of them is such an initializer, which a Pad or another node takes as an argument that
      runtimes read on the host.
    - ``unknown_size``: one of them has a dimension that does not follow from the file.
    - ``captures_computed``: a body of the node reads a value of a graph around it that is no constant of the file.
    - ``constant_in_static_body``: the body of a Scan, some of whose sizes follow from the file, computes element by
      element with a constant of several elements.
    - ``behind``: one of these operators makes the first input, but for what moves values or takes the largest.
    - ``fused``: ONNX Runtime computes the node as part of the Conv before it.
    - ``types``: the first input is of one of these element types.
    - ``uneven_pads``: the pads of both sides differ.
    - ``shared_with``: the initializer at input 1 is read by this operator too, and has as many outputs as inputs. A
      Transpose that reads it stands for the operator that reads the transposed one.
    - ``scaled_along_sum``: input 1 is a dequantised matrix whose scales lie along the axis that the product sums over.
    - ``nine_in_a_row``: the kernel of a convolution has nine elements along one axis and one along the others, and it
      adds up several channels or has one group.
    - ``shared_start``: several states of a Loop start from one value.
    - ``beside_recurrent``: another LSTM, GRU or RNN, or a Transpose that exchanges time and samples, reads the same
      sequences, of more than one sample, and one of the two is recurrent in one direction and gives all its states.
    - ``given``: there is an input at one of these positions, ``outputs``: an output.
    - ``rank``: the first input has so many dimensions.
    - Any other name is an attribute: its value, "any but zeros" or "any but ones".
    """
    return all(
        _CONDITIONS[name](wanted, node, scope) if name in _CONDITIONS else _attribute(name, wanted, node)
        for name, wanted in when.items()
    )


def _maker(name: str, scope: Scope) -> str:
    """The operator behind a value, but for those that move values or take the largest."""
    maker = scope.makers.get(name)
    while maker is not None and maker.op_type in _MOVE and maker.input[0] in scope.makers:
        maker = scope.makers[maker.input[0]]
    return maker.op_type if maker is not None else ""


def _is_beside_recurrent(node: onnx.NodeProto, scope: Scope) -> bool:
    """Whether a recurrent node and another reader of its sequences meet, and one that is recurrent tells all states."""
    if scope.shapes.get(node.input[0], [None] * 3)[1] == 1:
        return False
    others = scope.sequences.others(node)
    return any(map(tells_all_states, others)) or (bool(others) and tells_all_states(node))


def _is_computed(name: str, scope: Scope) -> bool:
    """Whether a value of a graph is neither an initializer nor made by a Constant."""
    maker = scope.makers.get(name)
    return name not in scope.own | scope.initializers and (maker is None or maker.op_type != "Constant")


def _is_static(node: onnx.NodeProto, attributes: Mapping[str, Any], scope: Scope) -> bool:
    """Whether a state or a slice of a Scan may have the same size in every run."""
    count = attributes["num_scan_inputs"]
    axes = attributes.get("scan_input_axes", [0] * count)
    scanned = list(zip(node.input[-count:], axes, strict=True))
    for name, axis in [*((name, None) for name in node.input[:-count]), *scanned]:
        sizes = list(scope.shapes.get(name, []))
        if sizes and axis is not None:
            del sizes[axis]
        if None not in sizes and (sizes or name not in scope.shapes):
            return True
    return False


def _computes_with_constants(body: onnx.GraphProto, scope: Scope) -> bool:
    """Whether a node of a body computes element by element with a constant that has several elements."""
    sizes = {name: _elements(scope.shapes.get(name)) for name in scope.constant}
    sizes |= {tensor.name: math.prod(tensor.dims) for tensor in body.initializer}
    constant = scope.constant | set(sizes)
    for node in body.node:
        if node.op_type == "Constant" or (node.input and constant.issuperset(filter(None, node.input))):
            constant.update(node.output)
            if node.op_type == "Constant":
                sizes[node.output[0]] = _count(node.attribute[0])
        elif node.op_type in _ELEMENTWISE and any(
            name in constant and sizes.get(name) != 1 for name in node.input
        ):
            return True
    return False


def _elements(sizes: list[int | None] | None) -> int | None:
    """How many elements a value has, None if that is not known."""
    known = [size for size in sizes or [None] if size is not None]
    return math.prod(known) if sizes is not None and len(known) == len(sizes) else None


def _count(attribute: onnx.AttributeProto) -> int:
    """Elements of the value of a Constant."""
    if attribute.name == "value":
        return math.prod(attribute.t.dims)
    return max(len(attribute.floats), len(attribute.ints), len(attribute.strings)) or 1


def _given(node: onnx.NodeProto, position: int) -> str:
    """The name of an input, empty where there is none."""
    return node.input[position] if position < len(node.input) else ""


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def _some_computed(wanted: Any, node: onnx.NodeProto, scope: Scope) -> bool:
    return any(given and given not in scope.constant for given in (_given(node, p) for p in wanted))


def _some_captured(wanted: Any, node: onnx.NodeProto, scope: Scope) -> bool:
    outside = scope.initializers - scope.own
    return any(_given(node, p) in outside for p in wanted)


def _captured_argument(wanted: Any, node: onnx.NodeProto, scope: Scope) -> bool:
    arguments = {(operator, place) for operator, places in ARGUMENTS.items() for place in places}
    outside = scope.initializers - scope.own
    shared = [given for p in wanted if (given := _given(node, p)) in outside]
    return any(arguments & scope.readers.get(one, set()) for one in shared)


def _unknown_size(wanted: Any, node: onnx.NodeProto, scope: Scope) -> bool:
    return any(
        given and None in scope.shapes.get(given, [None]) for given in (_given(node, p) for p in wanted)
    )


def _captures_computed(wanted: Any, node: onnx.NodeProto, scope: Scope) -> bool:
    captured = (name for body in bodies_of(node) for name in captured_by(body))
    return any(_is_computed(name, scope) for name in captured) is wanted


def _constant_in_static_body(wanted: Any, node: onnx.NodeProto, scope: Scope) -> bool:
    bodies = bodies_of(node) if _is_static(node, _attributes(node), scope) else []
    return any(_computes_with_constants(body, scope) for body in bodies) is wanted


def _rank(wanted: Any, node: onnx.NodeProto, scope: Scope) -> bool:
    sizes = scope.shapes.get(_given(node, 0))
    return sizes is not None and len(sizes) in wanted


def _first_type(wanted: Any, node: onnx.NodeProto, scope: Scope) -> bool:
    return scope.types.get(_given(node, 0)) in {onnx.TensorProto.DataType.Value(kind) for kind in wanted}


def _uneven_pads(wanted: Any, node: onnx.NodeProto, scope: Scope) -> bool:
    pads = list(_attributes(node).get("pads", []))
    half = len(pads) // 2
    return (pads[:half] != pads[half:]) is wanted


def _shared_with(wanted: Any, node: onnx.NodeProto, scope: Scope) -> bool:
    weight = _given(node, 1)
    shape = scope.shapes.get(weight) or [None, 0]
    position = 0 if wanted == "Transpose" else 1
    return (wanted, position) in scope.readers.get(weight, set()) and shape[0] == shape[1]


def _scaled_along_sum(wanted: Any, node: onnx.NodeProto, scope: Scope) -> bool:
    maker, summed = scope.makers.get(_given(node, 1)), int(bool(_attributes(node).get("transB")))
    if maker is not None and maker.op_type == "Transpose":
        maker, summed = scope.makers.get(maker.input[0]), 1 - summed
    if maker is None or maker.op_type != "DequantizeLinear" or _attributes(maker).get("block_size"):
        return not wanted
    numbers, scales = (scope.shapes.get(maker.input[position]) or [] for position in (0, 1))
    axis = _attributes(maker).get("axis", 1) % 2
    return (len(numbers) == 2 and len(scales) == 1 and scales != [1] and axis == summed) is wanted


def _nine_in_a_row(wanted: Any, node: onnx.NodeProto, scope: Scope) -> bool:
    _, channels, *sizes = scope.shapes.get(_given(node, 1)) or [None, None]
    grouped = _attributes(node).get("group", 1) > 1 and channels == 1
    return (sorted(size or 0 for size in sizes) == [1] * (len(sizes) - 1) + [9] and not grouped) is wanted


def _attribute(name: str, wanted: Any, node: onnx.NodeProto) -> bool:
    value = _attributes(node).get(name)
    if isinstance(value, bytes):
        value = value.decode()
    if wanted in _OTHER_THAN and isinstance(wanted, str):
        numbers = value if isinstance(value, list) else [] if value is None else [value]
        return any(number != _OTHER_THAN[wanted] for number in numbers)
    return bool(value == wanted)


_CONDITIONS: dict[str, Callable[[Any, onnx.NodeProto, Scope], bool]] = {
    "computed": _some_computed,
    "captured": _some_captured,
    "captured_argument": _captured_argument,
    "unknown_size": _unknown_size,
    "captures_computed": _captures_computed,
    "constant_in_static_body": _constant_in_static_body,
    "behind": lambda wanted, node, scope: _maker(_given(node, 0), scope) in wanted,
    "fused": lambda wanted, node, scope: is_fused(node, scope.makers, scope.values, scope.constant) is wanted,
    "given": lambda wanted, node, scope: any(_given(node, place) for place in wanted),
    "outputs": lambda wanted, node, scope: any(any(node.output[place : place + 1]) for place in wanted),
    "rank": _rank,
    "nine_in_a_row": _nine_in_a_row,
    "shared_start": lambda wanted, node, scope: (len({*node.input[2:]}) < len(node.input[2:])) is wanted,
    "types": _first_type,
    "uneven_pads": _uneven_pads,
    "shared_with": _shared_with,
    "scaled_along_sum": _scaled_along_sum,
    "beside_recurrent": lambda wanted, node, scope: _is_beside_recurrent(node, scope) is wanted,
}
