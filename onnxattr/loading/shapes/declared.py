"""Shapes that a file declares: taken off before shapes are inferred, and asked only where inference is silent.

Exporters write down what one trace showed, and tools that rename a dimension of the inputs leave the inner ones as they
were. ONNX Runtime goes by the nodes and warns; so do we.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping

import onnx

from onnxattr.graph.subgraphs import bodies_of, graphs_in

#: A value, by the number of its graph (in the order of ``graphs_in``) and its name.
Key = tuple[int, str]
Types = dict[Key, onnx.TypeProto]
#: Types of the values that a graph sees, its own and those of the graphs around it.
Scope = Mapping[str, onnx.TypeProto]


def take_off(proto: onnx.ModelProto) -> Types:
    """Lets a model declare the shapes of its inputs alone, in place; returns what it declared beside them.

    The types of outputs and of the inputs and outputs of subgraphs stay, without their shapes. Only the step's number
    and the condition of a Loop's body keep theirs, a scalar or one element, as the file chose.
    """
    declared: Types = {}
    _take_off(proto.graph, itertools.count(), len(proto.graph.input), declared)
    return declared


def _take_off(graph: onnx.GraphProto, numbers: Iterator[int], kept: int, declared: Types) -> None:
    number = next(numbers)
    held = {value.name: value.type for value in graph.input}
    held |= {t.name: onnx.helper.make_tensor_type_proto(t.data_type, t.dims) for t in graph.initializer}
    for value in (*graph.value_info, *graph.output, *graph.input[kept:]):
        declared[number, value.name] = onnx.TypeProto()
        declared[number, value.name].CopyFrom(value.type)
        _without_shape(value.type)
    del graph.value_info[:]
    for value in graph.output:
        if value.name in held:
            # Inference says nothing of outputs that no node computes.
            value.type.CopyFrom(held[value.name])
    for node in graph.node:
        loop = node.op_type == "Loop" and node.domain in ("", "ai.onnx")
        for body in bodies_of(node):
            _take_off(body, numbers, 2 if loop else 0, declared)


def scopes(graph: onnx.GraphProto, outer: Scope | None = None) -> Iterator[tuple[onnx.GraphProto, Scope]]:
    """Every graph, in the order of ``graphs_in``, with the types of what it sees as far as they are noted."""
    scope = dict(outer or {})
    for tensor in graph.initializer:
        scope[tensor.name] = onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
    scope |= {value.name: value.type for value in (*graph.input, *graph.output, *graph.value_info)}
    yield graph, scope
    for node in graph.node:
        for body in bodies_of(node):
            yield from scopes(body, scope)


def dims_in(type_proto: onnx.TypeProto) -> list[int | str | None] | None:
    """The dimensions of a tensor's type: numbers, names, None for those of no name; None without a rank."""
    if not type_proto.tensor_type.HasField("shape"):
        return None
    return [
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None
        for dim in type_proto.tensor_type.shape.dim
    ]


def has_shape(type_proto: onnx.TypeProto | None) -> bool:
    """Whether a type is known with its rank; sequences and optional values have none of their own."""
    if type_proto is None or type_proto.WhichOneof("value") is None:
        return False
    return not type_proto.HasField("tensor_type") or type_proto.tensor_type.HasField("shape")


def additions(
    inferred: onnx.ModelProto, declared: Types, everything: bool = False, known: Collection[str] = ()
) -> Types:
    """What a file declares of values that inference says nothing of, to be noted before it goes on from there.

    A value waits for those that its node reads, unless its node is of another domain, or ``everything`` is asked for.
    Names of dimensions are not believed: two that have one name would count as equal. Sizes are believed only where
    the inputs leave nothing open and no other declaration is wrong.

    Args:
        inferred: The model after inference.
        declared: What ``take_off`` gave.
        everything: Whether no value waits.
        known: Values whose sizes were inferred before, by what stands for their node, and not declared by the file.

    Returns:
        Types of the values that need wait for no other.
    """
    silent: Types = {}
    wrong = _open(inferred.graph)
    for number, (graph, scope) in enumerate(scopes(inferred.graph)):
        for name in (name for node in graph.node for name in node.output if name):
            told = declared.get((number, name))
            if has_shape(told) and not has_shape(scope.get(name)):
                silent[number, name] = told  # type: ignore[assignment]
            wrong = wrong or _contradict(told, scope.get(name))
    waited_for = {name for _, name in silent}
    ready: Types = {}
    for number, graph in enumerate(graphs_in(inferred.graph)):
        for node in graph.node:
            free = everything or node.domain not in ("", "ai.onnx") or not waited_for & set(node.input)
            for name in node.output:
                if free and (number, name) in silent:
                    ready[number, name] = _believed(silent[number, name], not wrong or name in known)
    return ready


def note(proto: onnx.ModelProto, types: Types) -> onnx.ModelProto:
    """A copy of a model that declares types of inner values and outputs."""
    noted = onnx.ModelProto()
    noted.CopyFrom(proto)
    for number, graph in enumerate(graphs_in(noted.graph)):
        outputs = {value.name: value for value in graph.output}
        for node in graph.node:
            for name in node.output:
                if (number, name) in types:
                    value = outputs[name] if name in outputs else graph.value_info.add(name=name)
                    value.type.CopyFrom(types[number, name])
    return noted


def _open(graph: onnx.GraphProto) -> bool:
    """Whether an input has a size that is not fixed."""
    tensors = [value.type.tensor_type for value in graph.input if value.type.HasField("tensor_type")]
    return any(not t.HasField("shape") or any(d.dim_value <= 0 for d in t.shape.dim) for t in tensors)


def _contradict(declared: onnx.TypeProto | None, known: onnx.TypeProto | None) -> bool:
    if declared is None or known is None or not has_shape(declared) or not has_shape(known):
        return False
    a, b = declared.tensor_type.shape.dim, known.tensor_type.shape.dim
    sizes = [(p.dim_value, q.dim_value) for p, q in zip(a, b, strict=False)]
    return len(a) != len(b) or any(p and q and p != q for p, q in sizes)


def _believed(declared: onnx.TypeProto, sizes: bool) -> onnx.TypeProto:
    told = onnx.TypeProto()
    told.CopyFrom(declared)
    if not told.HasField("tensor_type"):
        _without_shape(told)
    for dim in told.tensor_type.shape.dim if told.HasField("tensor_type") else ():
        if not (sizes and dim.dim_value > 0):
            dim.Clear()
    return told


def _without_shape(type_proto: onnx.TypeProto) -> None:
    kind = type_proto.WhichOneof("value")
    if kind == "tensor_type" and not type_proto.tensor_type.elem_type:
        type_proto.Clear()
    elif kind == "tensor_type":
        type_proto.tensor_type.ClearField("shape")
    elif kind in ("sequence_type", "optional_type"):
        _without_shape(getattr(type_proto, kind).elem_type)
