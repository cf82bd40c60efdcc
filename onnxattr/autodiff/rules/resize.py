"""The rule of Resize: one matrix for each axis that is resized."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.registry import NOT_IMPLEMENTED, Cotangent, NodeView, attributes_of, vjp
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.products import contraction
from onnxattr.graph.sizes import contents
from onnxattr.graph.values import dims_of, numbers_of


@vjp("Resize")
def resize(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = M1 x M2 ... with one interpolation matrix per resized axis;  xbar = ybar with the transposed matrices.

    Each matrix is what Resize itself makes of the identity, so every mode and coordinate rule is covered. A region of
    interest gets a cotangent in linear mode; nearest samples do not change with it.
    """
    x = node.x
    rank = node.rank(x)
    axes = [axis % rank for axis in node.get_ints("axes") or range(rank)]

    def x_ct() -> ir.Value:
        result = ct
        for position, axis in enumerate(axes):
            if not _resize_keeps(node, position, axis):
                matrix = _resize_matrix(op, node, position, axes)
                result = _along(op, result, op.Transpose(matrix, perm=[1, 0]), axis, rank)
        return result

    roi_ct: Cotangent = None
    if _crops(node):
        mode = node.get_string("mode")
        roi_ct = (lambda: _roi_ct(op, node, ct, axes)) if mode == "linear" else None
        roi_ct = NOT_IMPLEMENTED if mode == "cubic" else roi_ct
    return x_ct, roi_ct, None, None


def _resize_keeps(node: NodeView, position: int, axis: int) -> bool:
    """Whether an axis certainly comes out as it went in."""
    _, _, scales, sizes = node.inputs
    if _crops(node):
        return False
    if node.get_string("keep_aspect_ratio_policy") != "stretch":
        return False
    if scales is not None and (scales.const_value is None or scales.const_value.size):
        return numbers_of(scales)[position : position + 1] == [1.0]
    have, want, held = dims_of(node.x), dims_of(node.y), contents(sizes)
    if sizes is None or have is None or want is None:
        return False
    if held is not None and held[position] is not None and held[position] == have[axis]:
        return True
    return isinstance(have[axis], int) and have[axis] == want[axis]


def _along(op: OpBuilder, value: ir.Value, matrix: ir.Value, axis: int, rank: int) -> ir.Value:
    """The vectors along an axis, each multiplied with a matrix from the right.

    The first two axes may hold samples, which an identity matrix must keep apart; images are resized along others.
    """

    def multiplied(vectors: ir.Value) -> ir.Value:
        return contraction(op, vectors, [matrix], op.MatMul, sparse=True, over_samples=axis < 2)

    if axis == rank - 1:
        return multiplied(value)
    perm = [a for a in range(rank) if a != axis] + [axis]
    moved = multiplied(op.Transpose(value, perm=perm))
    return op.Transpose(moved, perm=np.argsort(perm).tolist())


def _resize_matrix(
    op: OpBuilder, node: NodeView, position: int, axes: Sequence[int], **changed: Any
) -> ir.Value:
    """What Resize makes of the unit vectors along one of its axes, one a row; ``changed`` attributes override."""
    x, y = node.x, node.y
    _, roi, scales, sizes = node.inputs
    axis = axes[position]
    size, target = op.shape(x, axis, axis + 1), op.shape(y, axis, axis + 1)
    eye = op.cast_like(op.EyeLike(op.expand([0], [size, size])), x)
    attributes = attributes_of(node) | changed
    attributes = {key: kept for key, kept in attributes.items() if key not in ("axes", "extrapolation_value")}
    if attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        return _proportional_matrix(op, node, eye, sizes, position, axes, attributes)
    one = op.constant([1], ir.DataType.INT64)
    # Vectors side by side, or each as an image with one more axis that changes with the shape of the whole.
    alone = _may_be_copied(node, position, axis)
    rows, third = (size, one) if alone else (one, size)
    image = op.reshape(eye, [rows, 1, third, size])
    stretch = _two_if_changed(op, x, y) if alone else one
    roi = _region(op, roi, position, len(axes)) if roi is not None and _crops(node) else None
    if scales is not None and (scales.const_value is None or scales.const_value.size):
        scale = op.Slice(scales, [position], [position + 1], [0])
        factors = op.Concat([1.0, 1.0], op.cast_like(stretch, scale), scale, axis=0)
        matrix = op.Resize(image, roi, factors, **attributes)
    else:
        wanted = op.sizes([rows, 1, op.Mul(third, stretch), target])
        matrix = op.Resize(image, roi, None, wanted, **attributes)
    if alone:
        matrix = op.Gather(matrix, 0, axis=2)
    return op.reshape(matrix, [size, target])


