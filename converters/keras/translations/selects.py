"""What chooses between two values, written as ONNX Where.

tf2onnx writes c * a + (1 - c) * b, which is NaN wherever the value that was not chosen is infinite or NaN: just where a
model guards a division or a logarithm.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx

Handler = tuple[Callable[..., None], list[Any]]

# Of these ONNX Runtime's Where takes all on the CPU; it casts float16 by itself.
_CHOSEN = tuple(
    getattr(onnx.TensorProto, name)
    for name in ("FLOAT", "DOUBLE", "FLOAT16", "INT32", "INT64", "UINT8", "STRING")
)


def _select(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Select(c, a, b) = a where c, else b; the condition of the older operator may be one flag per row."""
    condition, then, other = node.input
    _replace(ctx, node, _per_row(ctx, node, condition), then, other)


def _mul_no_nan(ctx: Any, node: Any, name: str, args: Any) -> None:
    """MulNoNan(x, y) = x * y, and 0 where y is 0, whatever x is."""
    x, y = node.input
    _zero_where(ctx, node, y, _made(ctx, node, "Mul", [x, y]))


def _xdivy(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Xdivy(x, y) = x / y, and 0 where x is 0, whatever y is."""
    x, y = node.input
    _zero_where(ctx, node, x, _made(ctx, node, "Div", [x, y]))


def _xlogy(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Xlogy(x, y) = x log(y), and 0 where x is 0, whatever y is."""
    x, y = node.input
    _zero_where(ctx, node, x, _made(ctx, node, "Mul", [x, _made(ctx, node, "Log", [y], like=y)]))


def _xlog1py(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Xlog1py(x, y) = x log(1 + y), and 0 where x is 0, whatever y is."""
    x, y = node.input
    more = _made(ctx, node, "Add", [y, _constant(ctx, node, 1)], like=y)
    _zero_where(ctx, node, x, _made(ctx, node, "Mul", [x, _made(ctx, node, "Log", [more], like=y)]))


SELECTS: Mapping[str, Handler] = {
    "Select": (_select, []),
    "SelectV2": (_select, []),
    "MulNoNan": (_mul_no_nan, []),
    "Xdivy": (_xdivy, []),
    "Xlogy": (_xlogy, []),
    "Xlog1py": (_xlog1py, []),
}


def select_band(cls: Any, ctx: Any, node: Any, mask: Any) -> None:
    """The matrix where the mask is true, 0 elsewhere, in place of their product."""
    dtype = ctx.get_dtype(node.output[0])
    kept = mask.output[0]
    if ctx.get_dtype(kept) != onnx.TensorProto.BOOL:
        kept = ctx.make_node("Cast", [kept], attr={"to": onnx.TensorProto.BOOL}).output[0]
    _replace(ctx, node, kept, node.input[0], _constant(ctx, node, 0, dtype))


def _replace(ctx: Any, node: Any, condition: str, then: str, other: str) -> None:
    """The node becomes a Where, by way of INT32 or INT64 for dtypes that the runtime's does not take."""
    output, name = node.output[0], node.name
    shape, dtype = ctx.get_shape(output), ctx.get_dtype(output)
    ctx.remove_node(name)
    if dtype in _CHOSEN:
        ctx.make_node(
            "Where", [condition, then, other], outputs=[output], name=name, shapes=[shape], dtypes=[dtype]
        )
        return
    wide = onnx.TensorProto.INT32 if dtype == onnx.TensorProto.BOOL else onnx.TensorProto.INT64
    cast = [ctx.make_node("Cast", [value], attr={"to": wide}).output[0] for value in (then, other)]
    chosen = ctx.make_node("Where", [condition, *cast], shapes=[shape], dtypes=[wide]).output[0]
    ctx.make_node(
        "Cast", [chosen], attr={"to": dtype}, outputs=[output], name=name, shapes=[shape], dtypes=[dtype]
    )


def _zero_where(ctx: Any, node: Any, zero: str, value: str) -> None:
    nought = _constant(ctx, node, 0)
    is_zero = ctx.make_node("Equal", [zero, nought], dtypes=[onnx.TensorProto.BOOL]).output[0]
    _replace(ctx, node, is_zero, nought, value)


def _made(ctx: Any, node: Any, op_type: str, inputs: list[str], like: str | None = None) -> str:
    """A new value with the shape of `like`, or of the node's output."""
    shaped = like or node.output[0]
    made = ctx.make_node(
        op_type, inputs, shapes=[ctx.get_shape(shaped)], dtypes=[ctx.get_dtype(node.output[0])]
    )
    return str(made.output[0])


def _constant(ctx: Any, node: Any, number: int, dtype: int | None = None) -> str:
    from tf2onnx import utils

    kind = utils.map_onnx_to_numpy_type(ctx.get_dtype(node.output[0]) if dtype is None else dtype)
    return str(ctx.make_const(utils.make_name(node.name), np.array(number, kind)).output[0])


def _per_row(ctx: Any, node: Any, condition: str) -> str:
    """The condition in a shape that broadcasts against the values."""
    from tf2onnx import utils

    shapes = [ctx.get_shape(name) for name in (condition, node.output[0], *node.input[1:])]
    rank = next((len(shape) for shape in shapes[1:] if shape is not None), None)
    if node.type != "Select" or shapes[0] is None or len(shapes[0]) != 1 or rank in (1, None):
        return condition
    target = ctx.make_const(utils.make_name(node.name), np.array([-1] + [1] * (rank - 1), np.int64))
    made = ctx.make_node("Reshape", [condition, target.output[0]], dtypes=[onnx.TensorProto.BOOL])
    return str(made.output[0])
