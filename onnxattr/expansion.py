"""Replaces operators that have no VJP rule, but that ONNX defines by other operators, with those."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import onnx.inliner

from onnxattr.rules.registry import NON_DIFFERENTIABLE
from onnxattr.rules.standard import STANDARD


def expand(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Writes out the operators that only their definition can differentiate, such as Attention.

    Args:
        proto: A model whose weights are graph inputs or initializers.
        opset: Its ai.onnx opset.

    Returns:
        The model itself if it holds no such operator, else a copy with other nodes; no name but theirs is new.
    """
    return write_out(proto, lambda name: _only_defined(name, opset))


def downgrade(proto: onnx.ModelProto, opset: int, newest: int) -> onnx.ModelProto:
    """Brings a model of an opset that runtimes do not know yet to the newest that they do.

    Operators that are new since then are written out by their definitions; those that only changed are converted, or
    written out where they have no form in the older opset.

    Raises:
        RuntimeError: If an operator has neither.
    """

    def changed(name: str) -> bool:
        return _is_defined(name, opset) and onnx.defs.get_schema(name, opset, "").since_version > newest

    known = write_out(proto, lambda name: changed(name) and not onnx.defs.has(name, newest, ""))
    try:
        return _converted(known, newest)
    except (RuntimeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return _converted(write_out(known, changed), newest)


def _converted(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    converted = onnx.version_converter.convert_version(proto, opset)
    onnx.checker.check_model(converted, full_check=True)
    return converted


def write_out(proto: onnx.ModelProto, chosen: Callable[[str], bool]) -> onnx.ModelProto:
    """Replaces the chosen operators of ai.onnx, as far as the graph holds them, by their definitions."""
    operators = {node.op_type for node in proto.graph.node if node.domain in ("", "ai.onnx")}
    if not any(chosen(name) for name in operators):
        return proto
    # The inliner picks a definition by the types of a node's inputs.
    typed = onnx.shape_inference.infer_shapes(_with_typed_weights(proto))
    # A definition may itself hold operators that are chosen.
    known = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    identifiers = [("", name) for name in sorted(known) if chosen(name)]
    expanded = onnx.inliner.inline_selected_functions(typed, identifiers, inline_schema_functions=True)
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    del result.graph.node[:]
    result.graph.node.extend(expanded.graph.node)
    return result


def _only_defined(name: str, opset: int) -> bool:
    """Whether an operator has no rule but a definition by others in that opset."""
    return name not in STANDARD and name not in NON_DIFFERENTIABLE and _is_defined(name, opset)


def _is_defined(name: str, opset: int) -> bool:
    """Whether an operator has a definition by others in that opset."""
    if not onnx.defs.has(name, opset, ""):
        return False
    schema: Any = onnx.defs.get_schema(name, opset, "")
    return schema.has_function or schema.has_context_dependent_function


def _with_typed_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose initializers are inputs too: the inliner looks their types up there."""
    typed = onnx.ModelProto()
    typed.CopyFrom(proto)
    known = {value.name for value in typed.graph.input}
    for tensor in typed.graph.initializer:
        if tensor.name not in known:
            typed.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            )
    return typed
