"""Writes nodes so that the sizes which ONNX Runtime computes are those that ONNX's shape inference finds.

ONNX Runtime infers shapes as ONNX does before it runs, and could refuse or miscompute what is added to other nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx
import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.subgraphs import graphs_in, is_standard, nodes_of, values_in
from onnxattr.loading.shapes.ceiled_pools import without_ceiled_window
from onnxattr.loading.shapes.resizes import by_sizes
from onnxattr.loading.shapes.runtime_pads import POOLS, pads_differ, with_runtime_pads

Dims = Sequence[int | None]
#: Takes a builder, a node, the dimensions of its first operand and of its output; rewrites the node if it may not stay,
#: and returns whether it did.
Rewrite = Callable[[OpBuilder, ir.Node, Dims, Dims], bool]


def restate_sizes(model: ir.Model, inferred: onnx.ModelProto) -> bool:
    """Rewrites the nodes of a model whose inferred sizes are not those that the runtime computes, in place.

    Args:
        model: The model, of opset 18 or newer.
        inferred: The same model with inferred shapes.

    Returns:
        Whether a node was rewritten.
    """
    nodes = [node for node in nodes_of(model.graph) if _may_differ(node)]
    if not nodes:
        return False
    dims = {value.name: _dims(value.type) for part in graphs_in(inferred.graph) for value in values_in(part)}
    dims |= {tensor.name: list(tensor.dims) for tensor in inferred.graph.initializer}
    main = OpBuilder(model.graph, model.opset_imports[""], prefix="")
    changed: dict[ir.Graph, None] = {}
    for node in nodes:
        source, graph = node.inputs[0], node.graph
        x, y = (dims.get(str(value.name)) for value in (source, node.outputs[0]) if value is not None)
        assert isinstance(graph, ir.Graph)
        if x is None or y is None:
            continue
        op = main.inside(graph)
        op.prefix = node.name or str(node.outputs[0].name)
        if _rewrite_of(node)(op, node, x, y):
            changed[graph] = None
    for graph in changed:
        graph.sort()
    return bool(changed)


def _may_differ(node: ir.Node) -> bool:
    """Whether a node is a Resize by scales, a pool that rounds sizes up, or padded otherwise beside an auto_pad."""
    if not node.inputs or node.inputs[0] is None:
        return False
    if is_standard(node, "Resize"):
        return len(node.inputs) > 2 and node.inputs[2] is not None
    rounds = is_standard(node, *POOLS) and node.attributes.get_int("ceil_mode", 0) != 0
    return rounds or pads_differ(node)


def _rewrite_of(node: ir.Node) -> Rewrite:
    if pads_differ(node):
        return with_runtime_pads
    return by_sizes if node.op_type == "Resize" else without_ceiled_window


def _dims(type_proto: onnx.TypeProto) -> list[int | None] | None:
    if not type_proto.tensor_type.HasField("shape"):
        return None
    return [dim.dim_value if dim.HasField("dim_value") else None for dim in type_proto.tensor_type.shape.dim]
