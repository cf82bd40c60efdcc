"""Products with vectors, written as products of matrices: what a rule of MatMul takes."""

from __future__ import annotations

import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.subgraphs import graphs_of, is_standard, nodes_of, take_place


def multiply_matrices(graph: ir.Graph, opset: int) -> bool:
    """Writes vectors that a MatMul reads as rows or columns, in subgraphs too, in place; whether there were any."""
    if not any(_reads_a_vector(node) for node in nodes_of(graph)):
        return False
    main = OpBuilder(graph, opset, prefix="matrices")
    for part in list(graphs_of(graph)):
        op = main.inside(part)
        for node in [node for node in part if _reads_a_vector(node)]:
            _write_out(op, part, node)
    return True


def _reads_a_vector(node: ir.Node) -> bool:
    return is_standard(node, "MatMul") and any(_is_vector(value) for value in node.inputs)


def _is_vector(value: ir.Value | None) -> bool:
    return value is not None and value.shape is not None and len(value.shape) == 1


def _write_out(op: OpBuilder, part: ir.Graph, node: ir.Node) -> None:
    """a b -> squeeze(row(a) column(b)), under the names that the node and its output had."""
    (a, b), last = node.inputs, part[-1]
    assert a is not None
    assert b is not None
    row, column = _is_vector(a), _is_vector(b)
    product = op.MatMul(op.Unsqueeze(a, [0]) if row else a, op.Unsqueeze(b, [1]) if column else b)
    result = op.Squeeze(product, [-2] * row + [-1] * column)
    take_place(node, result, last, product.producer())
