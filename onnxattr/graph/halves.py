"""What is computed in float32 although its values have 16 bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from onnxattr.graph.intervals import HALVES

if TYPE_CHECKING:
    from onnxattr.graph.builder import OpBuilder


def in_float(op: OpBuilder, value: ir.Value) -> ir.Value:
    """A value in float32 if it has half precision; as it is otherwise."""
    return op.cast(value, ir.DataType.FLOAT) if value.dtype in HALVES else value


def folded_in_float(
    op: OpBuilder, op_type: str, inputs: Sequence[ir.Value | None], attributes: Mapping[str, Any]
) -> ir.Value | None:
    """A ScatterElements or ScatterND that adds or multiplies numbers of 16 bits, computed in float32; else None.

    ONNX Runtime's CPU kernels do not compute it in 16 bits, nor does ONNX Runtime insert casts.
    """
    if op_type not in ("ScatterElements", "ScatterND") or attributes.get("reduction") not in ("add", "mul"):
        return None
    data, indices, updates = inputs
    if data is None or updates is None or data.dtype not in HALVES:
        return None
    wide = [op.cast(value, ir.DataType.FLOAT) for value in (data, updates)]
    (result,) = op.append(op_type, [wide[0], indices, wide[1]], attributes)
    return op.cast(result, data.dtype)
