"""The last steps of every rewritten model: merge what is equal, drop what is unused, serialise."""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import (
    CommonSubexpressionEliminationPass,
    RemoveUnusedOpsetsPass,
)

from onnxattr.graph.requantised import serialised
from onnxattr.graph.subgraphs import Names, drop_unused, nodes_of, prune
from onnxattr.graph.values import values_of
from onnxattr.loading.passes.cast_pairs import read_before_cast_pairs
from onnxattr.loading.passes.turned_operands import keep_operands_apart


def clean(model: ir.Model) -> None:
    """Merges equal nodes of a rewritten model and drops unused ones."""
    prune(model.graph)
    read_before_cast_pairs(model.graph)
    keep_operands_apart(model.graph, model.opset_imports[""])
    _merge(model)
    _remove_unused(model)
    RemoveUnusedOpsetsPass()(model)


def _remove_unused(model: ir.Model) -> None:
    """Drops nodes, optional outputs and initializers that nothing needs.

    onnx_ir's pass asks for the schema of every node: it is called only where there is something to find.
    """
    if model.functions or any(map(_may_lose, nodes_of(model.graph))):
        drop_unused(model)
        return
    initializers = model.graph.initializers
    for name, value in list(initializers.items()):
        if not (value.uses() or value.is_graph_output() or value.is_graph_input()):
            del initializers[name]


def _may_lose(node: ir.Node) -> bool:
    """Whether a node is not needed, or may have outputs, inputs or attributes that are not."""
    inputs, outputs = node.inputs, node.outputs
    if node.op_type == "BatchNormalization" or (inputs and inputs[-1] is None):
        return True
    return not all(value.uses() or value.is_graph_output() for value in outputs)


def _merge(model: ir.Model) -> None:
    """Merges equal nodes; outputs keep their names.

    For each output that it merges, onnx_ir's pass goes through all outputs of the graph: it is given none, and nodes
    that read them instead.
    """
    graph, outputs = model.graph, list(model.graph.outputs)
    readers = [
        ir.node("Output", [value], {"index": index}, domain="onnxattr.outputs")
        for index, value in enumerate(outputs)
    ]
    graph.extend(readers)
    graph.outputs.clear()
    CommonSubexpressionEliminationPass()(model)
    merged = [value for reader in readers for value in reader.inputs if value is not None]
    graph.remove(readers, safe=True)
    own = {value for value, old in zip(merged, outputs, strict=True) if value is old}
    for value, old in zip(merged, outputs, strict=True):
        if value is old:
            graph.outputs.append(value)
        elif value in own or value.producer() is None:
            copy = ir.node("Identity", [value])
            copy.outputs[0].name, old.name = old.name, None
            copy.outputs[0].type, copy.outputs[0].shape = old.type, old.shape
            graph.append(copy)
            graph.outputs.append(copy.outputs[0])
        else:
            own.add(value)
            value.name, old.name = old.name, None
            graph.outputs.append(value)
    _name_outputs(graph)


def _name_outputs(graph: ir.Graph) -> None:
    """Gives names to outputs that a node left out, and that are read since another was merged with it."""
    nameless = [
        (node, value) for node in nodes_of(graph) for value in node.outputs if not value.name and value.uses()
    ]
    names = Names(value.name for value in values_of(graph)) if nameless else Names(())
    for node, value in nameless:
        value.name = names.fresh(f"{node.op_type}_output")


def finish(model: ir.Model) -> onnx.ModelProto:
    """Cleans a rewritten model up and serialises it; the types of new values are kept, those of outputs must be set."""
    clean(model)
    return serialised(model)
