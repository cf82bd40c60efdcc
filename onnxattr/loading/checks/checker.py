"""onnx's own checker."""

from __future__ import annotations

import onnx

from onnxattr.errors import ModelError
from onnxattr.graph.subgraphs import is_standard, nodes_in

#: Operators whose outputs all need a name in ONNX Runtime, which ends the process otherwise, or gives no reason.
_ALL_NAMED = ("Split", "If", "Loop", "Scan")
#: Attributes that are 0 or 1. Some runtimes and operators read another number as 1, some as 0.
_FLAGS = frozenset(
    """align_corners allowzero antialias ceil_mode count_include_pad exclude_outside exclusive fmod input_forget
    interleaved inverse keepdims largest layout linear_before_reset noop_with_empty_axes onesided reverse sorted
    storage_order training_mode transA transB upper""".split()
)
#: Those of com.microsoft's operators.
_CONTRIB_FLAGS = _FLAGS | frozenset(
    """causal channels_last do_rotary normalize_routing_weights rotary_interleaved transBatchA transBatchB
    unidirectional""".split()
)
_FLAGS_OF = {"": _FLAGS, "ai.onnx": _FLAGS, "com.microsoft": _CONTRIB_FLAGS}
_NUMBERS = (onnx.AttributeProto.INT, onnx.AttributeProto.FLOAT)


def check_valid(proto: onnx.ModelProto) -> None:
    """Checks a model; its outputs need no types and its inputs no shapes, though the checker asks for them.

    Raises:
        ModelError: If a node has an output without a name that it needs, or a number that runtimes read
            differently.
        onnx.checker.ValidationError: If it is not valid.
    """
    for part in (proto.graph, *proto.functions):
        for node in nodes_in(part):
            if is_standard(node, *_ALL_NAMED) and "" in node.output:
                raise ModelError(
                    f"{node.op_type} node {node.name!r} has outputs {list(node.output)}: give each a name. ONNX "
                    "Runtime cannot run it otherwise."
                )
            _check_numbers(node)
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


def _check_numbers(node: onnx.NodeProto) -> None:
    flags = _FLAGS_OF.get(node.domain, frozenset())
    for attribute in node.attribute if flags else ():
        if attribute.ref_attr_name or attribute.type not in _NUMBERS:
            continue
        number, supported = onnx.helper.get_attribute_value(attribute), ""
        if attribute.name in flags and number not in (0, 1):
            supported = "0, 1"
        elif attribute.name == "clip" and number <= 0:
            supported = "numbers above 0"
        if supported:
            raise ModelError(
                f"{node.op_type} node {node.name!r} has {attribute.name}={number:g}; supported: {supported}. Runtimes "
                "and operators differ in what other numbers mean."
            )
