"""What nodes cost at one point, estimated from the sizes of their values, in multiplications of a matrix product."""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.graph.multiplications import multiplications
from onnxattr.graph.values import dims_of

#: What a number costs that an operator writes, and one that goes back through it.
WRITTEN, BACK = 12, 24
#: How much slower the multiplications of a product are on the way back.
SLOWER_BACK = 1.4
#: What a number costs in which points are placed: it is gathered, interpolated, and its gradients are summed.
PLACED = 96
#: What sizes are taken to be that the model leaves open.
_OPEN_SIZE = 64


def both_ways(node: ir.Node) -> float:
    """What a node costs forth and back."""
    out = sum(map(numbers, node.outputs))
    return (1 + SLOWER_BACK) * _products(node, out) + (WRITTEN + BACK) * out


def forth(node: ir.Node) -> float:
    """What a node costs forth."""
    out = sum(map(numbers, node.outputs))
    return _products(node, out) + WRITTEN * out


def numbers(value: ir.Value | None) -> int:
    """The numbers of a value for one sample."""
    return math.prod(_sizes(value)[1:])


def widest(graph: ir.Graph) -> int | None:
    """The numbers for one sample of the widest value of a graph; None where some size is not known."""
    values = [*graph.inputs, *(value for node in graph for value in node.outputs if value.uses())]
    known = all(isinstance(dim, int) for value in values for dim in (dims_of(value) or [0, None])[1:])
    return max(map(numbers, values), default=1) if known else None


def _products(node: ir.Node, out: int) -> float:
    first, second = (*node.inputs, None, None)[:2]
    taken, weights = numbers(first), _sizes(second)
    if node.op_type in ("LSTM", "GRU", "RNN"):
        return taken * math.prod(weights[1:-1]) * 2 if weights else 0
    return multiplications(node, out, taken, _sizes(first), weights) or 0


def _sizes(value: ir.Value | None) -> Sequence[int]:
    return [dim if isinstance(dim, int) else _OPEN_SIZE for dim in dims_of(value) or []]
