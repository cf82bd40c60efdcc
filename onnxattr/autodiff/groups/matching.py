"""What patterns of node groups look for: numbers, and polynomials of a value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx_ir as ir

from onnxattr.graph.subgraphs import is_standard

#: Coefficients by power.
Polynomial = dict[int, float]
_MOST_NODES = 12
#: How far numbers of a dtype may be from what they stand for, relative to that.
_PRECISION = {ir.DataType.FLOAT16: 2e-3, ir.DataType.BFLOAT16: 1e-2}


def number_of(value: ir.Value | None) -> float | None:
    """The number that a constant of one element holds; None for other values."""
    tensor = None if value is None else value.const_value
    if tensor is None or tensor.size != 1 or not tensor.dtype.is_floating_point():
        return None
    return float(tensor.numpy().reshape(-1)[0])


def is_close(number: float | None, wanted: float, value: ir.Value) -> bool:
    """Whether a number is another as near as the dtype of a value can say."""
    precision = _PRECISION.get(value.dtype or ir.DataType.FLOAT, 2e-6)
    return number is not None and abs(number - wanted) <= precision * abs(wanted)


def made_by(value: ir.Value | None, *op_types: str) -> ir.Node | None:
    """The node that computes a value, if it is one of these operators of ai.onnx."""
    node = None if value is None else value.producer()
    return node if node is not None and is_standard(node, *op_types) else None


def makers(values: Iterable[ir.Value]) -> set[ir.Node]:
    """The nodes that compute some values."""
    return {made for value in values if (made := value.producer()) is not None}


def both_ways(node: ir.Node) -> Iterator[tuple[ir.Value, ir.Value]]:
    """The two operands of a node in both orders."""
    a, b = node.inputs[:2]
    if a is not None and b is not None:
        yield a, b
        yield b, a


def quotients(node: ir.Node) -> Iterator[tuple[ir.Value, ir.Value, set[ir.Value]]]:
    """The ways to read a node as p / q: p, q, and the values in between."""
    a, b = node.inputs[:2]
    if node.op_type == "Div" and a is not None and b is not None:
        yield a, b, set()
        return
    for p, inverse in both_ways(node):
        made = made_by(inverse, "Reciprocal", "Div")
        q = None if made is None else made.inputs[-1]
        if (
            made is not None
            and q is not None
            and (made.op_type == "Reciprocal" or number_of(made.inputs[0]) == 1)
        ):
            yield p, q, {inverse}


def multiples_of(value: ir.Value) -> Iterator[ir.Value]:
    """A value, and what it is a multiple of by a number, and so on."""
    for _ in range(_MOST_NODES):
        yield value
        node = made_by(value, "Mul", "Div", "Neg")
        factors = [] if node is None else [source for source in node.inputs if number_of(source) is None]
        if (
            len(factors) != 1
            or factors[0] is None
            or (node is not None and node.inputs[0] is not factors[0] and node.op_type == "Div")
        ):
            return
        value = factors[0]


def polynomial(
    value: ir.Value, x: ir.Value, nodes: set[ir.Node], depth: int = _MOST_NODES
) -> Polynomial | None:
    """A value as a polynomial of another; None if it is none, or one of many nodes.

    Args:
        value: What is read as a polynomial.
        x: The variable.
        nodes: Gets the nodes that compute it.
        depth: How many nodes may follow one another.
    """
    if value is x:
        return {1: 1.0}
    if (number := number_of(value)) is not None:
        return {0: number}
    node = made_by(value, "Add", "Sub", "Mul", "Div", "Neg", "Pow")
    if node is None or depth == 0 or len(nodes) > _MOST_NODES:
        return None
    nodes.add(node)
    parts = [None if v is None else polynomial(v, x, nodes, depth - 1) for v in node.inputs]
    left, right = parts[0], parts[-1]
    if left is None or right is None:
        return None
    if node.op_type == "Neg":
        return {power: -c for power, c in left.items()}
    if node.op_type in ("Add", "Sub"):
        sign = 1 if node.op_type == "Add" else -1
        return {p: left.get(p, 0.0) + sign * right.get(p, 0.0) for p in {*left, *right}}
    if node.op_type == "Mul":
        return _product(left, right)
    constant = right.get(0) if right.keys() == {0} else None
    if node.op_type == "Div":
        return {power: c / constant for power, c in left.items()} if constant else None
    if constant not in (1.0, 2.0, 3.0):
        return None
    result = left
    for _ in range(int(constant) - 1):
        result = _product(result, left)
    return result


def _product(a: Polynomial, b: Polynomial) -> Polynomial:
    result: Polynomial = {}
    for p, c in a.items():
        for q, d in b.items():
            result[p + q] = result.get(p + q, 0.0) + c * d
    return result
