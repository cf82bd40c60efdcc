"""The nodes of a file that leave an accelerator, are refused, or are known to be wrong."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import onnx

from onnxattr.graph.subgraphs import bodies_of, is_standard
from onnxattr.inspection.runtimes.conditions import Scope, holds
from onnxattr.inspection.runtimes.tables import TYPED_BY, TYPES, WHAT_HAPPENS, Table, table_of
from onnxattr.loading.reading.source import ModelSource, read_proto

_NAMES: dict[int, str] = {code: name for name, code in TYPES.items()}
_HEADINGS = {
    "leaves": "{count} of {all} nodes {instead}",
    "refused": "{count} nodes are refused: the file does not run",
    "wrong": "{count} nodes are known to be wrong",
}
#: Values that are named in a line.
_LISTED = 4


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


def findings(source: ModelSource, runtime: str) -> list[Finding]:
    """What a runtime's table says of a model, node by node, those inside loops and branches too.

    Args:
        source: A model, or its file.
        runtime: One of ``RUNTIMES``.

    Raises:
        ParameterError: If there is no table of the runtime.
        ModelError: If the model cannot be read.
    """
    table = table_of(runtime)
    return list(_of_graph(_typed(read_proto(source)).graph, Scope(), table))


def runtime_facts(source: ModelSource, runtime: str) -> dict[str, Any]:
    """The same as data: the table, the number of nodes, and the findings by operator, type and reason."""
    table, model = table_of(runtime), read_proto(source)
    groups: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for node, happens, kind, reason, _ in _of_graph(_typed(model).graph, Scope(), table):
        groups[happens, node.op_type, kind, reason].append(node.name or node.output[0])
    return {
        "name": runtime, "title": table.title, "version": table.version, "source": table.source, "notes": table.notes,
        "instead": table.instead, "nodes": _count(model.graph),
        "findings": [
            {"happens": happens, "operator": operator, "type": kind, "reason": reason, "nodes": names}
            for (happens, operator, kind, reason), names in groups.items()
        ],
    }  # fmt: skip


def runtime_lines(source: ModelSource, runtime: str) -> list[str]:
    """The same as text."""
    known = runtime_facts(source, runtime)
    lines = ["", f"On {runtime}: {known['title']} ({known['version']})"]
    lines += [f"  source: {source}" for source in known["source"]]
    for happens in WHAT_HAPPENS:
        found = [one for one in known["findings"] if one["happens"] == happens]
        count = sum(len(one["nodes"]) for one in found)
        if count:
            texts = {"count": count, "all": known["nodes"], "instead": known["instead"]}
            lines += ["", "  " + _HEADINGS[happens].format(**texts)]
        for one in found:
            title = f"{one['operator']} {one['type']}".rstrip()
            lines.append(f"    {len(one['nodes']):>5}  {title:20} {one['reason']}: {_named(one['nodes'])}")
    if not known["findings"]:
        lines += ["", "  No node is known to leave it, to be refused or to be wrong."]
    return lines + [f"  {note}" for note in known["notes"]]


def _named(names: list[str]) -> str:
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")


def _count(graph: onnx.GraphProto) -> int:
    return sum(1 + sum(map(_count, bodies_of(node))) for node in graph.node)


def _typed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the types of inner values, as far as they can be inferred."""
    try:
        return onnx.shape_inference.infer_shapes(model)
    except Exception:  # without a type a node is judged by its operator alone
        return model


def _of_graph(graph: onnx.GraphProto, around: Scope, table: Table) -> Iterator[Finding]:
    scope = _scope_of(graph, around)
    for node in graph.node:
        yield from _of_node(node, scope, table)
        for body in bodies_of(node):
            yield from _of_graph(body, scope, table)


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
