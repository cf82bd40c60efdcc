"""The data file beside a model, as its metadata tell it, and which other files of the folder read it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnxattr.errors import OnnxAttrError
from onnxattr.loading.reading.external_data import entry
from onnxattr.loading.reading.own_data import DIGEST, NAME
from onnxattr.loading.reading.source import ModelSource, read_metadata, read_proto


def data_facts(source: ModelSource, metadata: Mapping[str, str]) -> dict[str, Any] | None:
    """Name, size and checksum of the data file of a model, and the other models beside it that name it.

    Args:
        source: The model; None is known of one that is in no file, or reads no such file.
        metadata: Those of the model, whose data have been compared with their checksum.
    """
    if NAME not in metadata or not isinstance(source, (str, os.PathLike)):
        return None
    path, name = Path(source), metadata[NAME]
    # What no weight reads was compared with nothing, wherever the name leads.
    if not any(entry(weight, "location") == name for weight in read_proto(source).graph.initializer):
        return None
    data = path.parent / name
    return {
        "file": name,
        "bytes": data.stat().st_size if data.is_file() else None,
        "sha256": metadata.get(DIGEST),
        "shared_with": [
            other.name
            for other in sorted(path.parent.glob("*.onnx"))
            if other.name != path.name and _names(other, name)
        ],
    }


def _names(path: Path, data: str) -> bool:
    try:
        return read_metadata(path).get(NAME) == data
    except OnnxAttrError:
        return False


def data_lines(facts: Mapping[str, Any] | None) -> list[str]:
    """The facts as text."""
    if facts is None:
        return []
    size = "" if facts["bytes"] is None else f", {facts['bytes']:,} bytes"
    checked = "" if facts["sha256"] is None else "; its checksum is the one that this file was written with"
    lines = ["", "Weights", f"  in {facts['file']}, which belongs beside this file{size}{checked}"]
    if facts["shared_with"]:
        lines.append(f"  shared with {', '.join(facts['shared_with'])}")
    return lines
