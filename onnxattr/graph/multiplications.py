"""How many multiplications operators take that are products of matrices: what every estimate of a cost counts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx_ir as ir


def multiplications(
    node: ir.Node, out: int, taken: int, first: Sequence[int], second: Sequence[int]
) -> float | None:
    """The multiplications of a Conv, ConvTranspose, MatMul or Gemm; None for others, and where a rank is not known.

    Args:
        node: The node.
        out: The numbers that are counted of its output.
        taken: Those of its first input.
        first: The sizes of its first input.
        second: The sizes of its second input.
    """
    if node.op_type == "Conv" and len(second) > 2:
        return out * math.prod(second[1:])
    if node.op_type == "ConvTranspose" and len(second) > 2:
        return taken * math.prod(second[1:])
    if node.op_type in ("MatMul", "Gemm") and first:
        return out * (first[0] if node.attributes.get_int("transA", 0) else first[-1])
    return None
