"""A copy of a model to try inference on, node by node."""

from __future__ import annotations

import onnx_ir as ir

from onnxattr.loading.passes.constants import lift_constants


def trial_copy(model: ir.Model) -> ir.Model:
    """A copy of a model, weights shared, whose Constant nodes are initializers; functions are left out."""
    copy = ir.Model(model.graph.clone(), ir_version=model.ir_version)
    lift_constants(copy)
    return copy
