"""Values written anew in ways that keep their digits where the runtime's lose them: 1 - s where s is close to 1.

A value is held together with its sum with 1 or -1: a sigmoid s with s - 1, which is minus the sigmoid of -x. Where the
graph computes 1 - s, that is taken. Such parts are carried through products, through what picks values or bounds them,
and into logarithms.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.node import attributes_of
from onnxattr.autodiff.paths import is_float
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import LAYOUTS

#: What moves numbers of its first operand.
MOVES = LAYOUTS | frozenset("Cast Expand Gather GatherElements GatherND Slice Split".split())
#: What gives f(v + k) = f(v) + k.
_MONOTONOUS = MOVES | frozenset("Clip Concat Max Min ReduceMax ReduceMean ReduceMin Where".split())
#: What loses digits where numbers of both signs are added up.
_ADDS = ("Add", "Mean", "ReduceMean", "ReduceSum", "Sub", "Sum")
#: Activations: the one that was met as number i is bit i. Every value of a long sum has a set of them.
Bits = int


@dataclass(frozen=True)
class Number:
    """A value behind the last activations of a graph.

    Attributes:
        value: The value, or the same written anew.
        lost: The activations whose digits it may have lost.
        parts: By k, which is 1 or -1, the value + k.
    """

    value: ir.Value
    lost: Bits = 0
    parts: Mapping[int, Number] = field(default_factory=dict)


def number(op: OpBuilder, node: ir.Node, known: Mapping[ir.Value, Number], lost: Bits) -> list[Number]:
    """The outputs of a node, some of whose operands are known numbers.

    Args:
        op: Builder on the graph.
        node: The node.
        known: The numbers by the graph's values.
        lost: What a sum of the operands loses; none for one of positive numbers.
    """
    operands = [None if value is None else known.get(value, Number(value)) for value in node.inputs]
    if node.op_type in ("Add", "Sub") and (total := _sum(op, node, operands, lost)) is not None:
        return [total]
    values = node.outputs
    before = _lost_of(operands)
    if any(x is not None and x.value is not value for x, value in zip(operands, node.inputs, strict=True)):
        values = _again(op, node, operands)
    parts = _parts(op, node, operands)
    if node.op_type == "Log" and (x := operands[0]) is not None and -1 in x.parts:
        values = (_logarithm(op, x.value, x.parts[-1].value),)
    after = before | lost if node.op_type in _ADDS else before
    return [Number(value, after, found) for value, found in zip(values, parts, strict=True)]


def _lost_of(operands: Iterable[Number | None]) -> Bits:
    """What any of some numbers has lost."""
    return reduce(or_, (x.lost for x in operands if x is not None), 0)


def _again(op: OpBuilder, node: ir.Node, operands: Sequence[Number | None]) -> tuple[ir.Value, ...]:
    """The outputs of a node on other operands."""
    values = [None if x is None else x.value for x in operands]
    return op.append(node.op_type, values, attributes_of(node), len(node.outputs))


def _negative(op: OpBuilder, x: Number) -> Number:
    return Number(op.Neg(x.value), x.lost, {-k: _negative(op, part) for k, part in x.parts.items()})


def _sum(op: OpBuilder, node: ir.Node, operands: Sequence[Number | None], lost: Bits) -> Number | None:
    """x + c of a constant c by the small part of x; None for other sums."""
    for index, (x, other) in enumerate((operands, operands[::-1])):
        tensor = None if other is None else other.value.const_value
        if x is None or tensor is None or not tensor.size:
            continue
        c = tensor.numpy().astype(np.float64)
        if node.op_type == "Sub":
            x, c = (_negative(op, x), c) if index else (x, -c)
        ones = {k: Number(x.value, x.lost) for k in (-1, 1) if (c == -k).all()}  # (x + c) - c
        for k, part in x.parts.items():
            if (c * k >= 0.5).all():
                value = op.Add(part.value, op.constant(c - k, x.value.dtype))
                return Number(value, part.lost, ones)
        if ones:
            value = op.Add(x.value, op.constant(c, x.value.dtype))
            return Number(value, x.lost | lost, ones)
    return None


def _logarithm(op: OpBuilder, x: ir.Value, part: ir.Value) -> ir.Value:
    """log(x) as log(x) / (x - 1) times the small part x - 1.

    x is rounded. That changes the quotient, which is nearly 1 there, by little: Kahan's way to compute log(1 + p).
    """
    rest = op.Sub(x, 1.0)
    one = op.Equal(rest, 0.0)
    return op.Where(one, part, op.Mul(op.Log(x), op.Div(part, op.Where(one, 1.0, rest))))


def _parts(op: OpBuilder, node: ir.Node, operands: Sequence[Number | None]) -> list[dict[int, Number]]:
    """The parts of the outputs of a node by those of its operands."""
    found: list[dict[int, Number]] = [{} for _ in node.outputs]
    if node.op_type == "Neg" and operands[0] is not None:
        found[0].update({-k: _negative(op, part) for k, part in operands[0].parts.items()})
    elif factors := _factors(node, operands):
        found[0].update(_parts_of_product(op, *factors))
    elif node.op_type == "ReduceProd" and (x := operands[0]) is not None and -1 in x.parts:
        found[0][-1] = _part_of_all(op, node, x)
    elif node.op_type in _MONOTONOUS:
        for k in (-1, 1):
            shifted = [_shifted(op, x, k) for x in operands]
            if all(y is not None or x is None for x, y in zip(operands, shifted, strict=True)):
                lost = _lost_of(shifted)
                for parts, value in zip(found, _again(op, node, shifted), strict=True):
                    parts[k] = Number(value, lost)
    return found


def _part_of_all(op: OpBuilder, node: ir.Node, x: Number) -> Number:
    """prod(x) - 1 = exp(l) - 1 = tanh(l / 2) (exp(l) + 1) with l = sum(log(x)), for factors that are not negative."""
    logarithm = _logarithm(op, x.value, x.parts[-1].value)
    kept = attributes_of(node)
    total = op.append("ReduceSum", [logarithm, *node.inputs[1:]], kept)[0]
    value = op.Mul(op.Tanh(op.Mul(total, 0.5)), op.Add(op.Exp(total), 1.0))
    return Number(value, x.lost | x.parts[-1].lost)


def _shifted(op: OpBuilder, x: Number | None, k: int) -> Number | None:
    """x + k: of a constant, or the part of x; x itself for what holds no floats."""
    if x is None or not is_float(x.value):
        return x
    if x.value.const_value is not None:
        return Number(op.constant(x.value.const_value.numpy().astype(np.float64) + k, x.value.dtype))
    return x.parts.get(k)


def _factors(node: ir.Node, operands: Sequence[Number | None]) -> list[Number]:
    """The two factors of a product or a square, if both have parts; else none."""
    square = node.op_type == "Pow" and node.inputs[1] is not None and node.inputs[1].const_value
    if square and (square.numpy() == 2).all():
        operands = [operands[0], operands[0]]
    elif node.op_type != "Mul":
        return []
    found = [x for x in operands if x is not None and x.parts]
    return found if len(found) == 2 else []


def _parts_of_product(op: OpBuilder, x: Number, y: Number) -> dict[int, Number]:
    """x y - 1 = x (y - 1) + (x - 1), whose terms have one sign for factors from 0 to 1; (x - 1) (x + 1) of a square.

    Factors from -1 to 0: x y - 1 = x (y + 1) - (x + 1).
    """
    if x.value is y.value and len(x.parts) == 2:
        low, high = x.parts[-1], x.parts[1]
        return {-1: Number(op.Mul(low.value, high.value), low.lost | high.lost)}
    k = next((k for k in (-1, 1) if k in x.parts and k in y.parts), None)
    if k is None:
        return {}
    rest = x.parts[k]
    value = (op.Add if k == -1 else op.Sub)(op.Mul(x.value, y.parts[k].value), rest.value)
    return {-1: Number(value, x.lost | rest.lost | y.parts[k].lost)}
