"""What translations compute in 64 bits."""

from collections.abc import Sequence
from typing import Any

import onnx

from .elementwise import operators

_DOUBLE = onnx.TensorProto.DOUBLE


def number(value: float) -> Any:
    """A constant of 64 bits."""
    return operators().Constant(value=onnx.helper.make_tensor("", _DOUBLE, [], [value]))


def widened(x: Any) -> Any:
    """A value in 64 bits."""
    return operators().Cast(x, to=_DOUBLE)


def polynomial(x: Any, factors: Sequence[float]) -> Any:
    """That of the factors, which begin with that of the highest power."""
    op = operators()
    total = number(factors[0])
    for factor in factors[1:]:
        total = op.Add(op.Mul(total, x), number(factor))
    return total
