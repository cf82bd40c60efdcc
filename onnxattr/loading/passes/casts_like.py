"""CastLike nodes as the Casts that they are, of which other passes and rules know what they do to integers."""

from __future__ import annotations

import onnx_ir as ir

from onnxattr.autodiff.registry import RuleTable
from onnxattr.autodiff.standard import STANDARD
from onnxattr.graph.subgraphs import is_standard, nodes_of


def write_casts(graph: ir.Graph, rules: RuleTable = STANDARD) -> bool:
    """Writes the CastLike nodes of a graph and its subgraphs as Casts to the type of what they read, in place.

    Args:
        graph: A graph whose types are inferred.
        rules: The rule table that the model is going to be differentiated with; where it has a rule of the caller's own
            for CastLike, they stay.

    Returns:
        Whether there was one.
    """
    found = False
    if rules.get("CastLike") is not STANDARD.get("CastLike"):
        return False
    for node in nodes_of(graph):
        like = node.inputs[1] if is_standard(node, "CastLike") else None
        if like is not None and like.dtype is not None:
            node.op_type = "Cast"
            node.resize_inputs(1)
            node.attributes.add(ir.AttrInt64("to", like.dtype.value))
            found = True
    return found
