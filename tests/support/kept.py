"""Models that several tests of one run want, each made once: workers share them as files."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import onnx

_FOLDER: list[Path] = []


def use(folder: Path) -> None:
    """Where the models of this run of the tests are kept, by all its workers; conftest.py says so."""
    _FOLDER[:] = [folder]


def once(kind: str, key: str, make: Callable[[], onnx.ModelProto]) -> onnx.ModelProto:
    """A model that is the same each time it is made in one run of the tests.

    Args:
        kind: What it is: the gradient of a row, say.
        key: Which of them it is.
        make: Makes it, where no worker has yet. Nothing is kept where no folder is in use.
    """
    if not _FOLDER:
        return make()
    path = _FOLDER[0] / f"{kind}-{hashlib.sha256(key.encode()).hexdigest()}.onnx"
    if path.exists():
        return onnx.load_from_string(path.read_bytes())
    made = make()
    # Two workers may be here at once: each writes a file of its own, and either is whole.
    own = path.with_suffix(f".{os.getpid()}")
    own.write_bytes(made.SerializeToString())
    os.replace(own, path)
    return made
