"""TensorFlow graphs in float32 instead of bfloat16, which few operators of ONNX and ONNX Runtime take."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from ...common import dependencies
from ..tracing.inputs import ModelInputs


def widen_inputs(inputs: ModelInputs) -> ModelInputs:
    """Inputs that are given in float32 where the model takes bfloat16."""
    tf = dependencies.tensorflow()
    given = [
        tf.TensorSpec(spec.shape, tf.float32, spec.name) if spec.dtype == tf.bfloat16 else spec
        for spec in inputs.specs
    ]

    def call(tensors: list[Any]) -> Any:
        return inputs.call([tf.cast(t, spec.dtype) for t, spec in zip(tensors, inputs.specs, strict=True)])

    return inputs if given == inputs.specs else replace(inputs, specs=given, call=call)


def widen(graph_def: Any) -> Any:
    """Makes float32 of each bfloat16 in a frozen GraphDef, functions and constants included; returns the GraphDef.

    bfloat16 has the range of float32, so that nothing overflows; what it rounds off is kept.
    """
    tf = dependencies.tensorflow()
    for function in graph_def.library.function:
        for argument in (*function.signature.input_arg, *function.signature.output_arg):
            if argument.type == tf.bfloat16.as_datatype_enum:
                argument.type = tf.float32.as_datatype_enum
        _widen_nodes(tf, function.node_def)
    _widen_nodes(tf, graph_def.node)
    return graph_def


def _widen_nodes(tf: Any, nodes: Iterable[Any]) -> None:
    narrow, wide = tf.bfloat16.as_datatype_enum, tf.float32.as_datatype_enum
    for node in nodes:
        for attribute in node.attr.values():
            kind = attribute.WhichOneof("value")
            if kind == "type" and attribute.type == narrow:
                attribute.type = wide
            elif kind == "list" and narrow in attribute.list.type:
                attribute.list.type[:] = [wide if each == narrow else each for each in attribute.list.type]
            elif kind == "tensor" and attribute.tensor.dtype == narrow:
                numbers = tf.make_ndarray(attribute.tensor).astype(np.float32)
                attribute.tensor.CopyFrom(tf.make_tensor_proto(numbers))
