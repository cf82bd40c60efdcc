"""Types of the results of operators that move, sum or multiply, as ONNX's inference gives them, without asking it.

Most nodes of a gradient that are not elementwise are such. What is not plain is left to inference: ranks that
are not known, axes and shapes that are computed, operands that do not fit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import onnx_ir as ir

from onnxattr.graph.elementwise import broadcast
from onnxattr.graph.values import dims_of

_SINCE = 13
_NUMBERS = frozenset(
    {ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.INT64, ir.DataType.INT32}
)
_ANY = _NUMBERS | {ir.DataType.BOOL}
#: The numbers of all types; 0 is none.
_TYPES = frozenset(dtype.value for dtype in ir.DataType) - {0}
#: Most numbers that a constant of axes or sizes has.
_FEW = 64
Sizes = Sequence[int | str | None] | None


def moved(node: ir.Node, opset: int) -> tuple[ir.DataType, list[int | str | None]] | None:
    """The dtype and the sizes of the output of a node of ai.onnx; None where inference has to say."""
    rule = _RULES.get(node.op_type)
    if rule is None or opset < _SINCE or len(node.outputs) != 1 or None in node.inputs:
        return None
    shapes = [dims_of(value) for value in node.inputs]
    first = node.inputs[0]
    if first is None or first.dtype not in (_NUMBERS if node.op_type in ("MatMul", "ReduceSum") else _ANY):
        return None
    if any(dims is None or any(isinstance(dim, int) and dim < 0 for dim in dims) for dims in shapes):
        return None
    attributes = {name: attribute.value for name, attribute in node.attributes.data.items()}
    sizes = rule(node, shapes, attributes)
    if sizes is None:
        return None
    if node.op_type == "Cast":
        to = attributes.get("to")
        return (ir.DataType(to), list(sizes)) if to in _TYPES else None
    return (ir.DataType.INT64 if node.op_type == "Shape" else first.dtype), list(sizes)


def _numbers(value: ir.Value | None) -> list[int] | None:
    """What a vector of few integers holds, where it is constant."""
    tensor = None if value is None else value.const_value
    if tensor is None or tensor.dtype != ir.DataType.INT64 or tensor.size > _FEW or len(tensor.shape) != 1:
        return None
    return [int(number) for number in tensor.numpy()]


def _axes(node: ir.Node, rank: int) -> set[int] | None:
    """The axes in the second input, from 0 on; None unless they are constant, each once and within the rank."""
    given = _numbers(node.inputs[1]) if len(node.inputs) == 2 else None
    if not given or not all(-rank <= axis < rank for axis in given):
        return None
    axes = {axis % rank for axis in given}
    return axes if len(axes) == len(given) else None


def _shape(node: ir.Node, shapes: Sequence[Any], attributes: dict[str, Any]) -> Sizes:
    rank = len(shapes[0])
    return [len(range(rank)[attributes.get("start", 0) : attributes.get("end", rank)])]


def _transpose(node: ir.Node, shapes: Sequence[Any], attributes: dict[str, Any]) -> Sizes:
    (dims,) = shapes
    perm = list(attributes.get("perm", range(len(dims))[::-1]))
    return [dims[axis] for axis in perm] if sorted(perm) == [*range(len(dims))] else None


def _unsqueeze(node: ir.Node, shapes: Sequence[Any], attributes: dict[str, Any]) -> Sizes:
    count = shapes[1][0] if len(shapes) == 2 and len(shapes[1]) == 1 else None
    axes = _axes(node, len(shapes[0]) + count) if isinstance(count, int) else None
    if axes is None:
        return None
    left = iter(shapes[0])
    return [1 if axis in axes else next(left) for axis in range(len(shapes[0]) + len(axes))]


def _squeeze(node: ir.Node, shapes: Sequence[Any], attributes: dict[str, Any]) -> Sizes:
    axes = _axes(node, len(shapes[0]))
    if axes is None or any(shapes[0][axis] != 1 for axis in axes):
        return None
    return [dim for axis, dim in enumerate(shapes[0]) if axis not in axes]


def _reduce_sum(node: ir.Node, shapes: Sequence[Any], attributes: dict[str, Any]) -> Sizes:
    axes = _axes(node, len(shapes[0]))
    if axes is None:
        return None
    kept = attributes.get("keepdims", 1)
    return [1 if axis in axes else dim for axis, dim in enumerate(shapes[0]) if kept or axis not in axes]


def _reshape(node: ir.Node, shapes: Sequence[Any], attributes: dict[str, Any]) -> Sizes:
    target, dims = _numbers(node.inputs[1]), shapes[0]
    if target is None or 0 in target or target.count(-1) > 1 or min(target, default=1) < -1:
        return None
    number = math.prod(target)
    if not all(isinstance(dim, int) for dim in dims):
        return target if number > 0 else None
    count = math.prod(dims)
    if -1 not in target:
        return target if count == number else None
    return [-count // number if size == -1 else size for size in target] if count % number == 0 else None


def _concat(node: ir.Node, shapes: Sequence[Any], attributes: dict[str, Any]) -> Sizes:
    first, axis = shapes[0], attributes.get("axis")
    dtypes = {value.dtype for value in node.inputs if value is not None}
    if axis is None or not -len(first) <= axis < len(first) or len(dtypes) > 1:
        return None
    axis %= len(first)
    rest = [dim for index, dim in enumerate(first) if index != axis]
    if None in rest or any(len(s) != len(first) or [*s[:axis], *s[axis + 1 :]] != rest for s in shapes):
        return None
    parts = [dims[axis] for dims in shapes]
    total = parts[0] if len(parts) == 1 else sum(parts) if all(isinstance(p, int) for p in parts) else None
    return [*first[:axis], total, *first[axis + 1 :]]


def _matmul(node: ir.Node, shapes: Sequence[Any], attributes: dict[str, Any]) -> Sizes:
    left, right = shapes
    (a, b), same = (left[-1:], right[-2:-1]), node.inputs[0].dtype == node.inputs[1].dtype  # type: ignore[union-attr]
    if min(len(left), len(right)) < 2 or a != b or a == [None] or not same:
        return None
    batch = broadcast([left[:-2], right[:-2]])
    return None if batch is None else [*batch, left[-2], right[-1]]


def _expand(node: ir.Node, shapes: Sequence[Any], attributes: dict[str, Any]) -> Sizes:
    target = _numbers(node.inputs[1])
    return broadcast([shapes[0], target]) if target is not None and min(target, default=1) > 0 else None


def _cast(node: ir.Node, shapes: Sequence[Any], attributes: dict[str, Any]) -> Sizes:
    return shapes[0] if "to" in attributes else None


_RULES: dict[str, Callable[[ir.Node, Sequence[Any], dict[str, Any]], Sizes]] = {
    "Shape": _shape, "Transpose": _transpose, "Unsqueeze": _unsqueeze, "Squeeze": _squeeze, "Concat": _concat,
    "ReduceSum": _reduce_sum, "Reshape": _reshape, "MatMul": _matmul, "Expand": _expand, "Cast": _cast,
}  # fmt: skip
