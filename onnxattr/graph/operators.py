"""The operators of ai.onnx as methods, ``op.Mul(a, b)``, one node a call.

Type checkers and editors read their signatures in operators.pyi, which operator_stubs.py writes from ONNX's schemas.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

#: What an operator takes: a value, a literal in the dtype of the other operands, or None for an input left out.
Operand = (
    ir.Value | int | float | bool | Sequence[int] | Sequence[float] | np.ndarray[Any, Any] | np.generic | None
)


class Operators:
    """Turns ``op.Mul(a, b, name=value)`` into ``op.operator("Mul", a, b, name=value)``."""

    def operator(
        self, op_type: str, *operands: Operand, outputs: int | None = None, **attributes: Any
    ) -> Any:
        """Appends a node; see ``OpBuilder.node``."""
        raise NotImplementedError

    def __getattr__(self, op_type: str) -> Callable[..., Any]:
        if op_type.startswith("_") or not op_type[0].isupper():
            raise AttributeError(f"{type(self).__name__} has no attribute {op_type!r}.")
        method = _method(op_type)
        # Found from now on without this search.
        setattr(Operators, op_type, method)
        return method.__get__(self)


def _method(op_type: str) -> Any:
    def method(self: Operators, *operands: Operand, outputs: int | None = None, **attributes: Any) -> Any:
        return self.operator(op_type, *operands, outputs=outputs, **attributes)

    method.__name__ = op_type
    return method
