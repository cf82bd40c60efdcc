"""Functions of PyTorch that count and sum what falls into groups, written in operators of ONNX."""

import importlib
from typing import Any

from .elementwise import operators

_FLOAT, _INT32, _INT64, _DOUBLE = 1, 6, 7, 11


def counted(start: Any, end: Any, dtype: int | None = None, **settings: Any) -> Any:
    """start, start + 1, ... below end; the exporter writes a range of two types where one of them is an integer."""
    library = importlib.import_module("onnxscript.function_libs.torch_lib.ops.core")
    if dtype in (None, -1) and (_is_real(start) or _is_real(end)):
        torch = importlib.import_module("torch")
        dtype = _DOUBLE if torch.get_default_dtype() == torch.float64 else _FLOAT
    return library.aten_arange_start(start, end, dtype=-1 if dtype is None else dtype, **settings)


def _is_real(number: Any) -> bool:
    """Whether a number of Python, or one that is computed, is no integer."""
    return isinstance(number, float) or getattr(getattr(number, "dtype", None), "name", "") in (
        "FLOAT",
        "DOUBLE",
    )


def sorted_places(
    sorted_sequence: Any,
    self: Any,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Any = None,
) -> Any:
    """How many of the last axis are smaller than each number, or not larger; NaN is larger than all.

    Raises:
        NotImplementedError: For numbers that a sorter puts in order.
    """
    if sorter is not None:
        raise NotImplementedError("torch.searchsorted with a sorter; sort the sequence itself")
    op, last = operators(), _axis(-1)
    of_all = len(sorted_sequence.shape) == 1  # one sequence for numbers of any shape
    ends = sorted_sequence if of_all else op.Unsqueeze(sorted_sequence, _axis(-2))
    x = op.Unsqueeze(self, last)
    behind = op.Greater(ends, x) if right or side == "right" else op.GreaterOrEqual(ends, x)
    found = op.ReduceSum(op.Cast(op.Not(behind), to=_INT64), last, keepdims=0)
    return op.Cast(found, to=_INT32) if out_int32 else found


def sorted_place_of_number(sorted_sequence: Any, self: float, **settings: Any) -> Any:
    """That of one number."""
    return sorted_places(sorted_sequence, operators().CastLike(self, sorted_sequence), **settings)


def _axis(axis: int) -> Any:
    """An axis as operators of ONNX take it."""
    return operators().Constant(value_ints=[axis])
