"""ONNX's shape inference, what it says nothing of (ranks behind a few operators), and the ranks that readers need."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import onnx
import onnx_ir as ir

from onnxattr.graph.subgraphs import bodies_of, nodes_in, values_in
from onnxattr.graph.values import dims_of

#: What a value's dimensions are known to be: numbers, symbols, or None.
Shapes = Mapping[str, onnx.TensorShapeProto]
_ANY = onnx.TensorShapeProto.Dimension()
#: What ONNX says of integers that it follows, not of shapes. It takes the column and the row in ids[:, None] + ids for
#: the vectors that they were made of, and finds two of other lengths contradictory.
_OF_NUMBERS = "Invalid rank for"
_REDUCTIONS = tuple(
    f"Reduce{kind}"
    for kind in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
)

#: Operators whose first operand has an axis of the number that they state.
_WITH_AXIS = ("Concat", "Gather", "LogSoftmax", "Softmax", "Split")


def infer_all(proto: onnx.ModelProto, strict: bool) -> onnx.ModelProto:
    """The model with all types and shapes that follow from its nodes, one after the other.

    Args:
        proto: The model.
        strict: Whether what contradicts itself is an error; else it stays untyped.

    Raises:
        onnx.shape_inference.InferenceError: If the model contradicts itself.
    """
    inferred = _infer(proto, strict)
    while any(node.op_type in _RANKS for node in nodes_in(inferred.graph)):
        if not _fill(inferred.graph, {}):
            break
        inferred = _infer(inferred, strict)
    return inferred


def _infer(proto: onnx.ModelProto, strict: bool) -> onnx.ModelProto:
    """Inference that takes a GroupNormalization for an Identity: of the former's definition it loses the shape."""
    if not any(_is_group_norm(node) for node in nodes_in(proto.graph)):
        return infer_once(proto, strict)
    simpler = onnx.ModelProto()
    simpler.CopyFrom(proto)
    for node in nodes_in(simpler.graph):
        if _is_group_norm(node):
            node.CopyFrom(onnx.helper.make_node("Identity", node.input[:1], node.output, node.name))
    inferred = infer_once(simpler, strict)
    for original, node in zip(nodes_in(proto.graph), nodes_in(inferred.graph), strict=True):
        if _is_group_norm(original):
            node.CopyFrom(original)
    return inferred


def infer_once(proto: onnx.ModelProto, strict: bool) -> onnx.ModelProto:
    """ONNX's own inference, arguments and errors as of ``infer_all``; ``_OF_NUMBERS`` says what it gets wrong."""
    infer = functools.partial(onnx.shape_inference.infer_shapes, proto, check_type=strict)
    try:
        return infer(strict_mode=strict, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        if _OF_NUMBERS not in str(error):
            raise
        infer(strict_mode=True)
        return infer(data_prop=True)
    except ValueError as error:  # of a Cast to type 0, where every other contradiction is an InferenceError
        raise onnx.shape_inference.InferenceError(str(error)) from error


def _is_group_norm(node: onnx.NodeProto) -> bool:
    return node.op_type == "GroupNormalization" and node.domain in ("", "ai.onnx")


def _fill(graph: onnx.GraphProto, outer: Shapes) -> bool:
    """Notes shapes that ONNX's inference left out, in place; whether there were any."""
    values = {value.name: value for value in values_in(graph)}
    shapes = dict(outer) | {
        name: value.type.tensor_type.shape
        for name, value in values.items()
        if value.type.tensor_type.HasField("shape")
    }
    for tensor in graph.initializer:
        shapes[tensor.name] = onnx.helper.make_tensor_type_proto(
            tensor.data_type, tensor.dims
        ).tensor_type.shape
    found = False
    for node in graph.node:
        for body in bodies_of(node):
            found |= _fill(body, shapes)
        dims_behind = _RANKS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        value = values.get(node.output[0]) if node.output else None
        if dims_behind is None or value is None or node.output[0] in shapes:
            continue
        if (dims := dims_behind(node, shapes)) is not None:
            value.type.tensor_type.shape.CopyFrom(onnx.TensorShapeProto(dim=dims))
            found = True
    return found


Dims = list[onnx.TensorShapeProto.Dimension] | None


def _reduced(node: onnx.NodeProto, shapes: Shapes) -> Dims:
    """Axes given at run time: of a known number, or kept."""
    x, axes = shapes.get(node.input[0]), shapes.get(node.input[1]) if len(node.input) > 1 else None
    if x is None:
        return None
    if all(a.name != "keepdims" or a.i for a in node.attribute):
        return [_ANY] * len(x.dim)
    count = axes.dim[0].dim_value if axes is not None and len(axes.dim) == 1 else 0
    # No axes at all stand for all of them, or for none.
    return [_ANY] * (len(x.dim) - count) if count else None


def _unpooled(node: onnx.NodeProto, shapes: Shapes) -> Dims:
    x = shapes.get(node.input[0])
    return None if x is None else [*x.dim[:2], *[_ANY] * (len(x.dim) - 2)]


def _spectrum(node: onnx.NodeProto, shapes: Shapes) -> Dims:
    x = shapes.get(node.input[0])
    return None if x is None else [x.dim[0], _ANY, _ANY, onnx.TensorShapeProto.Dimension(dim_value=2)]


_RANKS = {"MaxUnpool": _unpooled, "STFT": _spectrum} | dict.fromkeys(_REDUCTIONS, _reduced)


def least_rank(value: ir.Value) -> int:
    """The rank that a value must have for the nodes that read it, or has by its shape."""
    ranks = [len(dims_of(value) or [])]
    for node, index in value.uses():
        if node.op_type in _WITH_AXIS and (index == 0 or node.op_type == "Concat"):
            ranks.append(node.attributes.get_int("axis", 0) + 1)
        if node.op_type == "Transpose":
            ranks.append(len(node.attributes.get_ints("perm", [])))
    return max(ranks)
