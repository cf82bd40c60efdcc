"""Quotients of sums that share a term, as e / (1 + e), (a - b) / (a + b) and x / (1 + |x|).

The rule of Div gives what reaches a shared term from above and from below the line. Where the quotient saturates the
two are nearly equal, and their difference has no digit of the derivative. The rules here leave the shared term out.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Sequence

import onnx_ir as ir

from onnxattr.autodiff.groups.matching import made_by, makers, number_of, quotients
from onnxattr.autodiff.groups.registry import Group, group
from onnxattr.autodiff.node import Span
from onnxattr.autodiff.paths import is_float
from onnxattr.autodiff.registry import Cotangent, Rule
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of

#: Coefficients by term; None stands for the number 1.
Sum = dict[ir.Value | None, float]
_MOST_NODES = 8


@group("Div", "Mul")
def quotient(node: ir.Node) -> Group | None:
    """y = p / q, or p * (1 / q), with sums p and q of terms, some of them the same."""
    for p, q, seen in quotients(node):
        inside = set[ir.Value]()
        parts = {*_sum(q, (), inside), *inside}
        above = _sum(p, parts, seen)
        if not any(term in parts and term.const_value is None for term in above if term is not None):
            continue
        below = _sum(q, above, seen)
        return quotient_of(node, [*above, *below], seen, functools.partial(_rule, q, above, below))
    return None


@group("Div", "Mul")
def softsign(node: ir.Node) -> Group | None:
    """y = a x / q, or a x * (1 / q), with q = b |x| + a sum of other terms."""
    for p, q, seen in quotients(node):
        below = _sum(q, (), seen)
        for size in below:
            made = made_by(size, "Abs")
            x = None if made is None else made.inputs[0]
            if size is None or x is None or x in below or (above := _sum(p, {x}, seen)).keys() != {x}:
                continue
            rest = {term: factor for term, factor in below.items() if term is not size}
            return quotient_of(
                node, [x, *rest], {*seen, size}, functools.partial(_softsign_rule, q, above[x], rest)
            )
    return None


def _sum(
    value: ir.Value, whole: Collection[ir.Value | None], seen: set[ir.Value], factor: float = 1.0
) -> Sum:
    """A value as a sum of terms.

    Args:
        value: What is read as a sum.
        whole: Values that are terms, whatever they are made of.
        seen: Gets the sums in between; not more than a few are taken apart.
        factor: What all coefficients are multiplied by.
    """
    if (number := number_of(value)) is not None:
        return {None: number * factor}
    made = made_by(value, "Add", "Sub", "Neg", "Mul", "Div")
    parts = [] if made is None else [source for source in made.inputs if source is not None]
    if made is None or value in whole or len(seen) >= _MOST_NODES:
        return {value: factor}
    if made.op_type in ("Mul", "Div"):
        numbers = [number_of(part) for part in parts]
        scale = numbers[1] if made.op_type == "Div" or numbers[0] is None else numbers[0]
        if not scale or (made.op_type == "Div" and numbers[0] is not None):
            return {value: factor}
        factor *= scale if made.op_type == "Mul" else 1.0 / scale
        parts = [part for part, one in zip(parts, numbers, strict=True) if one is None][:1]
    seen.add(value)
    signs = (1.0, -1.0) if made.op_type == "Sub" else (-1.0,) if made.op_type == "Neg" else (1.0, 1.0)
    total: Sum = {}
    for part, sign in zip(parts, signs, strict=False):
        for term, one in _sum(part, whole, seen, sign * factor).items():
            total[term] = total.get(term, 0.0) + one
    return total


def quotient_of(
    node: ir.Node, terms: Iterable[ir.Value | None], seen: Iterable[ir.Value], rule: Rule
) -> Group | None:
    """The group of a quotient of sums of terms; None where it is not known how far these are broadcast."""
    inputs = tuple(dict.fromkeys(term for term in terms if term is not None))
    if any(dims_of(value) is None or not is_float(value) for value in (*inputs, node.outputs[0])):
        return None
    return Group(
        op_type="Quotient",
        inputs=inputs,
        outputs=(node.outputs[0],),
        name=node.name or "",
        nodes=frozenset({node}),
        through=frozenset(makers(seen)),
        rule=rule,
    )


def _rule(
    q: ir.Value, above: Sum, below: Sum, op: OpBuilder, node: Span, ct: ir.Value
) -> Sequence[Cotangent]:
    """y = p / q with p = sum_j a_j t_j, q = sum_j b_j t_j;  tbar_i = ybar / q * sum_j (a_i b_j - b_i a_j) t_j / q.

    The sum has no t_i.
    """

    def of(term: ir.Value | None) -> Cotangent:
        a, b = above.get(term, 0.0), below.get(term, 0.0)
        weights = {t: a * below.get(t, 0.0) - b * above.get(t, 0.0) for t in {**above, **below}}
        return _scaled(op, ct, weights, q)

    return [of(term) for term in node.inputs]


def _softsign_rule(
    q: ir.Value, a: float, rest: Sum, op: OpBuilder, node: Span, ct: ir.Value
) -> Sequence[Cotangent]:
    """y = a x / q with q = b |x| + r;  xbar = ybar / q * a r / q, rbar = -ybar * y / q."""
    weights = {term: a * factor for term, factor in rest.items()}

    def of(term: ir.Value | None) -> Cotangent:
        return lambda: op.Mul(op.Div(op.Mul(ct, node.y), q), -rest[term])

    return [_scaled(op, ct, weights, q), *map(of, node.inputs[1:])]


def _scaled(op: OpBuilder, ct: ir.Value, weights: Sum, q: ir.Value) -> Cotangent:
    """ct / q * s / q with a sum s; None where it has no term."""
    if not any(weights.values()):
        return None
    return lambda: op.Mul(op.Div(ct, q), op.Div(_added(op, weights, q), q))


def _added(op: OpBuilder, weights: Sum, like: ir.Value) -> ir.Value:
    """A sum of terms as a value."""
    parts = [
        op.constant(weight, like.dtype) if term is None else term if weight == 1 else op.Mul(term, weight)
        for term, weight in weights.items()
        if weight
    ]
    return functools.reduce(op.Add, parts)
