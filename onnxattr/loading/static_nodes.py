"""Resolves what a model decides before it runs: branches with a known condition, sequences and optional values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass, NameFixPass

from onnxattr.builder import OpBuilder, dims_of, values_of
from onnxattr.loading.known_values import KnownArrays
from onnxattr.loading.loop_shapes import infer_shapes
from onnxattr.subgraphs import captures_of, drop, hoist_initializers, nodes_in, prune, subgraphs_of

#: Loops over sequences of up to this many steps are written out.
_MOST_STEPS = 64


def resolve(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Inlines the branches that are always taken, and replaces sequences and optional values by what they hold.

    What only a run decides stays as it is; a model without such operators is left alone.

    Args:
        proto: A model whose large weights may be graph inputs.
        opset: Its ai.onnx opset.

    Returns:
        The model itself if nothing could be resolved, else another with the same inputs and outputs.
    """
    # Every branch that is inlined may let the shapes be known that decide the next one.
    while _RESOLVED & _operators(proto.graph):
        model = ir.serde.deserialize_model(infer_shapes(proto, strict=False))
        LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
        hoist_initializers(model)
        if not _Resolver(model.graph, opset).run():
            break
        NameFixPass()(model)
        proto = ir.serde.serialize_model(model)
    return proto


def _operators(graph: onnx.GraphProto) -> set[str]:
    return {node.op_type for node in nodes_in(graph) if node.domain in ("", "ai.onnx")}


