"""The nodes of a file that leave an accelerator, are refused, or are known to be wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import onnx

from onnxattr.graph.fusions import readers_in
from onnxattr.graph.runtimes.conditions import Scope, holds
from onnxattr.graph.runtimes.tables import RUNTIMES, TYPED_BY, TYPES, Table, table_of
from onnxattr.graph.sequences import Sequences
from onnxattr.graph.subgraphs import bodies_of, is_standard

_NAMES: dict[int, str] = {code: name for name, code in TYPES.items()}


class Finding(NamedTuple):
    """A node that a runtime does not compute rightly on its device.

    Attributes:
        node: The node, as the file holds it.
        happens: "leaves", "refused" or "wrong".
        kind: The element type that the kernel is chosen by, as "i64"; "" if it is not known.
        reason: Why.
        minimal: The smallest file that shows it, see ``Known``.
    """

    node: onnx.NodeProto
    happens: str
    kind: str
    reason: str
    minimal: str


def findings_in(model: onnx.ModelProto, runtime: str) -> list[Finding]:
    """What a runtime's table says of a model, node by node, those inside loops and branches too.

    Args:
        model: The model, with the types of its inner values as far as they are known.
        runtime: One of ``RUNTIMES``.

    Raises:
        ParameterError: If there is no table of the runtime.
    """
    table = table_of(runtime)
    return [one for node, scope in _scoped(model.graph, Scope()) for one in _of_node(node, scope, table)]


def known_faults(model: onnx.ModelProto) -> dict[str, list[str]]:
    """Why a file is refused or wrong, by runtime; without those that are not known to do either."""
    faults = {}
    # Every export comes here: a node is looked at once for all tables, and only a table that knows a fault of its
    # operator which was shown by a file is asked.
    nodes = list(_scoped(model.graph, Scope()))
    for runtime in RUNTIMES:
        table = table_of(runtime)
        shown = {known.operator for known in table.known if known.minimal}
        asked = ((node, scope) for node, scope in nodes if node.op_type in shown)
        found = [one for node, scope in asked for one in _of_node(node, scope, table)]
        found = [one for one in found if one.happens != "leaves" and one.minimal]
        if found:
            faults[runtime] = sorted({f"{one.happens}: {one.node.op_type}, {one.reason}" for one in found})
    return faults


def _scoped(graph: onnx.GraphProto, around: Scope) -> Iterator[tuple[onnx.NodeProto, Scope]]:
    """The nodes of a graph, each followed by those inside it, with the values that are in sight there."""
    scope = _scope_of(graph, around)
    for node in graph.node:
        yield node, scope
        for body in bodies_of(node):
            yield from _scoped(body, scope)


def _of_node(node: onnx.NodeProto, scope: Scope, table: Table) -> Iterator[Finding]:
    if not is_standard(node, node.op_type) or node.op_type == "Constant":
        return
    position = TYPED_BY.get(node.op_type, 0)
    code = scope.types.get(node.input[position]) if position < len(node.input) else None
    kind = _NAMES.get(code or 0, "")
    if table.kernels is not None:
        types = table.kernels.get(node.op_type)
        if types is None or (code is not None and code not in types):
            yield Finding(node, "leaves", kind, "no kernel", "")
            return
    for known in table.known:
        if known.operator == node.op_type and holds(known.when, node, scope):
            yield Finding(node, known.happens, kind, known.reason, known.minimal)


def _scope_of(graph: onnx.GraphProto, around: Scope) -> Scope:
    """The values of a graph; what it reads of the graphs around it is known too."""
    own = {tensor.name for tensor in graph.initializer}
    scope = dataclasses.replace(
        around,
        types=dict(around.types),
        constant=around.constant | own,
        own=own,
        initializers=around.initializers | around.own,
        readers={name: set(readers) for name, readers in around.readers.items()},
        shapes=dict(around.shapes),
        makers=around.makers | {name: node for node in graph.node for name in node.output},
        sequences=Sequences(graph.node),
        values=readers_in(graph),
    )
    for tensor in graph.initializer:
        scope.types[tensor.name], scope.shapes[tensor.name] = tensor.data_type, list(tensor.dims)
    for value in [*graph.input, *graph.output, *graph.value_info]:
        if value.type.HasField("tensor_type"):
            tensor = value.type.tensor_type
            scope.types[value.name] = tensor.elem_type
            if tensor.HasField("shape"):
                sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
                scope.shapes[value.name] = sizes
    for node in graph.node:
        if _is_constant(node, scope):
            scope.constant.update(node.output)
        for position, name in enumerate(node.input):
            scope.readers.setdefault(name, set()).add((node.op_type, position))
    return scope


def _is_constant(node: onnx.NodeProto, scope: Scope) -> bool:
    """Whether a runtime can compute a node before it sees an input of the model."""
    if bodies_of(node) or node.op_type.startswith("Random"):
        return False
    read = [name for name in node.input if name]
    return bool(read or node.op_type == "Constant") and all(name in scope.constant for name in read)
