"""Constant nodes, and initializers of subgraphs, as initializers of the main graph."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass

from onnxattr.graph.subgraphs import hoist_initializers


def lift_constants(model: ir.Model) -> bool:
    """Makes all constants of a model initializers of its main graph, in place; whether there were others."""
    lifted = LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    return hoist_initializers(model) or lifted.modified
