"""TensorFlow's interpolation of images between fixed sizes, as the matrices that it amounts to.

ONNX Runtime computes where a pixel lies by other roundings than TensorFlow: at the 480th row weights differ by 4e-5. It
has no cubic interpolation of TensorFlow's kind. Where its weights are TensorFlow's, as in every enlargement by a
power of two, Resize stays; not where ONNX's inference reads another size from the scale than ONNX Runtime, which
contradicts what follows. The nearest pixels are gathered there.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...common import dependencies
from .selects import Handler

#: Largest difference between weights that Resize may have.
_TOLERANCE = 1e-6
Move = tuple[np.float32, np.float32]
_UNMOVED: Move = (np.float32(1), np.float32(0))
_NHWC_TO_NCHW, _NCHW_TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]


def _resize(ctx: Any, node: Any, name: str, args: Any) -> None:
    """y = Mh x Mw^T per channel, where Mh and Mw hold the weights of the rows and of the columns."""
    from tf2onnx.onnx_opset.nn import Resize

    changes = _changes(ctx, node)
    moves = _moves(ctx, node)
    if moves is None or (node.type == "ScaleAndTranslate" and not changes):
        return  # reported as an unknown operator
    _take_in_type_of_result(ctx, node)
    matrices = [_weights(node, *sizes, move) for sizes, move in zip(changes, moves, strict=False)]
    if all(
        _is_that_of_onnxruntime(node, *sizes, matrix) for sizes, matrix in zip(changes, matrices, strict=True)
    ):
        Resize.version_11(ctx, node)
        return
    x, last = node.input[0], _as_last(ctx, node)
    ctx.remove_node(node.name)
    rows, columns = (
        ctx.make_const(f"{name}/{axis}", matrix).output[0]
        for axis, matrix in zip(("rows", "columns"), (matrices[0], matrices[1].T.copy()), strict=True)
    )
    image = ctx.make_node("Transpose", [x], attr={"perm": _NHWC_TO_NCHW}).output[0]
    image = ctx.make_node("MatMul", [rows, image]).output[0]
    image = ctx.make_node("MatMul", [image, columns]).output[0]
    ctx.make_node("Transpose", [image], attr={"perm": _NCHW_TO_NHWC}, **last)


def _take_in_type_of_result(ctx: Any, node: Any) -> None:
    """Casts the images to the type of the result, float32 whatever they are."""
    x, dtype = node.input[0], ctx.get_dtype(node.output[0])
    if ctx.get_dtype(x) != dtype:
        cast = ctx.make_node("Cast", [x], attr={"to": dtype}, shapes=[ctx.get_shape(x)], dtypes=[dtype])
        ctx.replace_input(node, x, cast.output[0], 0)


def _resize_nearest(ctx: Any, node: Any, name: str, args: Any) -> None:
    """y[i, j] = x[rows[i], columns[j]], where ONNX's inference would read another size from the scales of a Resize."""
    from tf2onnx.onnx_opset.nn import Resize

    changes = _changes(ctx, node)
    if all(_is_inferred(old, new) for old, new in changes):
        Resize.version_11(ctx, node)
        return
    image, last = node.input[0], _as_last(ctx, node)
    nearest = [_weights(node, old, new).argmax(axis=1) for old, new in changes]
    ctx.remove_node(node.name)
    rows, columns = (
        ctx.make_const(f"{name}/{axis}", places.astype(np.int64)).output[0]
        for axis, places in zip(("rows", "columns"), nearest, strict=True)
    )
    image = ctx.make_node("Gather", [image, rows], attr={"axis": 1}).output[0]
    ctx.make_node("Gather", [image, columns], attr={"axis": 2}, **last)


def _changes(ctx: Any, node: Any) -> list[tuple[int, int]]:
    """The height and the width, before and after; none where a run decides."""
    sizes = ctx.get_shape(node.input[0])
    if not sizes or -1 in sizes[1:3] or not node.inputs[1].is_const():
        return []
    return list(zip(sizes[1:3], map(int, node.inputs[1].get_tensor_value()), strict=True))


def _as_last(ctx: Any, node: Any) -> dict[str, Any]:
    """For tf2onnx's ``make_node``: a node that takes the place, the name and the output of another."""
    output = node.output[0]
    return {
        "name": node.name,
        "outputs": [output],
        "shapes": [ctx.get_shape(output)],
        "dtypes": [ctx.get_dtype(output)],
    }


def _is_inferred(old: int, new: int) -> bool:
    """Whether ONNX's inference finds a size from a scale, by numbers of 64 bits where ONNX Runtime has 32."""
    return math.floor(old * float(np.float32(new) / np.float32(old))) == new


