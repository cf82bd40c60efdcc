"""Attention of PyTorch; the exporter writes rank 4 alone, and the mean of all values for a query that sees no key."""

import importlib
import math
from typing import Any

from .elementwise import operators


def attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """y = softmax(q k^T * scale + mask) v; a query that sees no key gets 0, as in PyTorch.

    Raises:
        NotImplementedError: For heads that share keys, or queries of unknown width.
    """
    settings = {"dropout_p": dropout_p, "is_causal": is_causal, "scale": scale, "enable_gqa": enable_gqa}
    if all(len(part.shape) == 4 for part in (query, key, value)):
        return _with_heads(query, key, value, attn_mask, settings)
    width = query.shape[-1]
    if enable_gqa or dropout_p or (scale is None and not isinstance(width, int)):
        raise NotImplementedError(
            "scaled_dot_product_attention of another rank than 4 with enable_gqa, dropout or queries of unknown width; "
            "reshape its inputs to (batch, heads, length, width)"
        )
    op, rank = operators(), len(key.shape)
    turned = op.Transpose(key, perm=[*range(rank - 2), rank - 1, rank - 2])
    factor = op.CastLike(op.Constant(value_float=1 / math.sqrt(width) if scale is None else scale), query)
    scores = op.Mul(op.MatMul(query, turned), factor)
    if is_causal:
        lengths = op.Concat(*(op.Shape(part, start=-2, end=-1) for part in (query, key)), axis=0)
        ones = op.Expand(op.Constant(value_float=1.0), lengths)
        return op.MatMul(_seen(scores, op.Cast(op.Trilu(ones, upper=0), to=9)), value)
    return op.MatMul(_weights(scores, attn_mask), value)


def _weights(scores: Any, mask: Any) -> Any:
    """The softmax of masked scores; True in a mask of flags stands for what is seen."""
    op = operators()
    if mask is None:
        return op.Softmax(scores, axis=-1)
    if str(mask.dtype) != "BOOL":
        weights = op.Softmax(op.Add(scores, _without_blind(mask)), axis=-1)
        return op.Where(_sees(mask), weights, op.CastLike(op.Constant(value_float=0.0), weights))
    return _seen(scores, mask)


def _with_heads(query: Any, key: Any, value: Any, mask: Any, settings: dict[str, Any]) -> Any:
    """The exporter's, and 0 for queries that see no key."""
    library = importlib.import_module("onnxscript.function_libs.torch_lib.ops.nn")
    if mask is None:
        return library.aten_scaled_dot_product_attention(query, key, value, None, **settings)
    op, kind = operators(), mask.dtype
    bounded = _without_blind(mask)
    bounded.dtype = kind  # by which the exporter chooses
    found = library.aten_scaled_dot_product_attention(query, key, value, bounded, **settings)
    return op.Where(_sees(mask), found, op.CastLike(op.Constant(value_float=0.0), found))


def _sees(mask: Any) -> Any:
    """Whether a query sees a key: (..., queries, 1)."""
    op, last = operators(), operators().Constant(value_ints=[-1])
    if str(mask.dtype) == "BOOL":
        return op.Cast(op.ReduceMax(op.Cast(mask, to=1), last, keepdims=1), to=9)
    most = op.ReduceMax(mask, last, keepdims=1)
    return op.Greater(most, op.CastLike(op.Constant(value_float=-math.inf), most))


def _without_blind(mask: Any) -> Any:
    """An added mask with 0 for queries that see no key, of whose scores the softmax would be NaN."""
    op = operators()
    if str(mask.dtype) == "BOOL":
        return op.Identity(mask)
    return op.Where(_sees(mask), mask, op.CastLike(op.Constant(value_float=0.0), mask))


def _seen(scores: Any, mask: Any) -> Any:
    op = operators()
    hidden = op.CastLike(op.Constant(value_float=-math.inf), scores)
    none = op.CastLike(op.Constant(value_float=0.0), scores)
    weights = op.Softmax(op.Where(mask, scores, hidden), axis=-1)
    # Of a query without keys the softmax is NaN, which the choice keeps out of the result and of gradients.
    return op.Where(mask, weights, none)
