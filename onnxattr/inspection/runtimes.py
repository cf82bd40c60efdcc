"""What ``onnxattr inspect --runtime`` says: nodes that leave an accelerator, are refused, or are known to be wrong."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import onnx

from onnxattr.graph.runtimes import RUNTIMES, WHAT_HAPPENS, Finding, findings_in, table_of
from onnxattr.graph.subgraphs import bodies_of
from onnxattr.loading.reading.source import ModelSource, read_proto

__all__ = ["RUNTIMES", "findings", "runtime_facts", "runtime_lines"]

_HEADINGS = {
    "leaves": "{count} of {all} nodes {instead}",
    "refused": "{count} nodes are refused: the file does not run",
    "wrong": "{count} nodes are known to be wrong",
}
#: Values that are named in a line.
_LISTED = 4


def findings(source: ModelSource, runtime: str) -> list[Finding]:
    """What a runtime's table says of a model, node by node, those inside loops and branches too.

    Args:
        source: A model, or its file.
        runtime: One of ``RUNTIMES``.

    Raises:
        ParameterError: If there is no table of the runtime.
        ModelError: If the model cannot be read.
    """
    table_of(runtime)
    return findings_in(_typed(read_proto(source)), runtime)


def runtime_facts(source: ModelSource, runtime: str) -> dict[str, Any]:
    """The same as data: the table, the number of nodes, and the findings by operator, type and reason."""
    table, model = table_of(runtime), read_proto(source)
    groups: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for node, happens, kind, reason, _ in findings_in(_typed(model), runtime):
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