def _region(op: OpBuilder, roi: ir.Value, position: int, count: int) -> ir.Value:
    """The region of an image whose last axis is one of ``count`` resized axes; all of its other axes."""
    zeros, ones = op.constant([0.0] * 3, roi.dtype), op.constant([1.0] * 3, roi.dtype)
    start, end = (op.Slice(roi, [index], [index + 1], [0]) for index in (position, position + count))
    return op.Concat(zeros, start, ones, end, axis=0)


def _crops(node: NodeView) -> bool:
    return node.get_string("coordinate_transformation_mode") == "tf_crop_and_resize"


def _may_be_copied(node: NodeView, position: int, axis: int) -> bool:
    """Whether ONNX Runtime might copy an axis that is resized alone, as it does whatever keeps its shape.

    Among axes that change, such an axis is sampled by its scale or region like the others.
    """
    have, want = (None if dims is None else dims[axis] for dims in map(dims_of, (node.x, node.y)))
    if isinstance(have, int) and isinstance(want, int):
        return have == want
    scales = node.inputs[2]
    if scales is not None:
        if scales.const_value is None:
            return True
        if scales.const_value.size:
            return 1 <= float(scales.const_value.numpy()[position]) < 2
    return _crops(node)


def _two_if_changed(op: OpBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """1 if y has the shape of x, else 2."""
    have, want = dims_of(x) or [], dims_of(y) or []
    if any(isinstance(h, int) and isinstance(w, int) and h != w for h, w in zip(have, want, strict=False)):
        return op.constant([2], ir.DataType.INT64)
    changed = op.cast(op.Not(op.Equal(op.shape(x), op.shape(y))), ir.DataType.INT64)
    return op.Add(op.ReduceMax(changed, [0], keepdims=1), 1)


def _proportional_matrix(
    op: OpBuilder,
    node: NodeView,
    eye: ir.Value,
    sizes: ir.Value | None,
    position: int,
    axes: Sequence[int],
    attributes: dict[str, Any],
) -> ir.Value:
    """The matrix of an axis whose scale is that of all axes: each unit vector is spread out over the other axes."""
    dims = [op.shape(node.x, axis, axis + 1) for axis in axes]
    vectors = op.reshape(eye, [dims[position], 1, *(d if i == position else 1 for i, d in enumerate(dims))])
    image = op.expand(vectors, [1, 1, *dims])
    resized = op.Resize(image, None, None, sizes, **attributes, axes=[*range(2, 2 + len(axes))])
    for axis in reversed([1, *(2 + i for i in range(len(axes)) if i != position)]):
        resized = op.Gather(resized, 0, axis=axis)
    return resized


def _roi_ct(op: OpBuilder, node: NodeView, ct: ir.Value, axes: Sequence[int]) -> ir.Value:
    """y samples x between start and end of each axis, linearly;  the cotangent of all starts, then of all ends.

    A sample at the fraction t of the region moves by (1 - t) with its start and by t with its end, in units of the
    axis; y moves by the difference of the neighbours of the sample.
    """
    x, y, roi = node.x, node.y, node.required(2)[1]
    rank, starts, ends = node.rank(x), [], []
    for position, axis in enumerate(axes):
        slope = x
        for index, other in enumerate(axes):
            if index == position:
                sides = [
                    _resize_matrix(op, node, index, axes, mode="nearest", nearest_mode=side)
                    for side in ("ceil", "floor")
                ]
                matrix = op.Sub(*sides)
            else:
                matrix = _resize_matrix(op, node, index, axes)
            slope = _along(op, slope, matrix, other, rank)
        rest = [a for a in range(rank) if a != axis]
        moved = op.ReduceSum(op.Mul(ct, slope), rest, keepdims=0) if rest else op.Mul(ct, slope)
        size, count = (op.cast_like(op.shape(v, axis, axis + 1), x) for v in (x, y))
        steps = op.cast_like(op.Range(0, op.size(y, axis), 1), x)
        fraction = op.Where(op.Equal(count, 1.0), 0.5, op.Div(steps, op.Max(op.Sub(count, 1.0), 1.0)))
        scaled = op.Mul(moved, op.Sub(size, 1.0))
        starts.append(op.ReduceSum(op.Mul(scaled, op.Sub(1.0, fraction)), [0], keepdims=1))
        ends.append(op.ReduceSum(op.Mul(scaled, fraction), [0], keepdims=1))
    return op.cast_like(op.Concat(*starts, *ends, axis=0), roi)
