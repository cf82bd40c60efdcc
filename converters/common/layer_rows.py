"""The rows of a layer table, as every converter writes them into a model's metadata."""

import base64
import difflib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import onnx

from onnxattr.errors import ConversionError
from onnxattr.loading.layers import METADATA_KEY, VIEWS_KEY

from . import graph_edit, onnx_model

VERSION = 1
#: Between a layer's path and the number of a call of it, from the second on.
CALL = "#"


def path_of_call(path: str, number: int) -> str:
    """What the table calls a call of a layer: the first is the layer itself, as `layer.output` of Keras is."""
    return path if number == 1 else f"{path}{CALL}{number}"


def note_calls(rows: Sequence[tuple[int, dict[str, Any]]]) -> None:
    """Write into the rows of layers that are called several times how often, and at which other paths.

    Args:
        rows: One for each call, with a number that all calls of one layer have.
    """
    calls: dict[int, list[str]] = {}
    for layer, entry in rows:
        calls.setdefault(layer, []).append(entry["path"])
    for layer, entry in rows:
        if len(calls[layer]) > 1:
            here = entry["path"].partition(CALL)[0]
            entry["calls"] = len(calls[layer])
            elsewhere = [path for path in calls[layer] if path.partition(CALL)[0] != here]
            entry |= {"elsewhere": elsewhere} if elsewhere else {}


def read_rows(converted: onnx.ModelProto) -> list[dict[str, Any]]:
    """The rows of the layer table of a converted model."""
    text = next(entry.value for entry in converted.metadata_props if entry.key == METADATA_KEY)
    rows: list[dict[str, Any]] = json.loads(text)["layers"]
    return rows


def write_rows(converted: onnx.ModelProto, framework: str, rows: list[dict[str, Any]]) -> None:
    """Store a layer table in the metadata."""
    table = {"version": VERSION, "framework": framework, "layers": rows}
    onnx_model.set_property(converted, METADATA_KEY, json.dumps(table))


def detach_views(converted: onnx.ModelProto) -> None:
    """Move the nodes that only the layer table needs, such as transpositions, from the graph to the metadata.

    ONNX Runtime computes every node of a file, and does not fuse a convolution with what follows if a layer's output
    in another layout is computed from the values between: predictions would take up to three times as long.
    """
    views = graph_edit.take_out_dead_nodes(converted.graph)
    onnx_model.prune_initializers(converted)
    if views.node:
        text = base64.b64encode(views.SerializeToString(deterministic=True)).decode()
        onnx_model.set_property(converted, VIEWS_KEY, text)


def row(
    name: str, index: int | None, class_name: str, path: str, output: str | None = None
) -> dict[str, Any]:
    """One row.

    Args:
        name: Name of the layer.
        index: Position among the layers of the model itself; None for layers inside others.
        class_name: Class of the layer.
        path: Names of the enclosing layers and its own.
        output: The value of the graph that equals its output; None if there is none yet.
    """
    return {
        "name": name,
        "index": index,
        "class": class_name,
        "path": path,
        "output": output,
        "folded": None,
        "can_be_kept": False,
        "relu": None,
    }


def outputs_of(row: dict[str, Any]) -> list[str]:
    """The values that equal the outputs of a row's layer."""
    output = row["output"]
    return [] if output is None else [output] if isinstance(output, str) else output


def check_kept(keep: Iterable[str], known: Iterable[str]) -> None:
    """Refuse `keep_layers` that name no layer of a model.

    Args:
        keep: The names; "all" stands for every layer.
        known: Names and paths of the layers that run.

    Raises:
        ConversionError: Names the layer and similar ones.
    """
    names = sorted(set(known))
    for name in sorted({*keep} - {*names, "all"}):
        close = difflib.get_close_matches(str(name), names, n=3) or names[:5]
        raise ConversionError(
            f"keep_layers names {name!r}, which is no layer that the model calls; did you mean one of {close}?"
        )


def relu_record(graph: onnx.GraphProto, output: str, kind: str) -> dict[str, Any] | None:
    """The "relu" entry of a layer whose output is that of a Relu node, or of a Clip as ReLU6 is; None if it is not."""
    node = next((n for n in graph.node if output in n.output and n.op_type in ("Relu", "Clip")), None)
    if node is None:
        return None
    return {"kind": kind, "input": node.input[0], "output": output, "nodes": [node.name], "xplique": True}
