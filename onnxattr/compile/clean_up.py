"""The last steps of every rewritten model: merge what is equal, drop what is unused, serialise."""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import (
    CommonSubexpressionEliminationPass,
    RemoveUnusedNodesPass,
    RemoveUnusedOpsetsPass,
)

from onnxattr.graph.subgraphs import prune
from onnxattr.loading.passes.cast_pairs import read_before_cast_pairs


def clean(model: ir.Model) -> None:
    """Merges equal nodes of a rewritten model and drops unused ones."""
    prune(model.graph)
    read_before_cast_pairs(model.graph)
    CommonSubexpressionEliminationPass()(model)
    RemoveUnusedNodesPass()(model)
    RemoveUnusedOpsetsPass()(model)


def finish(model: ir.Model) -> onnx.ModelProto:
    """Cleans a rewritten model up and serialises it; the types of new values are kept, those of outputs must be set."""
    clean(model)
    return ir.serde.serialize_model(model)
