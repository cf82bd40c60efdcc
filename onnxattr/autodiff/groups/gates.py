"""Activations y = x * g(x) that exporters write as products: GELU, its approximation by tanh, and Swish."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.autodiff.groups.matching import (
    Polynomial,
    both_ways,
    is_close,
    made_by,
    multiples_of,
    number_of,
    polynomial,
)
from onnxattr.autodiff.groups.registry import Group, group
from onnxattr.autodiff.node import Span
from onnxattr.autodiff.registry import Cotangent
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of

_MOST_FACTORS = 3


@group("Erf", "Tanh")
def gelu(node: ir.Node) -> Group | None:
    """y = x * P(x) with P = (1 + erf(x / sqrt(2))) / 2, or (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2."""
    nodes = {node}
    plus_one = _plus_one(node.outputs[0], nodes)
    if plus_one is None or node.inputs[0] is None:
        return None
    top, sign = plus_one
    found = _times_x(top, 0.5, nodes)
    if found is None:
        return None
    x, y, weight = found
    inner = polynomial(node.inputs[0], x, nodes)
    if (
        inner is None
        or x.dtype != y.dtype
        or dims_of(x) is None
        or len(dims_of(x) or []) != len(dims_of(y) or [])
    ):
        return None
    if not _matches(inner, _INNER[node.op_type], sign, x):
        return None
    rule = (
        functools.partial(_erf_rule, node, top, sign, weight)
        if node.op_type == "Erf"
        else functools.partial(_tanh_rule, node, top, weight, sign * inner[1], sign * inner[3])
    )
    return Group(
        op_type="Gelu",
        inputs=(x,),
        outputs=(y,),
        name=node.name or "",
        nodes=frozenset(nodes),
        rule=rule,
    )


_ROOT = math.sqrt(2.0 / math.pi)
_INNER: dict[str, Polynomial] = {"Erf": {1: math.sqrt(0.5)}, "Tanh": {1: _ROOT, 3: 0.044715 * _ROOT}}


def _matches(inner: Polynomial, wanted: Polynomial, sign: int, x: ir.Value) -> bool:
    """Whether a polynomial is another, up to a sign."""
    present = {power for power, c in inner.items() if c}
    return present == wanted.keys() and all(is_close(sign * inner[p], c, x) for p, c in wanted.items())


def _plus_one(t: ir.Value, nodes: set[ir.Node]) -> tuple[ir.Value, int] | None:
    """The value 1 + t or 1 - t that is computed of t, and the sign of t; None if nothing else is."""
    for use in t.uses():
        node = use.node
        if made_by(node.outputs[0], "Add", "Sub") is None:
            continue
        for other, mine in both_ways(node):
            if mine is t and number_of(other) == 1 and (node.op_type == "Add" or use.idx == 1):
                nodes.add(node)
                return node.outputs[0], 1 if node.op_type == "Add" else -1
    return None


def _times_x(top: ir.Value, wanted: float, nodes: set[ir.Node]) -> tuple[ir.Value, ir.Value, float] | None:
    """x, y and w of y = w * top * x, as products that follow one another; None if w is not the wanted number."""
    factor, current, other = 1.0, top, None
    for _ in range(_MOST_FACTORS):
        readers = [
            use.node for use in current.uses() if made_by(use.node.outputs[0], "Mul", "Div") is not None
        ]
        if len(readers) != 1:
            return None
        (node,) = readers
        found = next((b for a, b in both_ways(node) if a is current), None)
        number = number_of(found)
        if (
            found is None
            or found is current
            or (node.op_type == "Div" and (not number or node.inputs[0] is not current))
        ):
            return None
        nodes.add(node)
        current = node.outputs[0]
        if number is not None:
            factor *= number if node.op_type == "Mul" else 1 / number
        elif other is None:
            other = found
        else:
            return None
        if other is None:
            continue
        for x in multiples_of(other):
            between = set[ir.Node]()
            scale = (polynomial(other, x, between) or {}).get(1, 0.0)
            if is_close(scale * factor, wanted, current):
                nodes |= between
                return x, current, scale * factor
    return None


def _erf_rule(
    node: ir.Node, top: ir.Value, sign: int, weight: float, op: OpBuilder, span: Span, ct: ir.Value
) -> Sequence[Cotangent]:
    """xbar = ybar * w * (top + 2 * u * exp(-u^2) / sqrt(pi)) with u = x / sqrt(2);  the Erf is that of sign * u."""
    u = node.inputs[0]
    density = op.Exp(op.Sub(math.log(2.0 * weight) - 0.5 * math.log(math.pi), op.Mul(u, u)))
    rest = op.Mul(u, density)
    half = op.Mul(top, weight)
    return (op.Mul(ct, op.Add(half, rest) if sign > 0 else op.Sub(half, rest)),)


def _tanh_rule(
    node: ir.Node,
    top: ir.Value,
    weight: float,
    first: float,
    third: float,
    op: OpBuilder,
    span: Span,
    ct: ir.Value,
) -> Sequence[Cotangent]:
    """xbar = ybar * w * (top + x * (1 - t^2) * u') with t = tanh(u), u = a x + c x^3 and u' = a + 3 c x^2."""
    x, t = span.x, node.outputs[0]
    # Beyond 10 the slope is 0 in any precision, and the powers of x may be infinite.
    near = op.Clip(x, -10.0, 10.0)
    slope = op.Add(op.Mul(op.Mul(near, near), 3.0 * weight * third), weight * first)
    rest = op.Mul(op.Mul(near, slope), op.Sub(1.0, op.Mul(t, t)))
    return (op.Mul(ct, op.Add(op.Mul(top, weight), rest)),)


@group("Sigmoid")
def swish(node: ir.Node) -> Group | None:
    """y = x * sigmoid(a x)."""
    nodes, s = {node}, node.outputs[0]
    found = _times_x(s, 1.0, nodes)
    if found is None or node.inputs[0] is None:
        return None
    x, y, weight = found
    inner = polynomial(node.inputs[0], x, nodes)
    if inner is None or {power for power, c in inner.items() if c} != {1} or x.dtype != y.dtype:
        return None
    if dims_of(x) is None or len(dims_of(x) or []) != len(dims_of(y) or []):
        return None
    return Group(
        op_type="Swish",
        inputs=(x,),
        outputs=(y,),
        name=node.name or "",
        nodes=frozenset(nodes),
        rule=functools.partial(_swish_rule, s, inner[1], weight),
    )


def _swish_rule(
    s: ir.Value, alpha: float, weight: float, op: OpBuilder, span: Span, ct: ir.Value
) -> Sequence[Cotangent]:
    """xbar = ybar * (w s + a y (1 - s)) with y = w x s and s = sigmoid(a x)."""
    rest = op.Sub(1.0, s)
    # Not a * y, which may be infinite where y is not.
    rest = op.Mul(span.y, rest if alpha == 1 else op.Mul(rest, alpha))
    return (op.Mul(ct, op.Add(s if weight == 1 else op.Mul(s, weight), rest)),)
