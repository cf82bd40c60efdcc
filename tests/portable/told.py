"""What the runtimes told of the cases of a folder: the lines of told.jsonl that run_python.py and told.mjs write."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def key_of(paths: Iterable[Path]) -> str:
    """Of the files of a case, by their content: a line that was written for other files is not read."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def told(folder: Path, runtime: str) -> dict[str, dict[str, Any]]:
    """By case: "refused" with the reason, or the times; cases that were not run are missing.

    Args:
        folder: Of ``manifest.json``, whose keys say which lines still hold.
        runtime: The folder of the results in it.
    """
    path = folder / runtime / "told.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    keys = {entry["name"]: entry["key"] for entry in json.loads((folder / "manifest.json").read_text())}
    found = (json.loads(line) for line in lines)
    return {one["name"]: one for one in found if keys.get(one["name"]) == one["key"]}
