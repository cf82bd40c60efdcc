"""ONNX's shape inference, what it says nothing of (ranks behind a few operators), and the ranks that readers need."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import onnx
import onnx_ir as ir

from onnxattr.graph.subgraphs import bodies_of, nodes_in, values_in
from onnxattr.graph.values import dims_of

#: What is known of values, their rank among it or not.
Types = Mapping[str, onnx.TypeProto.Tensor]
Dims = list[onnx.TensorShapeProto.Dimension] | None
#: The dimensions of what an operator gives, as far as they are known.
Ranks = dict[str, Callable[[onnx.NodeProto, Types], Dims]]
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
    known = _RANKS.keys() | _RANKS_IN_LOOPS
    while any(_operator(node) in known for node in nodes_in(inferred.graph)):
        if not _fill(inferred.graph, {}, _RANKS):
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


def _operator(node: onnx.NodeProto) -> str:
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"


def _fill(graph: onnx.GraphProto, outer: Types, ranks: Ranks) -> bool:
    """Notes shapes that ONNX's inference left out, in place; whether there were any."""
    values = {value.name: value for value in values_in(graph)}
    types = dict(outer) | {name: value.type.tensor_type for name, value in values.items()}
    for tensor in graph.initializer:
        types[tensor.name] = onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims).tensor_type
    found = False
    for node in graph.node:
        inner = ranks | _RANKS_IN_LOOPS if _operator(node) == "Loop" else ranks
        for body in bodies_of(node):
            found |= _fill(body, types, inner)
        dims_behind = ranks.get(_operator(node))
        if dims_behind is None or not node.output or node.input[0] not in types:
            continue
        if _shape(types, node.output[0]) is not None:
            continue
        if (dims := dims_behind(node, types)) is not None:
            # ONNX's inference notes no value of an operator that it does not know.
            value = values.get(node.output[0]) or graph.value_info.add(name=node.output[0])
            known = value.type.tensor_type
            known.elem_type = known.elem_type or types[node.input[0]].elem_type
            known.shape.CopyFrom(onnx.TensorShapeProto(dim=dims))
            found = True
    return found


def _shape(types: Types, name: str) -> onnx.TensorShapeProto | None:
    """The shape of a value, if its rank is known."""
    return types[name].shape if name in types and types[name].HasField("shape") else None


def _reduced(node: onnx.NodeProto, types: Types) -> Dims:
    """Axes given at run time: of a known number, or kept."""
    x, axes = _shape(types, node.input[0]), _shape(types, node.input[1]) if len(node.input) > 1 else None
    if x is None:
        return None
    if all(a.name != "keepdims" or a.i for a in node.attribute):
        return [_ANY] * len(x.dim)
    count = axes.dim[0].dim_value if axes is not None and len(axes.dim) == 1 else 0
    # No axes at all stand for all of them, or for none.
    return [_ANY] * (len(x.dim) - count) if count else None


def _unpooled(node: onnx.NodeProto, types: Types) -> Dims:
    x = _shape(types, node.input[0])
    return None if x is None else [*x.dim[:2], *[_ANY] * (len(x.dim) - 2)]


def _spectrum(node: onnx.NodeProto, types: Types) -> Dims:
    x = _shape(types, node.input[0])
    return None if x is None else [x.dim[0], _ANY, _ANY, onnx.TensorShapeProto.Dimension(dim_value=2)]


def _of_columns(node: onnx.NodeProto, types: Types) -> Dims:
    x, columns = _shape(types, node.input[0]), [a.i for a in node.attribute if a.name == "N"]
    if x is None or not x.dim or not columns:
        return None
    return [*x.dim[:-1], onnx.TensorShapeProto.Dimension(dim_value=columns[0])]


def _product(node: onnx.NodeProto, types: Types) -> Dims:
    a, b = (_shape(types, name) for name in node.input[:2])
    if a is None or b is None or min(len(a.dim), len(b.dim)) < 2:
        return None
    return [_ANY] * max(len(a.dim), len(b.dim))


def _of_first(node: onnx.NodeProto, types: Types) -> Dims:
    x = _shape(types, node.input[0])
    return None if x is None else [*x.dim]


def _of_rank(node: onnx.NodeProto, types: Types) -> Dims:
    x = _of_first(node, types)
    return None if x is None else [_ANY] * len(x)


def _of_heads(node: onnx.NodeProto, types: Types) -> Dims:
    """(samples, tokens, features); of how many, packed queries, keys and values do not say."""
    query, value = (_shape(types, name) for name in (*node.input, "", "", "")[:3:2])
    if query is None or value is None or len(query.dim) != 3:
        return [_ANY] * 3
    grouped = node.op_type == "GroupQueryAttention"
    return [*query.dim] if grouped else [*query.dim[:2], value.dim[2] if len(value.dim) == 3 else _ANY]


_RANKS: Ranks = {"MaxUnpool": _unpooled, "STFT": _spectrum, **dict.fromkeys(_REDUCTIONS, _reduced)}
#: Of operators that a decomposition is written for, or the kernel is kept of, once the rank of their operand is known:
#: of a state of a Loop it is only if that of the state behind a step is.
_RANKS_IN_LOOPS: Ranks = {
    f"com.microsoft::{name}": dims_behind
    for names, dims_behind in (
        ("MatMulNBits MatMulBnb4", _of_columns),
        ("FusedMatMul TransposeMatMul DynamicQuantizeMatMul MatMulIntegerToFloat", _product),
        ("RotaryEmbedding GroupNorm MoE QMoE", _of_first),
        ("Attention QAttention FusedConv FusedGemm", _of_rank),
        ("MultiHeadAttention GroupQueryAttention", _of_heads),
    )
    for name in names.split()
}


def least_rank(value: ir.Value) -> int:
    """The rank that a value must have for the nodes that read it, or has by its shape."""
    ranks = [len(dims_of(value) or [])]
    for node, index in value.uses():
        if node.op_type in _WITH_AXIS and (index == 0 or node.op_type == "Concat"):
            ranks.append(node.attributes.get_int("axis", 0) + 1)
        if node.op_type == "Transpose":
            ranks.append(len(node.attributes.get_ints("perm", [])))
    return max(ranks)
