"""Replaces operators by their definitions: ONNX defines many by others, which have VJP rules or an older form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx
import onnx.inliner
import onnx_ir as ir

from onnxattr.autodiff.registry import NON_DIFFERENTIABLE, RuleTable, op_name
from onnxattr.autodiff.standard import STANDARD
from onnxattr.errors import ModelError
from onnxattr.graph.subgraphs import bodies_of, graphs_in, nodes_of, values_in
from onnxattr.loading.passes.bridge import as_proto
from onnxattr.loading.passes.constants import lift_constants
from onnxattr.loading.shapes.infer import infer_shapes

#: Domain of the functions that stand for definitions until they are inlined.
_DEFINITIONS = "onnxattr.definitions"

#: Decides by an operator's name, as the rule table spells it, and its schema.
Choice = Callable[[str, Any], bool]


def expand(model: ir.Model, rules: RuleTable) -> bool:
    """Writes out the operators that only their definition can differentiate, such as Attention, in place.

    Args:
        model: A model whose large weights may be graph inputs.
        rules: The rule table; what it has a rule for stays, as does what a standard rule was taken out of it for.

    Returns:
        Whether there was one; no name but those of new values is new.
    """
    kept = {*rules, *STANDARD, *NON_DIFFERENTIABLE}
    return write_out_functions(model, lambda op, _: op not in kept)


def write_out_functions(model: ir.Model, chosen: Choice) -> bool:
    """Replaces the chosen operators, wherever the graph holds them, by their definitions; whether there was one."""
    changed = False
    # A definition may itself hold operators that are chosen.
    while any(_schema(node, model.opset_imports, chosen) is not None for node in nodes_of(model.graph)):
        # A definition depends on the types of a node's inputs.
        infer_shapes(model, strict=False)
        with as_proto(model, "writing out functions") as crossing:
            crossing.proto = _written_out(crossing.proto, model.opset_imports, chosen)
        lift_constants(model)
        changed = True
    return changed


def _written_out(proto: onnx.ModelProto, opsets: Mapping[str, int], chosen: Choice) -> onnx.ModelProto:
    """A copy of a typed model with the definitions of the chosen operators in their place."""
    called = _with_typed_weights(proto)
    # What a rule keeps of the model's own functions stays a call.
    del called.functions[:]
    called.ir_version = max(called.ir_version, 8)
    called.opset_import.append(onnx.helper.make_opsetid(_DEFINITIONS, 1))
    _call_definitions(called, called.graph, opsets, chosen, {})
    # The inliner looks for the types of values inside subgraphs among those of the main graph.
    inner = {value.name: value for graph in graphs_in(called.graph) for value in values_in(graph)}
    outer = {value.name for value in values_in(called.graph)}
    called.graph.value_info.extend(value for name, value in inner.items() if name not in outer)
    inlined = onnx.inliner.inline_local_functions(called, convert_version=True)
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    del result.graph.node[:]
    result.graph.node.extend(inlined.graph.node)
    return result


def _schema(node: onnx.NodeProto | ir.Node, opsets: Mapping[str, int], chosen: Choice) -> Any:
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
    types = {**outer, **{value.name: value.type for value in values_in(graph)}}
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
    """The definition of a node in operators of an opset; the node gets the defaults of its attributes.

    Raises:
        ModelError: If there is none, of inputs of unknown rank.
    """
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
    if not function.node:
        unknown = [name for name in node.input if name and not types[name].tensor_type.HasField("shape")]
        raise ModelError(
            f"{node.op_type} node {node.name!r} is written out by its definition in ONNX, which asks for the ranks of "
            f"its inputs; unknown: {', '.join(map(repr, unknown)) or 'none'}. Give the model's inputs their ranks."
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