def _moves(ctx: Any, node: Any) -> list[Move] | None:
    """Scale and translation of the height and of the width; None where a run decides."""
    if node.type != "ScaleAndTranslate":
        return [_UNMOVED, _UNMOVED]
    scale, translation = (_known(ctx, given) for given in node.inputs[2:4])
    return None if scale is None or translation is None else list(zip(scale, translation, strict=True))


def _known(ctx: Any, node: Any) -> np.ndarray | None:
    """The floats of a value that is constant, or a quotient of such and of sizes of an image that are known."""
    if node.is_const():
        return np.asarray(node.get_tensor_value(as_list=False), np.float32)
    if node.type == "Cast":
        return _known(ctx, node.inputs[0])
    if node.type == "Div":
        over, under = (_known(ctx, given) for given in node.inputs)
        return None if over is None or under is None else over / under
    if node.type == "Slice" and len(node.inputs) > 2 and all(given.is_const() for given in node.inputs[1:]):
        source, (start, end) = (
            node.inputs[0],
            (int(given.get_tensor_value()[0]) for given in node.inputs[1:3]),
        )
        source = source.inputs[0] if source.type == "Cast" else source
        sizes = (source.type == "Shape" and ctx.get_shape(source.input[0])) or []
        found = np.array(sizes[start:end], np.float32)
        return (
            found
            if (start, end, len(node.inputs)) == (1, 3, 4) and len(found) == 2 and found.min() > 0
            else None
        )
    return None


def _weights(node: Any, old: int, new: int, move: Move = _UNMOVED) -> np.ndarray:
    """The weights of an axis, of shape (new, old): what TensorFlow makes of the unit vectors."""
    tf = dependencies.tensorflow()
    resize = getattr(tf.raw_ops, node.type)
    image, arguments = np.eye(old, dtype=np.float32)[None, :, :, None], _arguments(node, old, new, move)
    alone = node.type == "ScaleAndTranslate"  # it would filter the unit vectors beside each other, too
    if alone:
        image = image.transpose(2, 1, 0, 3)
    with tf.Graph().as_default() as graph, tf.device("/cpu:0"), tf.compat.v1.Session(graph=graph) as session:
        result: np.ndarray = session.run(resize(images=image, **arguments))
    return np.ascontiguousarray(result[:, :, 0, 0].T) if alone else result[0, :, :, 0]


def _arguments(node: Any, old: int, new: int, move: Move) -> dict[str, Any]:
    """What the operator is given for an axis alone, which stands first of two."""
    if node.type == "ScaleAndTranslate":
        return {
            "size": [new, 1],
            "scale": np.array([move[0], 1], np.float32),
            "translation": np.array([move[1], 0], np.float32),
            "kernel_type": node.get_attr_value("kernel_type", b"lanczos3"),
            "antialias": bool(node.get_attr_value("antialias", 1)),
        }
    given = {"size": [new, old], "align_corners": bool(node.get_attr_value("align_corners", 0))}
    if node.type != "ResizeArea":
        given["half_pixel_centers"] = bool(node.get_attr_value("half_pixel_centers", 0))
    return given


def _is_that_of_onnxruntime(node: Any, old: int, new: int, matrix: np.ndarray) -> bool:
    """Whether a linear Resize has these weights."""
    if node.type != "ResizeBilinear" or not _is_inferred(old, new):
        return False
    places, scale = np.arange(new, dtype=np.float32), np.float32(new) / np.float32(old)
    if node.get_attr_value("align_corners", 0):
        places = places * np.float32(old - 1) / np.float32(max(new - 1, 1))
    elif node.get_attr_value("half_pixel_centers", 0):
        places = (places + np.float32(0.5)) / scale - np.float32(0.5)
    else:
        places = places / scale
    places = np.clip(places, 0, old - 1)
    below = np.minimum(places.astype(int), max(old - 2, 0))
    share = places - below
    own = np.zeros_like(matrix)
    own[np.arange(new), below] = 1 - share
    own[np.arange(new), np.minimum(below + 1, old - 1)] += share
    return bool(np.abs(own - matrix).max() <= _TOLERANCE)


RESIZES: Mapping[str, Handler] = {
    "ResizeBilinear": (_resize, []),
    "ResizeBicubic": (_resize, []),
    "ResizeArea": (_resize, []),
    "ScaleAndTranslate": (_resize, []),
    "ResizeNearestNeighbor": (_resize_nearest, []),
}
