"""TensorFlow operators that tf2onnx does not know, or converts to others than it should: handlers for it."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx

from .tf2onnx_einsum import convert_einsum
from .tf2onnx_resizes import RESIZES
from .tf2onnx_selects import SELECTS, Handler
from .tf2onnx_vectors import VECTORS


def replace_node(ctx: Any, node: Any, build: Callable[[Any, np.dtype], str]) -> None:
    """Replace a one-output node of a tf2onnx graph.

    Args:
        ctx: The tf2onnx graph.
        node: The node that goes away.
        build: Called with `emit(op_type, inputs, **attributes) -> value name` and the numpy dtype of the output;
            returns the name of the value that replaces the output. Every emitted value has the output's shape.
    """
    from tf2onnx import utils

    output = node.output[0]
    shape, dtype = ctx.get_shape(output), ctx.get_dtype(output)
    ctx.remove_node(node.name)

    def emit(op_type: str, inputs: list[Any], **attributes: Any) -> str:
        names = [
            value if isinstance(value, str) else ctx.make_const(utils.make_name(node.name), value).output[0]
            for value in inputs
        ]
        made = ctx.make_node(
            op_type, names, attr=attributes, shapes=[shape], dtypes=[dtype], name=utils.make_name(node.name)
        )
        return str(made.output[0])

    result = build(emit, utils.map_onnx_to_numpy_type(dtype))
    ctx.make_node("Identity", [result], outputs=[output], shapes=[shape], dtypes=[dtype])


def _erfc(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Erfc(x) = 1 - erf(x), the exact GELU of Keras."""
    (x,) = node.input
    replace_node(ctx, node, lambda emit, dtype: emit("Sub", [np.array(1, dtype), emit("Erf", [x])]))


def _expm1(ctx: Any, node: Any, name: str, args: Any) -> None:
    """expm1(x) = exp(x) - 1, as in CELU."""
    (x,) = node.input
    replace_node(ctx, node, lambda emit, dtype: emit("Sub", [emit("Exp", [x]), np.array(1, dtype)]))


def _log1p(ctx: Any, node: Any, name: str, args: Any) -> None:
    """log1p(x) = log(1 + x)."""
    (x,) = node.input
    replace_node(ctx, node, lambda emit, dtype: emit("Log", [emit("Add", [x, np.array(1, dtype)])]))


def _sign_bit(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Bitcast(x) & sign bit, by which Keras' argmax tells -0.0 from 0.0: 1 / x is below 0."""
    source, mask = node.inputs
    if source.type != "Bitcast" or not mask.is_const() or mask.get_tensor_value() != np.iinfo(np.int32).min:
        return  # reported as an unknown operator
    x, output = source.input[0], node.output[0]
    shape, dtype = ctx.get_shape(output), ctx.get_dtype(output)
    floating = ctx.get_dtype(x)
    zero = ctx.make_const(name + "/zero", np.array(0, np.float32)).output[0]
    none = ctx.make_const(name + "/none", np.array(0, np.int32)).output[0]
    ctx.remove_node(node.name)
    inverse = ctx.make_node("Reciprocal", [x], shapes=[shape], dtypes=[floating]).output[0]
    negative = ctx.make_node("Less", [inverse, zero], shapes=[shape], dtypes=[onnx.TensorProto.BOOL]).output[
        0
    ]
    ctx.make_node("Where", [negative, mask.output[0], none], outputs=[output], shapes=[shape], dtypes=[dtype])


def _bucketize(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Bucketize(x) = how many boundaries are not above x, as in Discretization; for NaN all of them, as TensorFlow."""
    x, output = node.input[0], node.output[0]
    shape, dtype = ctx.get_shape(output), ctx.get_dtype(output)
    given = np.array(node.get_attr_value("boundaries"), np.float32)
    double = ctx.get_dtype(x) == onnx.TensorProto.DOUBLE
    boundaries = ctx.make_const(name + "/boundaries", given.astype(np.float64) if double else given)
    axis = ctx.make_const(name + "/axis", np.array([-1], np.int64)).output[0]
    wide = None if shape is None else [*shape, len(given)]
    ctx.remove_node(node.name)

    def made(op_type: str, inputs: list[str], kind: int, **attributes: Any) -> str:
        found = ctx.make_node(op_type, inputs, attr=attributes, shapes=[wide], dtypes=[kind])
        return str(found.output[0])

    real, truth = onnx.TensorProto.DOUBLE if double else onnx.TensorProto.FLOAT, onnx.TensorProto.BOOL
    each = ctx.make_node("Unsqueeze", [made("Cast", [x], real, to=real), axis], dtypes=[real]).output[0]
    below = made("Not", [made("Less", [each, boundaries.output[0]], truth)], truth)
    counted = made("Cast", [below], dtype, to=dtype)
    ctx.make_node(
        "ReduceSum", [counted, axis], attr={"keepdims": 0}, outputs=[output], shapes=[shape], dtypes=[dtype]
    )


def _roll(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Roll(x, shift, axis): of one axis tf2onnx takes the shift as a number, which may be a list of one."""
    from tf2onnx.onnx_opset.tensor import Roll

    shift, axis = node.input[1], node.inputs[2]
    if ctx.get_rank(shift) == 1 and axis.is_const() and np.size(axis.get_tensor_value()) == 1:
        number = ctx.make_const(name + "/number", np.array([], np.int64)).output[0]
        one = ctx.make_node("Reshape", [shift, number], shapes=[[]], dtypes=[ctx.get_dtype(shift)])
        ctx.replace_inputs(node, [node.input[0], one.output[0], node.input[2]])
    Roll.any_version(ctx.opset, ctx, node)


def _euclidean_norm(ctx: Any, node: Any, name: str, args: Any) -> None:
    """EuclideanNorm(x, axes) = sqrt(sum of x^2 along them)."""
    x, axes = node.input[0], node.inputs[1].get_tensor_value(as_list=False)
    keep, output = int(node.get_attr_value("keep_dims") or 0), node.output[0]
    shape, dtype = ctx.get_shape(output), ctx.get_dtype(output)
    ctx.remove_node(node.name)
    given, attributes = [x], {"keepdims": keep}
    if ctx.opset < 18:
        attributes["axes"] = np.ravel(axes).tolist()
    else:
        given.append(ctx.make_const(name + "/axes", np.ravel(axes).astype(np.int64)).output[0])
    ctx.make_node("ReduceL2", given, attr=attributes, outputs=[output], shapes=[shape], dtypes=[dtype])


BASIC_HANDLERS: Mapping[str, Handler] = {
    "Erfc": (_erfc, []),
    "Expm1": (_expm1, []),
    "Log1p": (_log1p, []),
    "BitwiseAnd": (_sign_bit, []),
    "Bucketize": (_bucketize, []),
    "Roll": (_roll, []),
    "EuclideanNorm": (_euclidean_norm, []),
    "Einsum": (convert_einsum, []),
    **RESIZES,
    **SELECTS,
    **VECTORS,
}
