"""What the operators of size arithmetic give on small integer constants, as ONNX's evaluator says, without a node.

To make a node and an evaluator for each takes far longer than the arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

#: Integer constants up to this many elements take part in folding: shapes, pads, axes, window positions.
FOLD_LIMIT = 4096
#: From this opset on axes are an input.
_SINCE = 13
_INTEGERS = (ir.DataType.INT64, ir.DataType.INT32)
_ARITHMETIC: Mapping[str, Any] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Max": np.maximum, "Min": np.minimum,
}  # fmt: skip
_AXES: Mapping[str, Any] = {"Squeeze": np.squeeze, "Unsqueeze": np.expand_dims}


def folded_at_once(
    op_type: str, inputs: Sequence[ir.Value | None], attributes: Mapping[str, Any], opset: int
) -> np.ndarray | None:
    """The result of an operator on integer constants; None for all others, and where the evaluator has to say more."""
    if op_type not in _ARITHMETIC and op_type not in _AXES and op_type != "Concat":
        return None
    tensors = [None if value is None else value.const_value for value in inputs]
    if opset < _SINCE or any(t is None or t.dtype not in _INTEGERS or t.size > FOLD_LIMIT for t in tensors):
        return None
    arrays = [tensor.numpy() for tensor in tensors if tensor is not None]
    try:
        if op_type == "Concat":
            few = sum(array.size for array in arrays) <= FOLD_LIMIT
            return np.concatenate(arrays, attributes["axis"]) if few and _alike(arrays) else None
        if len(arrays) != 2 or attributes or math.prod(max(array.size, 1) for array in arrays) > FOLD_LIMIT:
            return None
        data, other = arrays
        if op_type in _ARITHMETIC:
            return np.asarray(_ARITHMETIC[op_type](data, other)) if _alike(arrays) else None
        return np.asarray(_AXES[op_type](data, axis=tuple(other))) if other.ndim == 1 else None
    except (ValueError, KeyError):  # of axes that are not there, say
        return None


def _alike(arrays: Sequence[np.ndarray]) -> bool:
    """Whether arrays have one dtype."""
    return len({array.dtype for array in arrays}) == 1
