"""Replaces operators by their definitions: ONNX defines many by others, which have VJP rules or an older form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx
import onnx.inliner

from onnxattr.rules.registry import NON_DIFFERENTIABLE, op_name
from onnxattr.rules.standard import STANDARD
from onnxattr.subgraphs import bodies_of, nodes_in

#: Domain of the functions that stand for definitions until they are inlined.
_DEFINITIONS = "onnxattr.definitions"

_FLOATS = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.DOUBLE,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
)

#: Decides by an operator's name, as the rule table spells it, and its schema.
Choice = Callable[[str, Any], bool]


def expand(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Writes out the operators that only their definition can differentiate, such as Attention.

    Args:
        proto: A model whose weights are graph inputs or initializers.
        opset: Its ai.onnx opset.

    Returns:
        The model itself if it holds no such operator, else a copy with other nodes; no name but theirs is new.
    """
    return _write_out(proto, opset, lambda op, _: op not in STANDARD and op not in NON_DIFFERENTIABLE)


def downgrade(proto: onnx.ModelProto, opset: int, newest: int) -> onnx.ModelProto:
    """Brings a model of an opset that runtimes do not know yet to the newest that they do.

    Operators that are new since then are written out by their definitions; those that only changed are converted, or
    written out where they have no form in the older opset.

    Raises:
        RuntimeError: If an operator has neither.
    """

    def changed(op: str, schema: Any) -> bool:
        return schema.domain == "" and schema.since_version > newest

    known = _write_out(proto, opset, lambda op, s: changed(op, s) and not onnx.defs.has(op, newest, ""))
    known = _without_floored_mod(known)
    try:
        return _converted(known, newest)
    except (RuntimeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return _converted(_write_out(known, opset, changed), newest)


def _without_floored_mod(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Writes out Mod of floats with the sign of the divisor, new in opset 28: a - b * floor(a / b)."""
    types = {value.name: value.type.tensor_type.elem_type for value in proto.graph.input}
    types |= {
        v.name: v.type.tensor_type.elem_type
        for v in onnx.shape_inference.infer_shapes(proto).graph.value_info
    }
    types |= {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    del result.graph.node[:]
    for node in proto.graph.node:
        floored = node.op_type == "Mod" and not any(a.name == "fmod" and a.i for a in node.attribute)
        if floored and types.get(node.input[0]) in _FLOATS:
            (a, b), y = node.input, node.output[0]
            steps = [
                ("Div", [a, b]),
                ("Floor", [f"{y}/Div"]),
                ("Mul", [b, f"{y}/Floor"]),
                ("Sub", [a, f"{y}/Mul"]),
            ]
            for op_type, inputs in steps:
                output = y if op_type == "Sub" else f"{y}/{op_type}"
                result.graph.node.append(onnx.helper.make_node(op_type, inputs, [output]))
        else:
            result.graph.node.append(node)
    return result


def _converted(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    converted = onnx.version_converter.convert_version(proto, opset)
    onnx.checker.check_model(converted, full_check=True)
    return converted


def _write_out(proto: onnx.ModelProto, opset: int, chosen: Choice) -> onnx.ModelProto:
    """Replaces the chosen operators, wherever the graph holds them, by their definitions."""
    opsets = {entry.domain: entry.version for entry in proto.opset_import} | {"": opset}
    result = proto
    # A definition may itself hold operators that are chosen.
    while any(_schema(node, opsets, chosen) is not None for node in nodes_in(result.graph)):
        called = onnx.ModelProto()
        # A definition depends on the types of a node's inputs.
        called.CopyFrom(onnx.shape_inference.infer_shapes(_with_typed_weights(result)))
        called.ir_version = max(called.ir_version, 8)
        called.opset_import.append(onnx.helper.make_opsetid(_DEFINITIONS, 1))
        _call_definitions(called, called.graph, opsets, chosen, {})
        inlined = onnx.inliner.inline_local_functions(called, convert_version=True)
        result = onnx.ModelProto()
        result.CopyFrom(proto)
        del result.graph.node[:]
        result.graph.node.extend(inlined.graph.node)
    return result


def _schema(node: onnx.NodeProto, opsets: Mapping[str, int], chosen: Choice) -> Any:
    """The schema of a node that is chosen and has a definition, else None."""
    opset = opsets.get(node.domain, 0)
    if not onnx.defs.has(node.op_type, opset, node.domain):
        return None
    schema: Any = onnx.defs.get_schema(node.op_type, opset, node.domain)
    defined = schema.has_function or schema.has_context_dependent_function
    return schema if defined and chosen(op_name(node), schema) else None


def _call_definitions(
    model: onnx.ModelProto,
    graph: onnx.GraphProto,
    opsets: Mapping[str, int],
    chosen: Choice,
    outer: Mapping[str, onnx.TypeProto],
) -> None:
    """Makes each chosen node a call of a function of the model of its own."""
    types = {
        **outer,
        **{value.name: value.type for value in (*graph.input, *graph.value_info, *graph.output)},
    }
    for node in graph.node:
        schema = _schema(node, opsets, chosen)
        if schema is not None:
            function = _definition(node, schema, opsets[""], types)
            function.domain, function.name = _DEFINITIONS, f"{node.op_type}_{len(model.functions)}"
            node.domain, node.op_type = function.domain, function.name
            model.functions.append(function)
        for body in bodies_of(node):
            _call_definitions(model, body, opsets, chosen, types)


def _definition(
    node: onnx.NodeProto, schema: Any, opset: int, types: Mapping[str, onnx.TypeProto]
) -> onnx.FunctionProto:
    """The definition of a node in operators of an opset; the node gets the defaults of its attributes."""
    given = {attribute.name for attribute in node.attribute}
    node.attribute.extend(
        attribute.default_value
        for name, attribute in schema.attributes.items()
        if name not in given and attribute.default_value.name
    )
    function = onnx.FunctionProto()
    if schema.has_function:
        version = max(v for v in schema.function_opset_versions if v <= opset)
        function.ParseFromString(schema.get_function_with_opset_version(version))
        return function
    version = max(v for v in schema.context_dependent_function_opset_versions if v <= opset or schema.domain)
    kinds = [types.get(name, onnx.TypeProto()).SerializeToString() for name in node.input]
    function.ParseFromString(
        schema.get_context_dependent_function_with_opset_version(version, node.SerializeToString(), kinds)
    )
    return function


def _with_typed_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose initializers are inputs too: shape inference gives the types of inputs."""
    typed = onnx.ModelProto()
    typed.CopyFrom(proto)
    known = {value.name for value in typed.graph.input}
    for tensor in typed.graph.initializer:
        if tensor.name not in known:
            typed.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            )
    return typed
