"""TensorFlow operators that tf2onnx does not know, or converts to others than it should: handlers for it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from .angles import ANGLES
from .bessel import BESSEL
from .colours import COLOURS
from .counts import COUNTS
from .cumulative import CUMULATIVE
from .einsum import convert_einsum
from .entropies import ENTROPIES
from .fake_quant import FAKE_QUANT
from .gammas import GAMMAS
from .image_patches import PATCHES_OF_IMAGES
from .matrices import MATRICES
from .morphology import MORPHOLOGY
from .nodes import Replacement
from .quantiles import QUANTILES
from .quotients import QUOTIENTS
from .resizes import RESIZES
from .segments import SEGMENTS
from .selects import SELECTS, Handler
from .tails import TAILS
from .texts import TEXTS
from .updates import UPDATES
from .vectors import VECTORS


def _expm1(ctx: Any, node: Any, name: str, args: Any) -> None:
    """expm1(x) = exp(x) - 1, which is tanh(x / 2) (exp(x) + 1) and has all digits as that where x is small."""
    (x,), w = node.input, Replacement(ctx, node)
    powers = w.op("Exp", x, shape=w.shape)
    if w.dtype != onnx.TensorProto.FLOAT:
        w.end("Sub", powers, w.const(1))
        return
    half = w.op("Tanh", w.op("Mul", x, w.const(0.5), shape=w.shape), shape=w.shape)
    near = w.op("Mul", half, w.op("Add", powers, w.const(1), shape=w.shape), shape=w.shape)
    w.end("Where", _is_within(w, x, 1.0), near, w.op("Sub", powers, w.const(1), shape=w.shape))


def _log1p(ctx: Any, node: Any, name: str, args: Any) -> None:
    """log1p(x) = log(1 + x), which is 2 artanh(x / (x + 2)) and has all digits as that where x is small."""
    (x,), w = node.input, Replacement(ctx, node)
    more = w.op("Add", x, w.const(1), shape=w.shape)
    if w.dtype != onnx.TensorProto.FLOAT:
        w.end("Log", more)
        return
    quotient = w.op("Div", x, w.op("Add", x, w.const(2), shape=w.shape), shape=w.shape)
    near = w.op("Mul", w.op("Atanh", quotient, shape=w.shape), w.const(2), shape=w.shape)
    w.end("Where", _is_within(w, x, 0.5), near, w.op("Log", more, shape=w.shape))


def _is_within(w: Replacement, x: str, bound: float) -> str:
    """Whether |x| is below a bound."""
    size = w.op("Abs", x, shape=w.shape)
    return w.op("Less", size, w.const(bound), dtype=onnx.TensorProto.BOOL, shape=w.shape)


def _log(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Log(x), which tf2onnx refuses in float16."""
    (x,), w = node.input, Replacement(ctx, node)
    w.end("Log", x)


def _is_infinite(ctx: Any, node: Any, name: str, args: Any) -> None:
    """IsInf(x), for which ONNX has no float16 below opset 20."""
    (x,), kind = node.input, ctx.get_dtype(node.input[0])
    w = Replacement(ctx, node)
    w.end("IsInf", _of_32_bits(w, x, kind))


def _is_finite(ctx: Any, node: Any, name: str, args: Any) -> None:
    """IsFinite(x): neither infinite nor NaN."""
    (x,), kind = node.input, ctx.get_dtype(node.input[0])
    w = Replacement(ctx, node)
    infinite = w.op("IsInf", _of_32_bits(w, x, kind), shape=w.shape)
    w.end("Not", w.op("Or", infinite, w.op("IsNaN", x, shape=w.shape), shape=w.shape))


def _of_32_bits(w: Replacement, x: str, kind: int) -> str:
    """A number of float16 in float32."""
    single = onnx.TensorProto.FLOAT
    return w.op("Cast", x, dtype=single, to=single) if kind == onnx.TensorProto.FLOAT16 else x


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
    x, axes = node.input[0], np.ravel(node.inputs[1].get_tensor_value(as_list=False)).tolist()
    keep, w = int(node.get_attr_value("keep_dims") or 0), Replacement(ctx, node)
    if ctx.opset < 18:
        w.end("ReduceL2", x, axes=axes, keepdims=keep)
    else:
        w.end("ReduceL2", x, w.const(axes, onnx.TensorProto.INT64), keepdims=keep)


def _l2_loss(ctx: Any, node: Any, name: str, args: Any) -> None:
    """L2Loss(x) = sum of all x^2 / 2."""
    (x,), w = node.input, Replacement(ctx, node)
    w.end("Mul", w.op("ReduceSumSquare", x, shape=[], keepdims=0), w.const(0.5))


BASIC_HANDLERS: Mapping[str, Handler] = {
    "Expm1": (_expm1, []),
    "IsFinite": (_is_finite, []),
    "IsInf": (_is_infinite, []),
    "Log": (_log, []),
    "Log1p": (_log1p, []),
    "BitwiseAnd": (_sign_bit, []),
    "L2Loss": (_l2_loss, []),
    "Roll": (_roll, []),
    "EuclideanNorm": (_euclidean_norm, []),
    "Einsum": (convert_einsum, []),
    **ANGLES,
    **COLOURS,
    **COUNTS,
    **CUMULATIVE,
    **BESSEL,
    **ENTROPIES,
    **FAKE_QUANT,
    **GAMMAS,
    **MATRICES,
    **MORPHOLOGY,
    **PATCHES_OF_IMAGES,
    **QUANTILES,
    **QUOTIENTS,
    **RESIZES,
    **SEGMENTS,
    **SELECTS,
    **TAILS,
    **TEXTS,
    **UPDATES,
    **VECTORS,
}
