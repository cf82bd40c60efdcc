"""onnx's own checker."""

from __future__ import annotations

import onnx


def check_valid(proto: onnx.ModelProto) -> None:
    """Checks a model; its outputs need no types and its inputs no shapes, though the checker asks for them.

    Raises:
        onnx.checker.ValidationError: If it is not valid.
    """
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
