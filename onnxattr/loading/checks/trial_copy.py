"""A copy of a model to try inference on, node by node."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from onnxattr.loading.passes.bridge import read_back
from onnxattr.loading.passes.constants import lift_constants


def trial_copy(model: ir.Model, typed: onnx.ModelProto | None = None) -> ir.Model:
    """A copy of a model whose Constant nodes are initializers; functions are left out.

    Args:
        model: The model; the copy shares its weights.
        typed: What onnx's inference made of it, to copy in its place: subgraphs may use one name for several values,
            so that types cannot be taken over by name.
    """
    if typed is None:
        copy = ir.Model(model.graph.clone(), ir_version=model.ir_version)
    else:
        copy = read_back(model, typed, "check sizes of values")
    lift_constants(copy)
    return copy
