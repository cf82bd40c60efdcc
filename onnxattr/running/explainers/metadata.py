"""What the metadata of an exported file tell, and whether its graph has what they name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import onnx
import onnx_ir as ir

from onnxattr.compile.explainer_file import KEY, describe
from onnxattr.errors import ModelError
from onnxattr.loading.layers import read_layers
from onnxattr.loading.prepared import Prepared
from onnxattr.loading.reading.source import metadata_of, read_metadata
from onnxattr.loading.rows.independence import PROVEN, Rows


def is_explainer(path: str | os.PathLike[str]) -> bool:
    """Whether a file is an exported explainer.

    Raises:
        ModelError: If the file is missing, damaged or not ONNX.
    """
    return describe(read_metadata(path)) is not None


def metadata_told(path: str | os.PathLike[str], proto: onnx.ModelProto) -> dict[str, Any]:
    """What the metadata of a file tell.

    Raises:
        ModelError: If it is no explainer.
    """
    metadata = describe(metadata_of(proto))
    if metadata is None:
        lost = {"prediction", "attribution"} <= {value.name for value in proto.graph.output}
        why = ", though it has outputs of one: a tool has removed its metadata" if lost else ""
        raise ModelError(f"{path} is not an explainer{why}; write one with the export() of a method.")
    return metadata


def rows_told(metadata: Mapping[str, Any]) -> Rows:
    """Whether rows are independent; a file that does not say took that for granted."""
    return Rows(str(metadata.get("rows", PROVEN)), str(metadata.get("rows_why", "")))


def prepared_of(interface: ir.Model, metadata: Mapping[str, Any], rows: Rows) -> Prepared:
    """The model in a file; the name of a layer that is explained stands for the layer's value.

    Args:
        interface: The file's graph.
        metadata: What its metadata tell.
        rows: Whether its rows are independent.
    """
    layers, explained = read_layers(interface.metadata_props), metadata["explained"]
    prepared = Prepared(
        interface, layers, metadata["prediction"], tuple(explained), metadata.get("unit"), rows
    )
    values = prepared.values
    for name, entry in explained.items():
        if name not in values and entry.get("value") in values:
            values[name] = values[entry["value"]]
    return prepared


def seed_told(metadata: Mapping[str, Any]) -> int:
    """The seed that the method had; 0 for a file that does not say."""
    seed = (metadata.get("parameters") or {}).get("seed")
    return seed if isinstance(seed, int) else 0


def results_named(metadata: Mapping[str, Any]) -> list[str]:
    """The outputs that are predictions, attributions and scores; the gaps of a path are small beside rounding."""
    maps = [entry["attribution"] for entry in metadata["explained"].values()]
    score = metadata.get("score", {}).get("output")
    return [
        metadata["prediction"],
        *metadata.get("predictions", {}).values(),
        *maps,
        *([score] if score else []),
    ]


def outputs_named(metadata: Mapping[str, Any]) -> list[str]:
    """All outputs that the metadata of a file name."""
    of_path = (metadata.get(name) for name in ("convergence_delta", "relative_gap", "spent_steps"))
    return [*results_named(metadata), *(name for name in of_path if name is not None)]


def check_interface(
    metadata: Mapping[str, Any], inputs: Mapping[str, ir.Value], outputs: Mapping[str, ir.Value]
) -> None:
    """Checks that a file has the inputs and outputs that its metadata name, and says their types.

    Raises:
        ModelError: If it does not.
    """
    entries = metadata["explained"].values()
    named_inputs = [
        *metadata["inputs"],
        metadata["target"],
        metadata["seed"],
        *(e["baseline"] for e in entries),
    ]
    named = [name for name in (*named_inputs, *outputs_named(metadata)) if name is not None]
    missing = sorted({*named} - {*inputs, *outputs})
    if missing:
        raise ModelError(
            f"The metadata entry {KEY!r} names {missing}, which the file does not have: it "
            "was changed after the export. Export it again."
        )
    untyped = sorted(name for name, value in {**inputs, **outputs}.items() if value.dtype is None)
    if untyped:
        raise ModelError(
            f"The file does not say what elements {untyped} have: it was changed after the export. Export it again."
        )
