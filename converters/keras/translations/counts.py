"""Weighted counts, as Keras' `CategoryEncoding` with `count_weights` has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import TensorProto

from .nodes import Replacement
from .selects import Handler


def _bincount(ctx: Any, node: Any, name: str, args: Any) -> None:
    """DenseBincount(ids, size, weights): the product of the weights with a row of zeros and a one for each id.

    tf2onnx has it without weights, for which TensorFlow takes empty ones.
    """
    from tf2onnx.onnx_opset.tensor import Bincount

    ids, size, weights = node.input
    known = ctx.get_shape(weights)
    if (known is not None and 0 in known) or node.get_attr_value("binary_output"):
        Bincount.any_version(ctx.opset, ctx, node)
        return
    kind, w = ctx.get_dtype(weights), Replacement(ctx, node)
    length = w.op("Reshape", size, w.const([1], TensorProto.INT64), dtype=ctx.get_dtype(size))
    ones = w.op("OneHot", ids, length, w.const(np.array([0, 1]), kind), axis=-1)
    last = w.const([-2], TensorProto.INT64)
    w.end("Squeeze", w.op("MatMul", w.op("Unsqueeze", weights, last), ones), last)


COUNTS: Mapping[str, Handler] = {"Bincount": (_bincount, []), "DenseBincount": (_bincount, [])}
