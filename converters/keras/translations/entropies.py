"""Cross-entropies of classes that are given by their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import TensorProto

from .nodes import Replacement
from .selects import Handler


def _sparse_entropy(ctx: Any, node: Any, name: str, args: Any) -> None:
    """SparseSoftmaxCrossEntropyWithLogits(x, label) = -log softmax(x)[label], NaN for labels below 0.

    tf2onnx takes the logarithm of the softmax, which is infinite where an unlikely class is rounded to 0.
    """
    x, labels = node.input
    w = Replacement(ctx, node)
    last = w.const([-1], TensorProto.INT64)
    places = w.op("Unsqueeze", labels, last, dtype=ctx.get_dtype(labels))
    chosen = w.op("GatherElements", w.op("LogSoftmax", x, axis=-1), places, axis=-1)
    loss = w.op("Neg", w.op("Squeeze", chosen, last))
    unknown = w.op("Less", labels, w.const(0, ctx.get_dtype(labels)), dtype=TensorProto.BOOL)
    w.end("Where", unknown, w.const(np.nan), loss)


ENTROPIES: Mapping[str, Handler] = {"SparseSoftmaxCrossEntropyWithLogits": (_sparse_entropy, [])}
