"""What operators of ai.onnx can give, by what they are given; operators that are not named make no infinity.

``at`` holds the ranges of a node's inputs, None for those left out.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.graph.conditions import chosen
from onnxattr.graph.intervals import ANY, FINITE, FLOATS, INF, Range, range_of_array
from onnxattr.graph.range_arithmetic import (
    bounded_by,
    even_power,
    negative,
    power_of,
    product_of,
    quotient_of,
    smallest,
    square,
    sum_of,
)

At = Sequence[Any]

#: Operators whose outputs are elements of their first input, or lie between them.
_MOVES = frozenset(
    """
    Identity Reshape Transpose Squeeze Unsqueeze Expand Flatten Slice Gather GatherElements GatherND Tile Split
    DepthToSpace SpaceToDepth ReverseSequence Compress Unique TopK ReduceMax ReduceMin GlobalMaxPool Cast CastLike
    """.split()
)
#: Operators that bring everything into bounds, infinities too.
_BOUNDED = {
    "Sigmoid": (0.0, 1.0),
    "HardSigmoid": (0.0, 1.0),
    "Tanh": (-1.0, 1.0),
    "Erf": (-1.0, 1.0),
    "Sign": (-1.0, 1.0),
    "Atan": (-1.6, 1.6),
}
#: Where exp is infinite, and where it is 0.
_EXPONENTS = {ir.DataType.DOUBLE: (709.0, -745.0), ir.DataType.FLOAT16: (11.0, -17.0)}

_TABLE: dict[str, Callable[[ir.Node, At, Any], Range]] = {}


def range_of_node(node: ir.Node, dtype: ir.DataType | None, at: At) -> Range:
    """The range of the outputs of a node without subgraphs.

    Args:
        node: The node.
        dtype: The dtype of the output in question.
        at: The ranges of the node's inputs, None for those left out.
    """
    kind = node.op_type if node.domain in ("", "ai.onnx") else ""
    given = [r for r in at if r is not None]
    if kind in _TABLE:
        return _TABLE[kind](node, at, dtype)
    if kind in _MOVES:
        # The positions that TopK and Unique give are integers.
        return given[0] if dtype in FLOATS or kind not in ("TopK", "Unique") else FINITE
    if kind in _BOUNDED:
        return Range(*_BOUNDED[kind], nan=given[0].nan)
    return FINITE if all(r.finite for r in given) else ANY


def _entry(*kinds: str) -> Callable[[Callable[..., Range]], Callable[..., Range]]:
    def register(function: Callable[..., Range]) -> Callable[..., Range]:
        _TABLE.update(dict.fromkeys(kinds, function))
        return function

    return register


@_entry("ReduceMean", "GlobalAveragePool", "Mean")
def _mean(node: ir.Node, at: At, dtype: Any) -> Range:
    parts = at if node.op_type == "Mean" else at[:1]
    result = functools.reduce(Range.or_, parts)
    return bounded_by(result.low, result.high, parts)


@_entry("Add", "Sum")
def _add(node: ir.Node, at: At, dtype: Any) -> Range:
    return sum_of(at)


@_entry("Sub")
def _sub(node: ir.Node, at: At, dtype: Any) -> Range:
    return sum_of([at[0], negative(at[1])])


@_entry("Neg")
def _neg(node: ir.Node, at: At, dtype: Any) -> Range:
    return negative(at[0])


@_entry("Mul")
def _mul(node: ir.Node, at: At, dtype: Any) -> Range:
    if node.inputs[0] is node.inputs[1]:
        return square(at[0], dtype)
    return product_of(*at)


@_entry("Abs")
def _abs(node: ir.Node, at: At, dtype: Any) -> Range:
    (r,) = at
    return Range(
        smallest(r), max(abs(r.low), abs(r.high)), not r.zero, r.whole, above=r.above or r.below, nan=r.nan
    )


@_entry("ReduceSumSquare", "ReduceL1", "ReduceL2")
def _magnitude(node: ir.Node, at: At, dtype: Any) -> Range:
    least = smallest(at[0])
    return even_power(at[0]).within(low=least if node.op_type == "ReduceL1" else min(least, least * least))


@_entry("ReduceSum", "ReduceProd")
def _reduced(node: ir.Node, at: At, dtype: Any) -> Range:
    r = at[0]
    if node.op_type == "ReduceProd":
        return bounded_by(1.0, INF, [r], r.whole) if r.low >= 1 else bounded_by(-INF, INF, [r], r.whole)
    return bounded_by(r.low if r.low >= 0 else -INF, r.high if r.high <= 0 else INF, [r], r.whole)


@_entry("Shape", "Size")
def _size(node: ir.Node, at: At, dtype: Any) -> Range:
    return Range(1.0, INF, True, whole=True)  # Nothing is divided by the size of an empty value.


@_entry("Range")
def _range(node: ir.Node, at: At, dtype: Any) -> Range:
    start, limit, delta = at
    return Range(start.low if delta.low > 0 else -INF, limit.high if delta.low > 0 else INF, whole=True)


@_entry("Relu")
def _relu(node: ir.Node, at: At, dtype: Any) -> Range:
    return Range(max(at[0].low, 0.0), max(at[0].high, 0.0), at[0].low > 0, above=at[0].above, nan=at[0].nan)


@_entry("Softplus")
def _softplus(node: ir.Node, at: At, dtype: Any) -> Range:
    return Range(0.0, INF, above=at[0].above, nan=at[0].nan)


@_entry("Sin", "Cos", "Softsign")
def _wave(node: ir.Node, at: At, dtype: Any) -> Range:
    return Range(-1.0, 1.0, nan=not at[0].finite)


@_entry("Softmax")
def _softmax(node: ir.Node, at: At, dtype: Any) -> Range:
    return Range(0.0, 1.0, nan=not at[0].finite)


@_entry("LogSoftmax")
def _log_softmax(node: ir.Node, at: At, dtype: Any) -> Range:
    return Range(-INF, 0.0, below=not at[0].finite, nan=not at[0].finite)


@_entry("Clip")
def _clip(node: ir.Node, at: At, dtype: Any) -> Range:
    r, low, high = [*at, None, None][:3]
    result = r.within(-INF if low is None else low.low, INF if high is None else high.high)
    # Numbers outside are brought to the bounds.
    bottom = r.low if low is None else max(r.low, low.low)
    top = r.high if high is None else min(r.high, high.high)
    bottom = min(bottom, INF if high is None else high.low)
    top = max(top, -INF if low is None else low.high)
    return Range(bottom, top, bottom > 0 or top < 0, below=result.below, above=result.above, nan=r.nan)


@_entry("Max", "Min")
def _extremum(node: ir.Node, at: At, dtype: Any) -> Range:
    largest = node.op_type == "Max"
    pick = max if largest else min
    low, high, nan = pick(r.low for r in at), pick(r.high for r in at), any(r.nan for r in at)
    below = (all if largest else any)(r.below for r in at)
    above = (any if largest else all)(r.above for r in at)
    return Range(low, high, low > 0 or high < 0, all(r.whole for r in at), below, above, nan)


@_entry("Sqrt")
def _sqrt(node: ir.Node, at: At, dtype: Any) -> Range:
    (r,) = at
    low = math.sqrt(r.low) if r.low > 0 else 0.0
    return Range(low, INF, r.low >= 0 and not r.zero, above=r.above, nan=r.nan or r.below or r.low < 0)


@_entry("Log", "ReduceLogSum")
def _log(node: ir.Node, at: At, dtype: Any) -> Range:
    r = at[0]
    positive = r.low >= 0 and not r.zero
    low = math.log(r.low) if r.low > 0 else -INF
    high = math.log(r.high) if node.op_type == "Log" and 0 < r.high < INF else INF
    return Range(
        low, high, low > 0 or high < 0, below=not positive, above=r.above, nan=r.nan or r.below or r.low < 0
    )


@_entry("Exp", "Sinh", "Cosh")
def _exp(node: ir.Node, at: At, dtype: Any) -> Range:
    (r,) = at
    largest, least = _EXPONENTS.get(dtype, (88.0, -103.0))
    if node.op_type == "Exp":
        low = math.exp(r.low) if r.low > least and r.low < largest else 0.0
        return Range(low, INF, r.low > least and not r.below, above=r.above or r.high > largest, nan=r.nan)
    bounded = r.finite and max(-r.low, r.high) <= largest
    return FINITE if bounded else Range(below=True, above=True, nan=r.nan)


@_entry("Div")
def _div(node: ir.Node, at: At, dtype: Any) -> Range:
    return quotient_of(*at)


@_entry("Reciprocal")
def _reciprocal(node: ir.Node, at: At, dtype: Any) -> Range:
    return quotient_of(Range(1.0, 1.0, True), at[0])


@_entry("Pow")
def _pow(node: ir.Node, at: At, dtype: Any) -> Range:
    return power_of(at[0], at[1], dtype)


@_entry("Acos", "Asin", "Atanh", "Acosh")
def _inverse(node: ir.Node, at: At, dtype: Any) -> Range:
    (r,) = at
    if node.op_type == "Acosh":
        return FINITE if r.finite and r.low >= 1 else ANY
    inside = r.low > -1 and r.high < 1 if node.op_type == "Atanh" else r.low >= -1 and r.high <= 1
    if node.op_type == "Atanh":
        return FINITE if r.finite and inside else ANY
    return Range(-1.6, 3.2, nan=not (r.finite and inside))


@_entry("Mod")
def _mod(node: ir.Node, at: At, dtype: Any) -> Range:
    return FINITE if at[0].finite and at[1].finite and not at[1].zero else ANY


@_entry(
    "LayerNormalization",
    "RMSNormalization",
    "InstanceNormalization",
    "GroupNormalization",
    "BatchNormalization",
)
def _standardised(node: ir.Node, at: At, dtype: Any) -> Range:
    finite = all(r.finite for r in at if r is not None)
    return FINITE if finite and node.attributes.get_float("epsilon", 1e-5) > 0 else ANY


@_entry("Where")
def _where(node: ir.Node, at: At, dtype: Any) -> Range:
    condition, a, b = node.inputs
    either: Range = chosen(condition, a, at[1], True)
    return either.or_(chosen(condition, b, at[2], False))


@_entry("Concat")
def _concat(node: ir.Node, at: Sequence[Range], dtype: Any) -> Range:
    return functools.reduce(Range.or_, at)


@_entry("Pad", "Trilu", "AveragePool", "ScatterElements", "ScatterND")
def _filled(node: ir.Node, at: At, dtype: Any) -> Range:
    """The first operand beside zeros, a fill value or updates."""
    fill = {"Pad": at[2] if len(at) > 2 else None, "ScatterElements": at[-1], "ScatterND": at[-1]}.get(
        node.op_type
    )
    if node.attributes.get_string("reduction", "none") not in ("none", "max", "min"):
        return FINITE if at[0].finite and at[2].finite else ANY
    moved: Range = at[0]
    return moved.or_(fill or Range(0.0, 0.0, whole=True))


@_entry("Constant", "ConstantOfShape")
def _constant(node: ir.Node, at: At, dtype: Any) -> Range:
    attributes = node.attributes
    if "value" in attributes:
        return range_of_array(attributes["value"].as_tensor().numpy())
    if node.op_type == "ConstantOfShape" or "value_float" in attributes:
        return range_of_array(np.array(attributes.get_float("value_float", 0.0)))
    return range_of_array(np.array(attributes.get_floats("value_floats", [])))
