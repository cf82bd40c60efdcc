"""onnx's own checker."""

from __future__ import annotations

import onnx

from onnxattr.errors import ModelError
from onnxattr.graph.subgraphs import is_standard, nodes_in

#: Operators whose outputs all need a name in ONNX Runtime, which ends the process otherwise, or gives no reason.
_ALL_NAMED = ("Split", "If", "Loop", "Scan")


def check_valid(proto: onnx.ModelProto) -> None:
    """Checks a model; its outputs need no types and its inputs no shapes, though the checker asks for them.

    Raises:
        ModelError: If a node has an output without a name that it needs.
        onnx.checker.ValidationError: If it is not valid.
    """
    for part in (proto.graph, *proto.functions):
        for node in nodes_in(part):
            if is_standard(node, *_ALL_NAMED) and "" in node.output:
                raise ModelError(
                    f"{node.op_type} node {node.name!r} has outputs {list(node.output)}: give each a name. ONNX "
                    "Runtime cannot run it otherwise."
                )
    given = [(value, value.type.SerializeToString()) for value in (*proto.graph.output, *proto.graph.input)]
    for value in proto.graph.output:
        if value.type.WhichOneof("value") is None:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    for value, _ in given:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(proto)
    finally:
        for value, serialized in given:
            value.type.ParseFromString(serialized)
