"""What ONNX Runtime needs of the subgraphs of a model, beyond what ONNX asks for."""

from __future__ import annotations

import onnx_ir as ir

from onnxattr.builder import OpBuilder


def give_values_once(graph: ir.Graph, opset: int) -> None:
    """Lets no subgraph give a value twice, in place: ONNX Runtime fills the second result with what is in memory."""
    bodies = [body for body in graph.subgraphs() if len(set(body.outputs)) < len(body.outputs)]
    main = OpBuilder(graph, opset, prefix="bodies") if bodies else None
    for body in bodies:
        op, seen = OpBuilder(body, opset, prefix="bodies", parent=main), set()
        for index, value in enumerate(body.outputs):
            if value in seen:
                copy = op.Identity(value)
                copy.type, copy.shape = value.type, value.shape
                body.outputs[index] = copy
            seen.add(value)
