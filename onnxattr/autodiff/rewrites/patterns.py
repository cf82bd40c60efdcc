"""What rewrites look for in more than one place: masks, constants, and what rules note of the cotangents they make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.windows import Layout


@dataclass(frozen=True)
class Routed:
    """What the rule of a max-pool notes of the cotangent that it gives: each element is one of the pool's cotangent.

    Attributes:
        x: What was pooled.
        largest: What the pool gave: the element of x at the place where each element of ``ct`` goes.
        ct: The pool's cotangent.
        layout: How its windows lie, padding in numbers; None where a run decides it.
    """

    x: ir.Value
    largest: ir.Value
    ct: ir.Value
    layout: Layout | None = None

    KEY: ClassVar[str] = "routed"

    @classmethod
    def of(cls, value: ir.Value) -> Routed | None:
        """What is noted of a value; None for values that no max-pool's rule gave."""
        found: Routed | None = value.meta.get(cls.KEY)
        return found

    def note(self, value: ir.Value) -> None:
        """Notes it of a value."""
        value.meta[self.KEY] = self


def filled_with(value: ir.Value | None, number: float) -> bool:
    """Whether a value is a constant, or a constant that is expanded, of one number in each element."""
    node = None if value is None else value.producer()
    if node is not None and node.op_type == "Expand":
        value = node.inputs[0]
    tensor = None if value is None else value.const_value
    return tensor is not None and tensor.size == 1 and bool(np.all(tensor.numpy() == number))


@dataclass(frozen=True)
class Threshold:
    """The comparison of a value with a number: ``op_type`` is "Greater" or "Less"."""

    op_type: str
    value: ir.Value
    bound: float

    def build(self, op: OpBuilder, value: ir.Value) -> ir.Value:
        """The same comparison of another value."""
        result: ir.Value = op.node(self.op_type, [value, self.bound])
        return result


def thresholds_of(condition: ir.Value | None) -> list[Threshold]:
    """The comparisons that a mask is made of, all of them true where it is; empty if it is made of others."""
    node = None if condition is None else condition.producer()
    if node is None:
        return []
    if node.op_type == "And":
        parts = [thresholds_of(value) for value in node.inputs]
        return [*parts[0], *parts[1]] if all(parts) else []
    if node.op_type not in ("Greater", "Less"):
        return []
    value, bound = node.inputs
    tensor = None if bound is None else bound.const_value
    if value is None or tensor is None or tensor.size != 1 or tensor.shape.rank():
        return []
    return [Threshold(node.op_type, value, float(tensor.numpy()))]
