"""Shapes that a file declares for its values, held to what its own nodes compute."""

from __future__ import annotations

import onnx


def correct_declared_shapes(proto: onnx.ModelProto) -> None:
    """Replaces declared shapes that inference contradicts.

    Exporters write them where they trace one input of many, and ONNX Runtime runs such files with a warning.
    """
    bare = onnx.ModelProto()
    bare.CopyFrom(proto)
    del bare.graph.value_info[:]
    for output in bare.graph.output:
        output.type.tensor_type.ClearField("shape")
    graph = onnx.shape_inference.infer_shapes(bare, data_prop=True).graph
    inferred = {value.name: value.type.tensor_type for value in [*graph.value_info, *graph.output]}
    for value in [*proto.graph.value_info, *proto.graph.output]:
        declared, known = value.type.tensor_type, inferred.get(value.name)
        if known is not None and known.HasField("shape") and _contradicts(declared, known):
            declared.shape.CopyFrom(known.shape)


def _contradicts(declared: onnx.TypeProto.Tensor, known: onnx.TypeProto.Tensor) -> bool:
    if not declared.HasField("shape"):
        return False
    pairs = [(d.dim_value, k.dim_value) for d, k in zip(declared.shape.dim, known.shape.dim, strict=False)]
    return len(declared.shape.dim) != len(known.shape.dim) or any(d and k and d != k for d, k in pairs)