class _Resolver:
    """One walk over a graph. ``_sequences`` and ``_optionals`` hold what is known of values of these types."""

    def __init__(self, graph: ir.Graph, opset: int):
        self._op = OpBuilder(graph, opset, prefix="static")
        self._known = KnownArrays(opset)
        self._sequences: dict[ir.Value, list[ir.Value]] = {}
        self._optionals: dict[ir.Value, ir.Value | None] = {}
        self._changed = False

    def run(self) -> bool:
        """Whether anything was resolved."""
        self._walk(self._op, list(self._op.graph))
        if self._changed:
            prune(self._op.graph)
            self._op.graph.sort()
        return self._changed

    def _walk(self, op: OpBuilder, nodes: Iterable[ir.Node]) -> None:
        for node in nodes:
            handle = _HANDLERS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
            if handle is not None:
                handle(self, op, node)
            else:
                self._fold(op, node)
            for body in subgraphs_of(node) if node.graph is not None else ():
                self._walk(OpBuilder(body, op.opset, prefix=op.prefix, parent=op), list(body))

    def _replace(self, op: OpBuilder, old: ir.Value, new: ir.Value) -> None:
        """Lets all that reads a value read another; a graph output keeps its name."""
        self._changed = True
        if old.is_graph_output():
            copy = op.Identity(new)
            copy.name, old.name = old.name, op.unique_name(str(old.name))
            copy.type, copy.shape = old.type, old.shape
            new = copy
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)

    def _fold(self, op: OpBuilder, node: ir.Node) -> None:
        """Writes known integers down: ONNX's inference follows fewer operators, and shapes depend on them."""
        for value in node.outputs:
            array = self._known(value) if value.uses() and not value.is_graph_output() else None
            if array is not None and array.dtype.kind in "ib":
                self._replace(op, value, op.constant(array))

    def _if(self, op: OpBuilder, node: ir.Node) -> None:
        condition = self._known(node.inputs[0])
        if condition is None:
            return
        body = node.attributes["then_branch" if condition.item() else "else_branch"].as_graph()
        nodes, results = list(body), list(body.outputs)
        body.outputs.clear()
        body.remove(nodes)
        op.graph.insert_before(node, nodes)
        for old, new in zip(node.outputs, results, strict=True):
            self._replace(op, old, new)
        drop(node)
        self._walk(op, nodes)

    def _loop(self, op: OpBuilder, node: Any) -> None:
        """Writes a Loop over sequences out, step by step, where it takes a known number of steps."""
        (body,), trips, go = subgraphs_of(node), self._known(node.inputs[0]), node.inputs[1]
        count, slices = len(node.inputs) - 2, len(body.outputs) - len(node.inputs) + 1
        held = any(v in self._sequences or v in self._optionals for v in (*node.inputs, *captures_of(node)))
        unending = go is None or (self._known(go) is not None and bool(self._known(go)))
        if not held or trips is None or not unending or not self._goes_on(body):
            return
        if trips > _MOST_STEPS or (trips < 1 and slices):
            return
        values: list[ir.Value] = list(node.inputs[2:])
        stacks: list[list[ir.Value]] = [[] for _ in range(slices)]
        for step in range(int(trips)):
            given = [op.constant(step, ir.DataType.INT64), op.constant(True), *values]
            results = self._step(op, node, body, given)
            values = results[1 : 1 + count]
            for stack, value in zip(stacks, results[1 + count :], strict=True):
                stack.append(op.Unsqueeze(value, [0]))
        for old, new in zip(node.outputs, [*values, *(op.Concat(*s, axis=0) for s in stacks)], strict=True):
            self._replace(op, old, new)
        drop(node)

    def _goes_on(self, body: ir.Graph) -> bool:
        """Whether a Loop's body never ends it."""
        go: Any = body.outputs[0]
        while (producer := go.producer()) is not None and producer.op_type == "Identity":
            go = producer.inputs[0]
        known = self._known(go)
        return go is body.inputs[1] or (known is not None and bool(known))

    def _step(self, op: OpBuilder, node: ir.Node, body: ir.Graph, given: list[ir.Value]) -> list[ir.Value]:
        """One step of a Loop as nodes before it, resolved; returns the body's outputs."""
        copy = body.clone(allow_outer_scope_values=True)
        for value in values_of(copy):
            if value.name:
                value.name = op.unique_name(value.name)
            # Sizes that the body calls by one name may differ from step to step.
            value.shape = None
        ir.convenience.replace_all_uses_with(list(copy.inputs), given, replace_graph_outputs=True)
        nodes = list(copy)
        copy.remove(nodes)
        op.graph.insert_before(node, nodes)
        self._walk(op, nodes)
        results = list(copy.outputs)
        copy.outputs.clear()
        return results

    def _sequence_at(self, op: OpBuilder, node: Any) -> None:
        held, position = self._sequences.get(node.inputs[0]), self._known(node.inputs[1])
        if held is not None and position is not None and -len(held) <= position < len(held):
            self._replace(op, node.outputs[0], held[int(position)])

    def _sequence_construct(self, op: OpBuilder, node: Any) -> None:
        self._sequences[node.outputs[0]] = list(node.inputs)

    def _sequence_edit(self, op: OpBuilder, node: Any) -> None:
        """SequenceInsert and SequenceErase; without a position, at the end."""
        held, insert = self._sequences.get(node.inputs[0]), node.op_type == "SequenceInsert"
        place = node.inputs[1 + insert] if len(node.inputs) > 1 + insert else None
        position = self._known(place)
        if held is None or (place is not None and position is None):
            return
        edited = list(held)
        if insert:
            edited.insert(len(held) if position is None else int(position), node.inputs[1])
        else:
            del edited[-1 if position is None else int(position)]
        self._sequences[node.outputs[0]] = edited

    def _sequence_length(self, op: OpBuilder, node: Any) -> None:
        held = self._sequences.get(node.inputs[0])
        if held is not None:
            self._replace(op, node.outputs[0], op.constant(len(held), ir.DataType.INT64))

    def _split_to_sequence(self, op: OpBuilder, node: Any) -> None:
        x, split = node.inputs[0], node.inputs[1] if len(node.inputs) > 1 else None
        dims, sizes = dims_of(x), self._known(split)
        if dims is None or (split is not None and sizes is None):
            return
        axis = node.attributes.get_int("axis", 0) % len(dims)
        if sizes is None or sizes.ndim == 0:
            length, part = dims[axis], 1 if sizes is None else int(sizes)
            if not isinstance(length, int):
                return
            lengths = [min(part, length - start) for start in range(0, length, part)]
        else:
            lengths = [int(size) for size in sizes]
        parts = op.node("Split", [x, lengths], {"axis": axis}, outputs=len(lengths))
        parts = [parts] if len(lengths) == 1 else list(parts)
        if split is None and not node.attributes.get_int("keepdims", 1):
            parts = [op.Squeeze(part, [axis]) for part in parts]
        self._sequences[node.outputs[0]] = parts

    def _concat_from_sequence(self, op: OpBuilder, node: Any) -> None:
        held, axis = self._sequences.get(node.inputs[0]), node.attributes.get_int("axis")
        if held:
            if node.attributes.get_int("new_axis", 0):
                held = [op.Unsqueeze(value, [axis]) for value in held]
            self._replace(op, node.outputs[0], op.Concat(*held, axis=axis))

    def _identity(self, op: OpBuilder, node: Any) -> None:
        source, copy = node.inputs[0], node.outputs[0]
        if source in self._sequences:
            self._sequences[copy] = self._sequences[source]
        if source in self._optionals:
            self._optionals[copy] = self._optionals[source]

    def _optional(self, op: OpBuilder, node: Any) -> None:
        self._optionals[node.outputs[0]] = node.inputs[0] if node.inputs else None

    def _optional_get(self, op: OpBuilder, node: Any) -> None:
        held = self._held(node.inputs[0])
        if held is not None:
            self._replace(op, node.outputs[0], held)
            if held in self._sequences:
                self._sequences[node.outputs[0]] = self._sequences[held]

    def _optional_has(self, op: OpBuilder, node: Any) -> None:
        value = node.inputs[0] if node.inputs else None
        held = self._held(value)
        if held is not None or value is None or value in self._optionals:
            self._replace(op, node.outputs[0], op.constant(held is not None))

    def _held(self, value: ir.Value | None) -> ir.Value | None:
        """What an optional value is known to hold; a value of another type holds itself."""
        if value in self._optionals:
            return self._optionals[value]
        return (
            None if value is None or value.type is None or isinstance(value.type, ir.OptionalType) else value
        )


_HANDLERS = {
    "If": _Resolver._if,
    "Loop": _Resolver._loop,
    "Identity": _Resolver._identity,
    "Optional": _Resolver._optional,
    "OptionalGetElement": _Resolver._optional_get,
    "OptionalHasElement": _Resolver._optional_has,
    "SequenceAt": _Resolver._sequence_at,
    "SequenceConstruct": _Resolver._sequence_construct,
    "SequenceEmpty": _Resolver._sequence_construct,
    "SequenceErase": _Resolver._sequence_edit,
    "SequenceInsert": _Resolver._sequence_edit,
    "SequenceLength": _Resolver._sequence_length,
    "ConcatFromSequence": _Resolver._concat_from_sequence,
    "SplitToSequence": _Resolver._split_to_sequence,
}
_RESOLVED = set(_HANDLERS) - {"Identity", "Loop"}
