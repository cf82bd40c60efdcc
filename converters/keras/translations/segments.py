"""Sums and the like over segments of unsorted numbers, and products that TensorFlow computes for sparse matrices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import TensorProto

from .nodes import Replacement
from .selects import Handler


def _unsorted(ctx: Any, node: Any, name: str, args: Any) -> None:
    """UnsortedSegmentSum(x, ids, n), in which rows of an id below 0 are left out: of n + 1, they go into the last.

    tf2onnx counts such ids from the end.
    """
    from tf2onnx.onnx_opset.reduction import SegmentSum

    x, ids, count = node.input
    known = node.inputs[1]
    if not known.is_const() or np.min(known.get_tensor_value(as_list=False), initial=0) < 0:
        kinds, int64 = [ctx.get_dtype(ids)], TensorProto.INT64
        zero, one = (_constant(ctx, node, n, ctx.get_dtype(ids)) for n in (0, 1))
        end = ctx.make_node("Cast", [count], attr={"to": kinds[0]}, dtypes=kinds, shapes=[[]]).output[0]
        below = ctx.make_node("Less", [ids, zero], dtypes=[TensorProto.BOOL], shapes=[ctx.get_shape(ids)])
        put = ctx.make_node("Where", [below.output[0], end, ids], dtypes=kinds, shapes=[ctx.get_shape(ids)])
        more = ctx.make_node("Add", [end, one], dtypes=kinds, shapes=[[]])
        first = _constant(ctx, node, [0], int64)
        last = ctx.make_node("Cast", [count], attr={"to": int64}, dtypes=[int64], shapes=[[]]).output[0]
        ends = ctx.make_node("Unsqueeze", [last, first], dtypes=[int64], shapes=[[1]]).output[0]
        shape = ctx.get_shape(node.output[0])
        ctx.insert_new_node_on_output("Slice", node.output[0], inputs=[node.output[0], first, ends, first])
        if shape:
            ctx.set_shape(node.output[0], [-1, *shape[1:]])
        ctx.replace_inputs(node, [x, put.output[0], more.output[0]])
    SegmentSum.any_version(ctx.opset, ctx, node)


def _constant(ctx: Any, node: Any, value: Any, dtype: int) -> str:
    from tf2onnx import utils

    array = np.array(value, utils.map_onnx_to_numpy_type(dtype))
    return str(ctx.make_const(utils.make_name(node.name), array).output[0])


def _product(ctx: Any, node: Any, name: str, args: Any) -> None:
    """SparseMatMul(a, b): the product of two matrices that may hold many zeros, of either transposed."""
    factors, turned = node.input, [node.get_attr_value(key) for key in ("transpose_a", "transpose_b")]
    kinds = {ctx.get_dtype(factor) for factor in factors}
    if kinds != {TensorProto.FLOAT}:
        return  # reported as an unknown operator
    w = Replacement(ctx, node)
    a, b = (w.op("Transpose", f, perm=[1, 0]) if t else f for f, t in zip(factors, turned, strict=True))
    w.end("MatMul", a, b)


SEGMENTS: Mapping[str, Handler] = {
    **{f"UnsortedSegment{kind}": (_unsorted, []) for kind in ("Sum", "Prod", "Max", "Min")},
    "SparseMatMul": (_product, []),
}
