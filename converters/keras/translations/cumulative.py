"""TensorFlow's products and logarithms of sums up to each element, along an axis of known length.

tf2onnx writes products for known sizes alone, and fails on a batch; it has no such logarithms.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from .nodes import Replacement
from .selects import Handler

#: What two neighbouring parts give together.
Joined = Callable[[Replacement, str, str], str]


def _product(w: Replacement, a: str, b: str) -> str:
    return w.op("Mul", a, b, shape=w.shape)


def _log_of_sum(w: Replacement, a: str, b: str) -> str:
    """log(exp(a) + exp(b)) = h + log(1 + exp(l - h)) of the higher and the lower; of equal ones each has its half."""
    less = w.op("Less", a, b, dtype=TensorProto.BOOL, shape=w.shape)
    high, low = (w.op("Where", less, *pair, shape=w.shape) for pair in ((b, a), (a, b)))
    return w.op(
        "Add", high, w.op("Softplus", w.op("Sub", low, high, shape=w.shape), shape=w.shape), shape=w.shape
    )


def _cumulative(joined: Joined, nothing: Callable[[np.dtype[Any]], float]) -> Callable[..., None]:
    """A handler that joins each element with those 1, 2, 4, ... places before it.

    Args:
        joined: Writes what two parts give together.
        nothing: What changes nothing where it is joined, by element type.
    """

    def handler(ctx: Any, node: Any, name: str, args: Any) -> None:
        x, axis_of = node.input[0], node.inputs[1]
        sizes = ctx.get_shape(x)
        if not sizes or not axis_of.is_const():
            return  # reported as an unknown operator
        axis = int(axis_of.get_tensor_value()) % len(sizes)
        size, last_first = sizes[axis], bool(node.get_attr_value("reverse"))
        exclusive = bool(node.get_attr_value("exclusive"))
        if size < 1:
            return
        w, reach = Replacement(ctx, node), 1
        fill = w.const(nothing(onnx.helper.tensor_dtype_to_np_dtype(w.dtype)))
        if exclusive:
            x = _moved(w, x, axis, len(sizes), 1, last_first, fill)
        while reach < size:
            x = joined(w, x, _moved(w, x, axis, len(sizes), reach, last_first, fill))
            reach *= 2
        w.end("Identity", x)

    return handler


def _moved(w: Replacement, x: str, axis: int, rank: int, reach: int, last_first: bool, fill: str) -> str:
    """x moved by some places along an axis, with a number in the places that get free."""
    start, stop = (reach, np.iinfo(np.int64).max) if last_first else (0, -reach)
    places = [w.const(np.array([n], np.int64), TensorProto.INT64) for n in (start, stop, axis)]
    pads = np.zeros(2 * rank, np.int64)
    pads[axis + rank * last_first] = reach
    return w.op("Pad", w.op("Slice", x, *places), w.const(pads, TensorProto.INT64), fill, shape=w.shape)


CUMULATIVE: Mapping[str, Handler] = {
    "Cumprod": (_cumulative(_product, lambda _: 1), []),
    "CumulativeLogsumexp": (_cumulative(_log_of_sum, lambda dtype: np.finfo(dtype).min), []),
}
