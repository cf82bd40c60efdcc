"""What the values of a graph can hold, as far as the graph tells: whether they can be zero, infinite or NaN.

Model inputs and weights count as finite, and sums and products of finite numbers too: overflow of ordinary arithmetic
is not looked for. What makes infinities are operators with poles or edges, such as Log, Sqrt, Div and Exp.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from onnxattr.graph.intervals import ANY, FINITE, FLOATS, TRUTH, Range, range_of_array, rounded
from onnxattr.graph.range_table import range_of_node
from onnxattr.graph.subgraphs import captures_of, subgraphs_of

#: Weights of more elements are not looked at and count as finite.
_LARGEST = 2**22

#: Operators whose constant operands are weights, which are not looked at either.
_WEIGHTED = frozenset("Conv ConvTranspose MatMul Gemm LSTM GRU RNN DeformConv Einsum".split())
#: Operators whose derivative is infinite nowhere but where their last operand is 0.
_STEEP_AT_ZERO = ("Sqrt", "Log", "Reciprocal", "Div")
#: Operators whose derivative is infinite nowhere but where they themselves are infinite or NaN.
_AS_STEEP_AS_HIGH = ("Exp", "Sinh", "Cosh", "Softmax", "LogSoftmax", "ReduceLogSumExp", "ReduceL2", "Mod")
#: Operators that a mask goes through on its way to the scores that it is added to, and what the scores end in.
_ON_THE_WAY = frozenset(
    """
    Add Sub Mul Div Neg Where Identity Cast Reshape Transpose Squeeze Unsqueeze Expand Slice Gather Split Concat Tile
    """.split()
)
_ENDS_OF_SCORES = frozenset("Softmax LogSoftmax ReduceLogSumExp ReduceMax Exp Max Min".split())


def is_mask(value: ir.Value) -> bool:
    """Whether numbers of a model input are added to scores of a softmax or its kin, and so may well be infinite."""
    seen, waiting = {value}, [value] if value.dtype in FLOATS else []
    while waiting:
        for node in {use.node for use in waiting.pop().uses()}:
            if node.op_type in _ENDS_OF_SCORES:
                return True
            found = set(node.outputs) - seen if node.op_type in _ON_THE_WAY else set()
            seen |= found
            waiting.extend(found)
    return False


class Ranges:
    """Looks up the ranges of values; what was found is remembered, so a graph is walked once.

    Bodies of loops: their inputs count as finite until something else is noted of them.
    """

    def __init__(self) -> None:
        self._found: dict[ir.Value, Range] = {}

    def note(self, value: ir.Value, known: Range) -> None:
        """Notes what a value can hold, whatever computes it."""
        self._found[value] = known

    def __contains__(self, value: ir.Value) -> bool:
        """Whether a value was noted or looked up."""
        return value in self._found

    def __call__(self, value: ir.Value) -> Range:
        """The range of a value."""
        waiting = [value]
        while waiting:
            current = waiting[-1]
            if current in self._found:
                waiting.pop()
                continue
            sources = _sources(current)
            missing = [source for source in sources if source not in self._found]
            if missing:
                waiting.extend(missing)
                continue
            self._found[current] = self._find(current)
            waiting.pop()
        return self._found[value]

    def clear(self, node: ir.Node) -> bool:
        """Whether it is proven that a node stays away from the points where its derivative is infinite."""
        if node.op_type.endswith("Normalization"):
            return node.attributes.get_float("epsilon", 0.0 if node.op_type.startswith("Lp") else 1e-5) > 0
        if node.op_type in _STEEP_AT_ZERO:
            last = node.inputs[-1]
            operand = ANY if last is None else self(last)
            return operand.finite and not operand.zero
        return node.op_type in _AS_STEEP_AS_HIGH and self(node.outputs[0]).finite

    def _find(self, value: ir.Value) -> Range:
        if value.const_value is not None:
            return _of_constant(value.const_value)
        node = value.producer()
        if value.dtype == ir.DataType.BOOL:
            return TRUTH
        if node is None:
            return FINITE
        if subgraphs_of(node):
            return FINITE if all(self._found[source].finite for source in _sources(value)) else ANY
        found = [None if source is None else self._found.get(source, FINITE) for source in node.inputs]
        return rounded(range_of_node(node, value.dtype, found), value.dtype)


def _of_constant(tensor: Any) -> Range:
    if tensor.dtype == ir.DataType.STRING or tensor.size > _LARGEST:
        return FINITE
    return range_of_array(tensor.numpy())


def _sources(value: ir.Value) -> list[ir.Value]:
    """The values that must be known before a value's range is."""
    node = value.producer()
    if node is None or value.const_value is not None or value.dtype == ir.DataType.BOOL:
        return []
    results = [result for body in subgraphs_of(node) for result in body.outputs]
    captured = captures_of(node) if results else []
    sources = [source for source in [*node.inputs, *results, *captured] if source is not None]
    if node.op_type in _WEIGHTED:
        return [source for source in sources if source.const_value is None]
    return sources
