"""What sequences and optional values hold, as far as it is known before the model runs."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass, field
from typing import Any

import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of
from onnxattr.loading.constant_values import ConstantValues

#: More parts than this are not told apart: what reads them takes slices of what is split.
_MOST_PARTS = 4096
#: Longer sequences are not followed through what inserts and erases elements one by one.
_MOST_EDITED = 1024


@dataclass(frozen=True)
class EvenParts:
    """A sequence of as many parts of one size as an axis has room for, which may be seen only in a run.

    Attributes:
        x: What is split.
        axis: The axis, counted from the front.
        size: The size of a part, the last of which may be smaller; int64, one element.
    """

    x: ir.Value
    axis: int
    size: ir.Value

    def count(self, op: OpBuilder) -> ir.Value:
        """The number of parts, a vector of one element."""
        length = op.shape(self.x, self.axis, self.axis + 1)
        return op.Div(op.Add(length, op.Sub(self.size, 1)), self.size)

    def at(self, op: OpBuilder, position: ir.Value) -> ir.Value:
        """The part at a position; from the end where that is negative."""
        place = op.Reshape(op.Cast(position, to=ir.DataType.INT64.value), [1])
        place = op.Where(op.Less(place, 0), op.Add(place, self.count(op)), place)
        start = op.Mul(place, self.size)
        return op.Slice(self.x, start, op.Add(start, self.size), [self.axis])

    def joined(self, op: OpBuilder, axis: int, new_axis: bool) -> ir.Value | None:
        """The parts side by side; None where that is something else than what was split."""
        same = axis % len(dims_of(self.x) or [1]) == self.axis and not new_axis
        return op.Identity(self.x) if same else None


@dataclass(frozen=True)
class Stack:
    """A sequence of as many elements of one shape as the first axis of a value is long."""

    value: ir.Value

    def count(self, op: OpBuilder) -> ir.Value:
        """The number of elements, a vector of one element."""
        return op.shape(self.value, 0, 1)

    def at(self, op: OpBuilder, position: ir.Value) -> ir.Value:
        """The element at a position; from the end where that is negative."""
        return op.Gather(self.value, position, axis=0)

    def joined(self, op: OpBuilder, axis: int, new_axis: bool) -> ir.Value | None:
        """The elements side by side."""
        rank = len(dims_of(self.value) or [])
        axis %= rank if new_axis else rank - 1
        order = [*range(1, axis + 1), 0, *range(axis + 1, rank)]
        moved = op.Transpose(self.value, perm=order) if axis else op.Identity(self.value)
        if new_axis:
            return moved
        return op.Reshape(moved, op.Concat(op.shape(moved, 0, axis), [-1], op.shape(moved, axis + 2), axis=0))


@dataclass
class Contents:
    """What is known of the values of these types in one graph and its subgraphs.

    Attributes:
        constants: Looks up constant values.
        replace: Lets all that reads a value read another.
        symbols: The sizes of the model's inputs that have names.
        sequences: The elements of sequences, or how they are made from one value.
        optionals: What optional values hold, None for nothing.
    """

    constants: ConstantValues
    replace: Callable[[OpBuilder, ir.Value, ir.Value], None]
    symbols: Set[str]
    sequences: dict[ir.Value, list[ir.Value] | EvenParts | Stack] = field(default_factory=dict)
    optionals: dict[ir.Value, ir.Value | None] = field(default_factory=dict)

    def holds(self, value: ir.Value | None) -> bool:
        """Whether anything is known of a value."""
        return value in self.sequences or value in self.optionals

    def elements(self, value: ir.Value | None) -> list[ir.Value] | None:
        """The elements of a sequence of known length."""
        held = self.sequences.get(value) if value is not None else None
        return held if isinstance(held, list) else None

    def inside(self, value: ir.Value | None) -> ir.Value | None:
        """What an optional value is known to hold; a value of another type holds itself."""
        if value in self.optionals:
            return self.optionals[value]
        if value is None or value.type is None or isinstance(value.type, ir.OptionalType):
            return None
        return value


def _sequence_at(contents: Contents, op: OpBuilder, node: Any) -> None:
    held, position = contents.sequences.get(node.inputs[0]), contents.constants(node.inputs[1])
    if isinstance(held, (EvenParts, Stack)):
        contents.replace(op, node.outputs[0], held.at(op, node.inputs[1]))
    elif held and position is None and alike(held):
        contents.replace(op, node.outputs[0], stacked(op, held).at(op, node.inputs[1]))
    elif held and position is not None and -len(held) <= position < len(held):
        contents.replace(op, node.outputs[0], held[int(position)])


def alike(values: list[ir.Value]) -> bool:
    """Whether values certainly have one shape."""
    shapes = [dims_of(value) for value in values]
    return all(dims == shapes[0] and dims is not None and None not in dims for dims in shapes)


def stacked(op: OpBuilder, values: list[ir.Value], *more: ir.Value) -> Stack:
    """Values of one shape, and behind them values that are stacks already."""
    parts = [*(op.Unsqueeze(value, [0]) for value in values), *more]
    return Stack(op.Concat(*parts, axis=0) if len(parts) > 1 else parts[0])


def _sequence_construct(contents: Contents, op: OpBuilder, node: Any) -> None:
    contents.sequences[node.outputs[0]] = list(node.inputs)


def _sequence_edit(contents: Contents, op: OpBuilder, node: Any) -> None:
    """SequenceInsert and SequenceErase; without a position, at the end."""
    held, insert = contents.elements(node.inputs[0]), node.op_type == "SequenceInsert"
    place = node.inputs[1 + insert] if len(node.inputs) > 1 + insert else None
    position = contents.constants(place)
    if held is None or len(held) > _MOST_EDITED or (place is not None and position is None):
        return
    edited = list(held)
    if insert:
        edited.insert(len(held) if position is None else int(position), node.inputs[1])
    else:
        del edited[-1 if position is None else int(position)]
    contents.sequences[node.outputs[0]] = edited


def _sequence_length(contents: Contents, op: OpBuilder, node: Any) -> None:
    held = contents.sequences.get(node.inputs[0])
    if isinstance(held, (EvenParts, Stack)):
        contents.replace(op, node.outputs[0], op.Squeeze(held.count(op), [0]))
    elif held is not None:
        contents.replace(op, node.outputs[0], op.constant(len(held), ir.DataType.INT64))


def _split_to_sequence(contents: Contents, op: OpBuilder, node: Any) -> None:
    x, split = node.inputs[0], node.inputs[1] if len(node.inputs) > 1 else None
    dims, sizes = dims_of(x), contents.constants(split)
    if dims is None:
        return
    axis = node.attributes.get_int("axis", 0) % len(dims)
    squeezed = split is None and not node.attributes.get_int("keepdims", 1)
    few = isinstance(dims[axis], int) and int(dims[axis] or 0) <= _MOST_PARTS
    if squeezed and not few:
        order = [axis, *(k for k in range(len(dims)) if k != axis)]
        contents.sequences[node.outputs[0]] = Stack(op.Transpose(x, perm=order) if axis else x)
        return
    if split is None or dims_of(split) == []:
        length, part = dims[axis], 1 if split is None else None if sizes is None else int(sizes)
        if part is not None and part < 1:
            return
        if not isinstance(length, int) or part is None or length > part * _MOST_PARTS:
            size = op.constant([1], ir.DataType.INT64) if split is None else op.Reshape(split, [1])
            size = op.Cast(size, to=ir.DataType.INT64.value)
            contents.sequences[node.outputs[0]] = EvenParts(x, axis, size)
            return
        lengths = op.constant([min(part, length - start) for start in range(0, length, part)])
    else:
        lengths = split
    count = (dims_of(lengths) or [None])[0]
    if isinstance(count, int) and count <= _MOST_PARTS:
        lengths = op.Cast(lengths, to=ir.DataType.INT64.value)
        parts = list(op.node("Split", [x, lengths], {"axis": axis}, outputs=count))
        contents.sequences[node.outputs[0]] = [op.Squeeze(p, [axis]) for p in parts] if squeezed else parts


def _concat_from_sequence(contents: Contents, op: OpBuilder, node: Any) -> None:
    held, axis = contents.sequences.get(node.inputs[0]), node.attributes.get_int("axis")
    new_axis = bool(node.attributes.get_int("new_axis", 0))
    if isinstance(held, (EvenParts, Stack)):
        joined = held.joined(op, axis, new_axis)
        if joined is not None:
            contents.replace(op, node.outputs[0], joined)
    elif held:
        parts = [op.Unsqueeze(value, [axis]) for value in held] if new_axis else held
        contents.replace(op, node.outputs[0], op.Concat(*parts, axis=axis))


def _identity(contents: Contents, op: OpBuilder, node: Any) -> None:
    source, copy = node.inputs[0], node.outputs[0]
    if source in contents.sequences:
        contents.sequences[copy] = contents.sequences[source]
    if source in contents.optionals:
        contents.optionals[copy] = contents.optionals[source]


def _optional(contents: Contents, op: OpBuilder, node: Any) -> None:
    contents.optionals[node.outputs[0]] = node.inputs[0] if node.inputs else None


def _optional_get(contents: Contents, op: OpBuilder, node: Any) -> None:
    held = contents.inside(node.inputs[0])
    if held is not None:
        contents.replace(op, node.outputs[0], held)
        if held in contents.sequences:
            contents.sequences[node.outputs[0]] = contents.sequences[held]


def _optional_has(contents: Contents, op: OpBuilder, node: Any) -> None:
    value = node.inputs[0] if node.inputs else None
    held = contents.inside(value)
    if held is not None or value is None or value in contents.optionals:
        contents.replace(op, node.outputs[0], op.constant(held is not None))


#: What notes or replaces the outputs of these operators.
HANDLERS: dict[str, Callable[[Contents, OpBuilder, Any], None]] = {
    "Identity": _identity,
    "Optional": _optional,
    "OptionalGetElement": _optional_get,
    "OptionalHasElement": _optional_has,
    "SequenceAt": _sequence_at,
    "SequenceConstruct": _sequence_construct,
    "SequenceEmpty": _sequence_construct,
    "SequenceErase": _sequence_edit,
    "SequenceInsert": _sequence_edit,
    "SequenceLength": _sequence_length,
    "ConcatFromSequence": _concat_from_sequence,
    "SplitToSequence": _split_to_sequence,
}
