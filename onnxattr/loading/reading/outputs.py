"""What shape inference, ONNX Runtime and onnx_ir need of outputs, beyond what ONNX asks for.

onnx_ir cannot hold these things, or loses a part of them: they are mended before a model is read into it.
"""

from __future__ import annotations

import itertools

import onnx

from onnxattr.graph.subgraphs import graphs_in


def give_own_values(graph: onnx.GraphProto) -> bool:
    """Lets every subgraph give values of its own nodes alone, each once, in place; whether one did not.

    Of a value that is given twice ONNX Runtime fills one result with what lies in memory, and inference loses the shape
    of an input that is given as it is.
    """
    _, *bodies = graphs_in(graph)
    taken: set[str] = set()
    for body in bodies:
        own = {name for node in body.node for name in node.output}
        for value in body.output:
            if value.name in own:
                own.remove(value.name)
                continue
            taken = taken or _names(graph)
            name = next(n for k in itertools.count() if (n := f"{value.name}_given_{k}") not in taken)
            taken.add(name)
            body.node.append(onnx.helper.make_node("Identity", [value.name], [name]))
            value.name = name
    return bool(taken)


def list_each_once(graph: onnx.GraphProto) -> bool:
    """Drops outputs of a model that are listed before, in place; whether there was one.

    ONNX Runtime takes such a list, though it is one value: it has one cotangent, and is one output to explain.
    """
    seen: set[tuple[str, int]] = set()
    again = []
    for index, value in enumerate(graph.output):
        listed = value.name, value.type.tensor_type.elem_type
        if listed in seen:
            again.append(index)
        seen.add(listed)
    for index in reversed(again):
        del graph.output[index]
    return bool(again)


def type_given_outputs(graph: onnx.GraphProto) -> bool:
    """Gives outputs that are inputs or initializers the type of those, in place; whether one was declared otherwise.

    Outputs of ZipMap become the tensors of scores that they are made of: there is no other use of dictionaries.
    """
    zipped = _type_scores(graph)
    held = _given_types(graph)
    wrong = [value for value in graph.output if value.name in held and value.type != held[value.name]]
    for value in wrong:
        value.type.CopyFrom(held[value.name])
    return bool(wrong) or zipped


def declare_each_once(graph: onnx.GraphProto) -> bool:
    """Drops other types that value_info states of inputs and initializers, in place; whether there was one.

    ONNX Runtime does not read them, and its converter to float16 leaves those of the weights that it skips.
    """
    found = False
    for part in graphs_in(graph):
        held = _given_types(part)
        values = part.value_info
        for index in reversed(range(len(values))):
            if values[index].name in held and values[index].type != held[values[index].name]:
                del values[index]
                found = True
    return found


def _given_types(graph: onnx.GraphProto) -> dict[str, onnx.TypeProto]:
    """The types of the inputs and initializers of a graph, by their names."""
    held = {t.name: onnx.helper.make_tensor_type_proto(t.data_type, t.dims) for t in graph.initializer}
    return {value.name: value.type for value in graph.input} | held


def _type_scores(graph: onnx.GraphProto) -> bool:
    names = {name for node in graph.node if node.op_type == "ZipMap" for name in node.output}
    for value in graph.output:
        if value.name in names:
            value.CopyFrom(
                onnx.helper.make_tensor_value_info(value.name, onnx.TensorProto.FLOAT, [None, None])
            )
    return any(value.name in names for value in graph.output)


def _names(graph: onnx.GraphProto) -> set[str]:
    """The names of all values of a graph and of those inside it."""
    nodes = (node for part in graphs_in(graph) for node in part.node)
    values = (value for part in graphs_in(graph) for value in (*part.input, *part.initializer))
    return {name for node in nodes for name in node.output} | {value.name for value in values}
