"""The layer table of a converted PyTorch module: values of the graph that equal the outputs of submodules."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from ..common import layer_rows
from ..common.verify import TOLERANCE, TOLERANCE_FLOAT16, difference, values
from .calls import Call

_SCOPES = "pkg.torch.onnx.name_scopes"
_RELUS = {"ReLU": "relu", "ReLU6": "relu6"}


def write_table(
    model: onnx.ModelProto,
    calls: Sequence[Call],
    parts: Mapping[str, dict[str, str]],
    named: Mapping[str, list[str]],
    feeds: Mapping[str, np.ndarray],
    uncalled: Mapping[str, str],
) -> None:
    """Store which value equals which submodule's output in a run of both on the same inputs.

    Args:
        model: The converted model; its metadata is changed.
        calls: The calls of the submodules in that run.
        parts: Name of each node of the exported program -> the calls that it is part of.
        named: Call -> its nodes in the program and those that they read.
        feeds: The inputs of that run by their names in the model.
        uncalled: Path and class of the submodules that do not run.
    """
    graph = model.graph
    inside = {node.name: parts.get(_exported_name(node), {}) for node in graph.node}
    computed = {name for node in graph.node for name in node.output} | set(feeds)
    candidates = {call.path: list(_leaving(graph, inside, call.path)) for call in calls}
    # A module without a node of its own, as dropout, gives what was there before it.
    without = {path for path, names in candidates.items() if not names}
    for path in without:
        candidates[path] = [name for name in named.get(path, []) if name in computed]
    found = {**feeds, **values(model, [name for names in candidates.values() for name in names], feeds)}
    seen = list(feeds)
    tops = list(dict.fromkeys(call.path.partition(".")[0].partition(layer_rows.CALL)[0] for call in calls))
    rows = []
    for call in calls:
        names = candidates[call.path] + (seen[::-1] if call.path in without else [])
        outputs = [_equal(found, names, expected) for expected in call.outputs]
        seen += [name for name in outputs if name and name not in seen]
        rows.append(_row(graph, call, [name for name in outputs if name], tops))
    layer_rows.note_calls([(call.module, row) for call, row in zip(calls, rows, strict=True)])
    for path, class_name in uncalled.items():
        row = layer_rows.row(path.rpartition(".")[2], None, class_name, path)
        rows.append(row | {"folded": "not called when the model predicts"})
    layer_rows.write_rows(model, "torch", rows)


def _row(graph: onnx.GraphProto, call: Call, outputs: list[str], tops: list[str]) -> dict[str, Any]:
    path, number = call.path.partition(layer_rows.CALL)[::2]
    index = tops.index(path) if path in tops and not number else None
    row = layer_rows.row(path.rpartition(".")[2], index, call.class_name, call.path)
    if not outputs:
        keeping = f"to_onnx(..., keep_layers=[{path!r}]) keeps it"
        told = f"no value of the graph equals its output, merged into others; {keeping}"
        return row | {"folded": told, "can_be_kept": True}
    row["output"] = outputs[0] if len(outputs) == 1 else outputs
    if call.class_name in _RELUS:
        row["relu"] = layer_rows.relu_record(graph, outputs[0], _RELUS[call.class_name])
    return row


def _exported_name(node: onnx.NodeProto) -> str:
    """The name of the exported program's node that a node was made of."""
    text = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), "['']")
    return str(ast.literal_eval(text)[-1])


def _leaving(graph: onnx.GraphProto, inside: dict[str, dict[str, str]], path: str) -> Iterator[str]:
    """The values that nodes of a call make and others read, last first."""
    read_outside = {name for node in graph.node if path not in inside[node.name] for name in node.input}
    read_outside.update(value.name for value in graph.output)
    for node in reversed(graph.node):
        if path in inside[node.name]:
            yield from (name for name in node.output if name in read_outside)


def _equal(found: Mapping[str, np.ndarray], names: list[str], expected: np.ndarray) -> str | None:
    """The first of the values that equals an array."""
    tolerance = TOLERANCE_FLOAT16 if expected.dtype.itemsize == 2 else TOLERANCE
    return next(
        (
            name
            for name in names
            if found[name].shape == expected.shape and difference(found[name], expected) <= tolerance
        ),
        None,
    )
