"""Maps at the size of an image: one product with a matrix an axis, so that every runtime gives the same.

The matrices are those of TensorFlow's ``tf.image.resize`` without anti-aliasing, pixel centres at halves. Their entries
are functions of two sizes, computed by the same nodes whether the sizes are known or not; where they are, the nodes
run when the graph is built and leave a constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import onnx_ir as ir

from onnxattr.compile.clean_up import finish
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.interpolation import kernel
from onnxattr.graph.values import dims_of
from onnxattr.loading.passes.opsets import OPSET
from onnxattr.loading.preprocessing.geometry import axes_of, spreading
from onnxattr.loading.preprocessing.spec import Preprocessing
from onnxattr.session import Session

UPSAMPLINGS = ("bicubic", "bilinear", "nearest")
#: TensorFlow looks the cubic kernel up in a table of that many steps a pixel.
_STEPS = 1024


def resized(
    op: OpBuilder,
    value: ir.Value,
    axes: Sequence[int],
    like: ir.Value,
    like_axes: Sequence[int],
    method: str,
) -> ir.Value:
    """A value with some of its axes resized to those of another.

    Args:
        op: Builder on the graph.
        value: What is resized.
        axes: Its axes.
        like: The value whose sizes it takes.
        like_axes: The axes of that value, one for each.
        method: One of ``UPSAMPLINGS``.
    """
    want = dims_of(like) or []
    for axis, like_axis in zip(axes, like_axes, strict=True):
        have = dims_of(value) or []
        if have[axis] == want[like_axis] and isinstance(have[axis], int):
            continue
        rest = len(have) - axis - 1
        matrix = op.cast_like(_matrix(op, value, axis, like, like_axis, method, rest == 0), value)
        if rest == 0:
            value = op.MatMul(value, matrix)
        elif rest == 1:
            value = op.MatMul(matrix, value)
        else:
            # The axes behind as one.
            behind = op.shape(value, axis + 1)
            flat = op.Reshape(value, op.Concat(op.shape(value, 0, axis + 1), [-1], axis=0))
            value = op.MatMul(matrix, flat)
            value = op.Reshape(value, op.Concat(op.shape(value, 0, axis + 1), behind, axis=0))
        value.shape = ir.Shape([*have[:axis], want[like_axis], *have[axis + 1 :]])
    return value


def spread(
    op: OpBuilder,
    value: ir.Value,
    photo: ir.Value,
    axes: Sequence[int],
    method: str,
    seen: Preprocessing,
) -> ir.Value:
    """A map (N, h, w) of what a network sees as one of the photo, 0 where the network does not see it.

    Args:
        op: Builder on the graph.
        value: The map.
        photo: The photo's pixels.
        axes: Where they have their height and width.
        method: One of ``UPSAMPLINGS``.
        seen: How the network's image is made of the photo.
    """
    there = seen.crop or seen.size
    assert there is not None
    have, want = dims_of(value) or [], dims_of(photo) or []
    vertical, horizontal = axes_of(op, photo, (axes[0], axes[1]), seen, there)
    rows = op.cast_like(spreading(op, vertical, op.size(value, 1), method), value)
    columns = op.cast_like(spreading(op, horizontal, op.size(value, 2), method), value)
    value = op.MatMul(op.MatMul(rows, value), op.Transpose(columns, perm=[1, 0]))
    value.shape = ir.Shape([have[0], want[axes[0]], want[axes[1]]])
    return value


def _matrix(
    op: OpBuilder, value: ir.Value, axis: int, like: ir.Value, like_axis: int, method: str, transposed: bool
) -> ir.Value:
    """The matrix (size there, size here) that resizes an axis: a constant where both sizes are known."""
    have, want = (dims_of(value) or [])[axis], (dims_of(like) or [])[like_axis]
    if isinstance(have, int) and isinstance(want, int):
        known = resize_matrix(have, want, method)
        return op.constant(known.T if transposed else known)
    here, there = (op.Squeeze(op.shape(v, a, a + 1), [0]) for v, a in ((value, axis), (like, like_axis)))
    matrix = matrix_nodes(op, here, there, method)
    return op.Transpose(matrix, perm=[1, 0]) if transposed else matrix


def matrix_nodes(op: OpBuilder, here: ir.Value, there: ir.Value, method: str) -> ir.Value:
    """Nodes that compute a resizing matrix (there, here) in float32 from two int64 scalars.

    Row i holds the kernel around the place (i + 1/2) here / there - 1/2, over the pixels that exist, scaled to the
    sum 1. Arithmetic is in float32, as TensorFlow's.
    """
    to = ir.DataType.FLOAT.value
    scale = op.Div(op.Cast(here, to=to), op.Cast(there, to=to))
    rows = op.Unsqueeze(op.Cast(op.Range(0, there, 1), to=to), [1])
    columns = op.Unsqueeze(op.Cast(op.Range(0, here, 1), to=to), [0])
    middle = op.Mul(op.Add(rows, 0.5), scale)
    if method == "nearest":
        return op.Cast(op.Equal(op.Floor(middle), columns), to=to)
    place = op.Sub(middle, 0.5)
    pixel = op.Floor(place)
    offset = op.Sub(place, pixel)
    if method == "bicubic":
        offset = op.Div(op.Round(op.Mul(offset, float(_STEPS))), float(_STEPS))
    distance = op.Abs(op.Sub(op.Sub(columns, pixel), offset))
    weights = kernel(op, distance, method)
    return op.Div(weights, op.ReduceSum(weights, [1], keepdims=1))


@cache
def resize_matrix(here: int, there: int, method: str) -> np.ndarray:
    """The resizing matrix (there, here) of two known sizes, float32."""
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="matrix")
    op = OpBuilder(graph, OPSET, prefix="matrix")
    sizes = [op.input(name, ir.DataType.INT64, []) for name in ("here", "there")]
    matrix = op.Identity(matrix_nodes(op, sizes[0], sizes[1], method))
    matrix.dtype, matrix.shape = ir.DataType.FLOAT, ir.Shape(["there", "here"])
    graph.outputs.append(matrix)
    feeds = {"here": np.array(here, np.int64), "there": np.array(there, np.int64)}
    (found,) = Session(finish(ir.Model(graph, ir_version=8)), ["CPUExecutionProvider"]).run(feeds)
    return found
