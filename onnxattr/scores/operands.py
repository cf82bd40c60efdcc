"""Operands of operators on traced arrays: brought to one type, their axes checked; operators that are one node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.errors import OperatorError
from onnxattr.graph.intervals import FLOATS
from onnxattr.scores.arrays import Array

#: Functions of one and of two operands, of which one or more are traced arrays.
Unary = Callable[[Any], Array]
Binary = Callable[[Any, Any], Array]
#: From narrow to wide.
_WIDTH = {ir.DataType.BFLOAT16: 0, ir.DataType.FLOAT16: 1, ir.DataType.FLOAT: 2, ir.DataType.DOUBLE: 3}
#: What operators compute of two truth values, as NumPy: True + True is True.
_OF_TRUTHS = {"Add": "Or", "Mul": "And", "Max": "Or", "Min": "And"}


def common(*given: Any) -> list[Array]:
    """Operands as arrays of one type: what the function brings along takes the type of the traced arrays.

    Raises:
        OperatorError: If none is a traced array, or something is no number.
    """
    traced = [operand for operand in given if isinstance(operand, Array)]
    if not traced:
        raise OperatorError(
            f"The operator calls a function of onnxattr.xp on {', '.join(type(g).__name__ for g in given)}; expected "
            "at least one traced array."
        )
    first, kind = traced[0], traced[0].kind
    for other in traced[1:]:
        kind = wider(kind, other.kind)
    plain = [np.asarray(g) for g in given if not isinstance(g, Array)]
    for array in plain:
        if array.dtype.kind == "f" and kind not in FLOATS:
            kind = first.real
        elif array.dtype.kind in "iu" and kind == ir.DataType.BOOL:
            kind = ir.DataType.INT64
    return [g.astype(kind) if isinstance(g, Array) else first.constant(g, kind) for g in given]


def wider(a: ir.DataType, b: ir.DataType) -> ir.DataType:
    """The type that holds both: floats before integers before booleans, the wider of two."""
    if a in _WIDTH and b in _WIDTH:
        return max(a, b, key=_WIDTH.__getitem__)
    for kind, other in ((a, b), (b, a)):
        if kind in FLOATS or other == ir.DataType.BOOL:
            return kind
    return a if a == b else ir.DataType.INT64


def axes_of(array: Array, axis: Any) -> list[int] | None:
    """Axes as numbers from 0 on; None for all.

    Raises:
        OperatorError: If an array does not have one.
    """
    if axis is None:
        return None
    rank, given = array.ndim, [axis] if isinstance(axis, (int, np.integer)) else list(axis)
    for entry in given:
        if not isinstance(entry, (int, np.integer)) or not -rank <= entry < rank:
            raise OperatorError(
                f"The operator names axis {entry!r:.40} of a traced array of {rank} axes, {array!r}."
            )
    return [int(entry) % rank for entry in given]


def binary(op_type: str, real: bool = False) -> Binary:
    """A function of two operands that is one node; ``real``: integers become real numbers first."""

    def function(a: Any, b: Any) -> Array:
        left, right = common(a, b)
        truths = left.kind == ir.DataType.BOOL and not real
        if truths and op_type == "Sub":
            raise OperatorError(
                f"The operator subtracts truth values, {left!r} and {right!r}, as NumPy does not: use logical_xor, or "
                "astype(int) first."
            )
        if truths and op_type in _OF_TRUTHS:
            return left.new(left.op.node(_OF_TRUTHS[op_type], [left.value, right.value]))
        if real or (left.kind == ir.DataType.BOOL and op_type not in ("Equal", "And", "Or", "Xor")):
            kind = left.real if real else ir.DataType.INT64
            left, right = (v if v.kind in FLOATS else v.astype(kind) for v in (left, right))
        return left.new(left.op.node(op_type, [left.value, right.value]))

    return function


def unary(op_type: str, real: bool = True) -> Unary:
    """A function of one operand that is one node; ``real``: integers become real numbers first."""

    def function(a: Any) -> Array:
        (array,) = common(a)
        array = array.as_real() if real else array
        return array.new(array.op.node(op_type, [array.value]))

    return function


def negated(comparison: Binary) -> Binary:
    """The comparison that is true where another is not."""

    def function(a: Any, b: Any) -> Array:
        found = comparison(a, b)
        return found.new(found.op.Not(found.value))

    return function
