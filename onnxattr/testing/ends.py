"""Copies of a model with other inputs and outputs, for checks of what lies between."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

_FLOAT = onnx.TensorProto.FLOAT


def with_outputs(proto: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """A copy of a model with more of its float values as outputs."""
    more = onnx.ModelProto()
    more.CopyFrom(proto)
    own = {value.name for value in (*proto.graph.output, *proto.graph.input)}
    fresh = [name for name in dict.fromkeys(names) if name not in own]
    more.graph.output.extend(onnx.helper.make_tensor_value_info(name, _FLOAT, None) for name in fresh)
    return more


def freed(proto: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """A copy of a model whose float values of these names are inputs, whatever the model computes for them."""
    free = onnx.ModelProto()
    free.CopyFrom(proto)
    for node in free.graph.node:
        for place, name in enumerate(node.output):
            if name in names:
                node.output[place] = f"{name}_computed"
    kept = [value for value in free.graph.output if value.name not in names]
    del free.graph.output[:]
    free.graph.output.extend(kept)
    free.graph.input.extend(onnx.helper.make_tensor_value_info(name, _FLOAT, None) for name in names)
    return free
