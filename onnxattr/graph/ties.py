"""Which of several equal elements have a gradient, where an operator takes the largest or the smallest of them.

ONNX does not say it, and frameworks differ; what is known by the source of a model is noted in the ``meta`` of nodes.
"""

from __future__ import annotations

import onnx_ir as ir

#: The key in a node's ``meta``, and what it says: the first alone has a gradient, or all that are equal.
TIES = "ties"
FIRST, SHARED = "first", "shared"


def ties_of(node: ir.Node, usual: str) -> str:
    """What is noted of a node, or else what is usual of its operator."""
    found: str = node.meta.get(TIES, usual)
    return found
