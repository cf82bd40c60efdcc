"""The last steps of every rewritten model: drop what is unused, type every output, check, write."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import (
    CommonSubexpressionEliminationPass,
    RemoveUnusedNodesPass,
    RemoveUnusedOpsetsPass,
)

from onnxattr.errors import ParameterError
from onnxattr.subgraphs import prune


def clean(model: ir.Model) -> None:
    """Merges equal nodes of a rewritten model and drops unused ones."""
    prune(model.graph)
    CommonSubexpressionEliminationPass()(model)
    RemoveUnusedNodesPass()(model)
    RemoveUnusedOpsetsPass()(model)


def finish(model: ir.Model) -> onnx.ModelProto:
    """Cleans a rewritten model up and serialises it; the types of new values are kept, those of outputs must be set."""
    clean(model)
    return ir.serde.serialize_model(model)


def write(proto: onnx.ModelProto, path: str | os.PathLike[str]) -> None:
    """Writes a model.

    Raises:
        ParameterError: If the file cannot be written.
    """
    with whole_file(path) as file:
        onnx.save(proto, file)


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Opens a file under a temporary name and renames it at the end: a file of the final name is always whole.

    Raises:
        ParameterError: If the file cannot be written.
    """
    final = Path(path)
    temporary = final.with_name(f".{final.name}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as file:
            yield file
        os.replace(temporary, final)
    except OSError as error:
        raise ParameterError(
            f"{final} cannot be written: {error}. Give the path of a file in a folder."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
