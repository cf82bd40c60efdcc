"""What an output folder is of: the explainer and the parameters, so that results of two are never mixed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnxattr.errors import ParameterError
from onnxattr.files import whole_file
from onnxattr.running.explainer import Explainer

NAME = ".onnxattr-job.json"


def check_signature(folder: Path, method: Any, parameters: Mapping[str, Any], overwrite: bool) -> None:
    """Writes what a folder is of, or checks that it is of the same.

    Args:
        folder: The folder.
        method: The explainer or method.
        parameters: What else results depend on.
        overwrite: Whether a folder of something else is taken over.

    Raises:
        ParameterError: If the folder is of something else.
    """
    mine = _signature(method, parameters)
    path = folder / NAME
    try:
        kept = json.loads(path.read_text()) if path.exists() else None
    except (ValueError, OSError) as error:
        if not overwrite:
            raise ParameterError(
                f"{path} is damaged ({error}); give another folder, or --overwrite."
            ) from error
        kept = None
    if kept is not None and kept != mine and not overwrite:
        odd = next(key for key in mine if kept.get(key) != mine[key])
        raise ParameterError(
            f"{folder} holds results of another job: its {odd} was {kept.get(odd)!r:.100}, and is {mine[odd]!r:.100} "
            "now. Give another folder, or write all files anew with --overwrite (overwrite=True)."
        )
    if kept != mine:
        with whole_file(path) as file:
            file.write((json.dumps(mine, indent=1) + "\n").encode())


def _signature(method: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    told = method.name if isinstance(method, Explainer) else repr(method)
    entries = {"method": told, "model": [_digest(path) for path in method.files], **parameters}
    found: dict[str, Any] = json.loads(json.dumps(entries, default=str))
    return found


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
