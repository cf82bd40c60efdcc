"""What a model declares of its values, which a file may do wrongly: outputs and shapes, changed for a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import onnx

from onnxattr.graph.subgraphs import graphs_in


@contextlib.contextmanager
def outputs_asked(proto: onnx.ModelProto, names: Iterable[str]) -> Iterator[list[str]]:
    """While it lasts, the outputs of a model are these values of it, inner ones too; gives their names, each once.

    Their shapes are left out, as a file may declare them wrongly.
    """
    own = list(proto.graph.output)
    typed = {value.name: value.type for value in (*own, *proto.graph.value_info)}
    wanted = list(dict.fromkeys(names))
    asked = [onnx.ValueInfoProto(name=name) for name in wanted]
    for value in asked:
        if value.name in typed and typed[value.name].HasField("tensor_type"):
            value.type.tensor_type.elem_type = typed[value.name].tensor_type.elem_type
    del proto.graph.output[:]
    proto.graph.output.extend(asked)
    try:
        yield wanted
    finally:
        del proto.graph.output[:]
        proto.graph.output.extend(own)


def without_declared_shapes(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model without what it declares of values that nodes compute; outputs keep their types."""
    bare = onnx.ModelProto()
    bare.CopyFrom(proto)
    for graph in graphs_in(bare.graph):
        del graph.value_info[:]
        for value in graph.output:
            if value.type.HasField("tensor_type"):
                value.type.tensor_type.ClearField("shape")
    return bare
