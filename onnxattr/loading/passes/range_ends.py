"""Ends and steps of a Range that are vectors of one element, as in ONNX's own definition of AffineGrid.

ONNX Runtime takes them where it cannot see their rank, behind an If for example, and refuses the model once it can.
What is added to a model, or resolved in it, must not decide that.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.subgraphs import graphs_of, is_standard, nodes_behind
from onnxattr.graph.values import dims_of


def read_scalars(graph: ir.Graph, opset: int, unknown: bool = False) -> bool:
    """Lets the Range nodes of a graph and its subgraphs read scalars, in place; whether one did not.

    Args:
        graph: A graph whose types are inferred.
        opset: Its opset.
        unknown: Whether values of unknown rank are reshaped as well.
    """
    parts = {part: [node for node in part if reads_vectors(node, unknown)] for part in graphs_of(graph)}
    if not any(parts.values()):
        return False
    main = OpBuilder(graph, opset, prefix="range")
    for part, nodes in parts.items():
        for node in nodes:
            reshape_ends(main.inside(part), node, unknown)
    return True


def reads_vectors(node: ir.Node, unknown: bool = False) -> bool:
    """Whether a node is a Range that reads vectors which may be of one element, or values of unknown rank."""
    return is_standard(node, "Range") and any(_is_vector(value, unknown) for value in node.inputs)


def reshape_ends(op: OpBuilder, node: ir.Node, unknown: bool = False) -> None:
    """Lets a Range read scalars; ``op`` builds in its graph."""
    last = op.graph[-1]
    for index, value in enumerate(node.inputs):
        if value is not None and _is_vector(value, unknown):
            node.replace_input_with(index, op.reshape(value, []))
    op.graph.insert_before(node, list(nodes_behind(op.graph, last))[::-1])


def _is_vector(value: ir.Value | None, unknown: bool) -> bool:
    dims = dims_of(value)
    if dims is None:
        return unknown and value is not None
    # A vector of more elements is an error, which inference tells.
    return bool(dims) and all(not isinstance(dim, int) or dim == 1 for dim in dims)
