"""Pixels as bytes: what was rewritten with floats in their place takes them as photos have them."""

from __future__ import annotations

import onnx

from onnxattr.graph.subgraphs import nodes_in, set_nodes
from onnxattr.loading.preprocessing.spec import Preprocessing

_FLOATS = "_floats"


def take_bytes(proto: onnx.ModelProto, spec: Preprocessing | None) -> None:
    """Lets the input of pixels of a model take uint8, cast to floats by its first node, in place.

    Nothing happens where the preprocessing is not in the model, or takes floats.
    """
    pixels = next((v for v in proto.graph.input if spec is not None and v.name == spec.name), None)
    if spec is None or not spec.in_graph or spec.dtype != "uint8" or pixels is None:
        return
    taken = {name for node in nodes_in(proto.graph) for name in node.output}
    floats = f"{pixels.name}{_FLOATS}"
    while floats in taken:
        floats += "_"
    for node in nodes_in(proto.graph):
        node.input[:] = [floats if name == pixels.name else name for name in node.input]
    pixels.type.tensor_type.elem_type = onnx.TensorProto.UINT8
    cast = onnx.helper.make_node("Cast", [pixels.name], [floats], to=onnx.TensorProto.FLOAT)
    set_nodes(proto.graph, [cast, *proto.graph.node])
