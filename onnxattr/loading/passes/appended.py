"""Sequences that a Loop appends one element to at every step, written as an output that stacks the elements."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.subgraphs import subgraphs_of
from onnxattr.graph.values import dims_of
from onnxattr.loading.passes.sequences import Contents, Stack, alike, stacked

#: What can read a sequence whose length only a run decides.
_READERS = ("ConcatFromSequence", "SequenceAt", "SequenceLength")


def stack_appended(contents: Contents, op: OpBuilder, node: Any) -> ir.Node | None:
    """Replaces a Loop that appends to sequences by one that stacks what it appends.

    Returns:
        The new Loop; None if the Loop carries no such sequence.
    """
    (body,), count = subgraphs_of(node), len(node.inputs) - 2
    appended = {k: value for k in range(count) if (value := _appended(contents, node, body, k)) is not None}
    if not appended:
        return None
    kept, states, results = (
        [k for k in range(count) if k not in appended],
        node.inputs[2:],
        list(body.outputs),
    )
    inserts = [results[1 + k].producer() for k in appended]
    inner = op.inside(body)
    stacks = [inner.Identity(value) for value in appended.values()]
    body.outputs[:] = [results[0], *(results[1 + k] for k in kept), *results[1 + count :], *stacks]
    body.remove([insert for insert in inserts if insert is not None], safe=True)
    body.inputs[:] = [*body.inputs[:2], *(body.inputs[2 + k] for k in kept)]
    inputs, attributes = [*node.inputs[:2], *(states[k] for k in kept)], list(node.attributes.values())
    # What is replaced holds nothing: neither the body nor the sequences that it starts with.
    node.attributes.clear()
    node.resize_inputs(0)
    name, outputs = op.unique_name("Loop"), len(node.outputs)
    loop = ir.Node("", "Loop", inputs, attributes, num_outputs=outputs, name=name)
    op.graph.insert_before(node, loop)
    old = [*(node.outputs[k] for k in kept), *node.outputs[count:]]
    for value, new in zip(old, loop.outputs, strict=False):
        new.name, new.type, new.shape = op.unique_name(str(value.name)), value.type, value.shape
        contents.replace(op, value, new)
    for (k, element), stack in zip(appended.items(), loop.outputs[len(old) :], strict=True):
        stack.name, stack.type = op.unique_name(f"{element.name}_stack"), element.type
        stack.shape = ir.Shape([None, *(dims_of(element) or [])])
        first = contents.elements(states[k])
        contents.sequences[node.outputs[k]] = stacked(op, first, stack) if first else Stack(stack)
    op.graph.remove(node)
    return loop


def _appended(contents: Contents, node: Any, body: ir.Graph, k: int) -> ir.Value | None:
    """What a Loop appends to its k-th state, if that is a sequence that it does nothing else with."""
    before, after, final = body.inputs[2 + k], body.outputs[1 + k], node.outputs[k]
    first, insert = contents.elements(node.inputs[2 + k]), after.producer()
    if first is None or insert is None or insert.op_type != "SequenceInsert" or len(insert.inputs) > 2:
        return None
    element = insert.inputs[1]
    only_appended = insert.inputs[0] is before and len(before.uses()) == 1 and not after.uses()
    readable = all(reader.op_type in _READERS for reader, _ in final.uses()) and not final.is_graph_output()
    same = element is not None and alike([*first, element]) and _is_fixed(contents, element)
    return element if only_appended and readable and same else None


def _is_fixed(contents: Contents, value: ir.Value) -> bool:
    """Whether a value has the same shape at every step: its sizes are numbers, or those of inputs of the model."""
    return all(isinstance(dim, int) or dim in contents.symbols for dim in dims_of(value) or [])
