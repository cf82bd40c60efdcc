"""Quantisers that are spelled out, as in Keras' int8 layers: rounded, clipped, cast, then multiplied as integers.

A rounding has no gradient, so that the score would be explained by the scale alone, which is computed from the same
numbers. As QuantizeLinear of scale 1 they are differentiated straight through.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.subgraphs import is_standard
from onnxattr.graph.values import dims_of
from onnxattr.loading.passes.replay import change_each

_BYTES = (ir.DataType.INT8, ir.DataType.UINT8)
_PRODUCTS = ("MatMulInteger", "ConvInteger")
#: Operators that move integers on the way to a product.
_MOVES = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity")
_BOUNDS = ("Min", "Max", "Clip")


def quantise_what_is_rounded(graph: ir.Graph, opset: int) -> bool:
    """Lets Casts of rounded numbers to bytes, which products of integers read, cast what is quantised; whether any."""
    return change_each(graph, opset, "rounded", _is_quantiser, _quantise)


def _is_quantiser(node: ir.Node) -> bool:
    to_bytes = is_standard(node, "Cast") and ir.DataType(node.attributes.get_int("to", 0)) in _BYTES
    return to_bytes and _rounded(node) is not None and _is_multiplied(node.outputs[0])


def _quantise(op: OpBuilder, node: ir.Node) -> bool:
    source, low, high = _rounded(node) or (None, 0.0, 0.0)
    assert source is not None
    dtype = ir.DataType(node.attributes.get_int("to"))
    bounded = op.Clip(source, op.constant(low, source.dtype), op.constant(high, source.dtype))
    # The operator takes no float64, and float16 from opset 19 on alone.
    bounded = op.cast(bounded, ir.DataType.FLOAT)
    node.replace_input_with(
        0, op.QuantizeLinear(bounded, op.constant(1.0, bounded.dtype), op.constant(0, dtype))
    )
    return True


def _rounded(cast: ir.Node) -> tuple[ir.Value, float, float] | None:
    """What was rounded before a Cast, and the bounds of the result, if they are those of its type or within."""
    low, high = -np.inf, np.inf
    value = cast.inputs[0]
    producer = None if value is None else value.producer()
    while producer is not None and producer.op_type in _BOUNDS and producer.domain == "":
        found = _bounds(producer)
        if found is None:
            return None
        value, lowest, highest = found
        # The bounds that come later hold.
        low, high = max(low, min(lowest, high)), min(high, max(highest, low))
        producer = value.producer()
    if producer is None or not is_standard(producer, "Round") or producer.inputs[0] is None:
        return None
    dtype = ir.DataType(cast.attributes.get_int("to"))
    within = dtype.min <= low <= high <= dtype.max and low == np.round(low) and high == np.round(high)
    return (producer.inputs[0], low, high) if within else None


def _bounds(node: ir.Node) -> tuple[ir.Value, float, float] | None:
    """The operand of a Min, Max or Clip, and its constant bounds."""
    if node.op_type == "Clip":
        x, *bounds = [*node.inputs, None, None][:3]
        low, high = (
            default if b is None else _number(b) for b, default in zip(bounds, (-np.inf, np.inf), strict=True)
        )
    else:
        numbers = [(_number(value), value) for value in node.inputs if value is not None]
        constants = [number for number, _ in numbers if number is not None]
        others = [value for number, value in numbers if number is None]
        if len(constants) != 1 or len(others) != 1:
            return None
        x, (low, high) = others[0], (-np.inf, np.inf)
        low, high = (constants[0], high) if node.op_type == "Max" else (low, constants[0])
    return None if x is None or low is None or high is None else (x, low, high)


def _number(value: ir.Value) -> float | None:
    """The constant that a value is, for all elements."""
    if value.const_value is None or value.is_graph_input() or dims_of(value) not in ([], [1]):
        return None
    return float(value.const_value.numpy().reshape(()))


def _is_multiplied(value: ir.Value) -> bool:
    return any(
        use.node.op_type in _PRODUCTS or (use.node.op_type in _MOVES and _is_multiplied(use.node.outputs[0]))
        for use in value.uses()
    )
