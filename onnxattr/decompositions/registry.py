"""Operators outside ai.onnx that are defined by operators of ai.onnx.

A definition has the form::

    @definition("com.microsoft::BiasGelu")
    def bias_gelu(op, node):
        '''y = gelu(a + b).'''
        return gelu(op, op.Add(*node.inputs))

The node is a ``NodeView``, as a rule gets it. The function returns the node's output, or a tuple of the first outputs
with None for those that it cannot give. Written-out models are differentiated like all others and hold operators of
ai.onnx alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import onnx_ir as ir

from onnxattr.autodiff.node import NodeView, view_of
from onnxattr.graph.builder import OpBuilder

Definition = Callable[[OpBuilder, NodeView], ir.Value | Sequence[ir.Value | None]]

#: The definitions by operator name, as in the table of VJP rules; they take a node as it is in the graph.
DEFINITIONS: dict[str, Callable[[OpBuilder, ir.Node], ir.Value | Sequence[ir.Value | None]]] = {}


def definition(*op_types: str, inputs: int = 0) -> Callable[[Definition], Definition]:
    """Registers a function as the definition of one or more operators.

    Args:
        op_types: The operators.
        inputs: How many inputs they can have; the function gets None for those that a node leaves out.
    """

    def register(function: Definition) -> Definition:
        @functools.wraps(function)
        def define(op: OpBuilder, node: ir.Node) -> ir.Value | Sequence[ir.Value | None]:
            return function(op, view_of(node, op.opset, inputs))

        for op_type in op_types:
            if op_type in DEFINITIONS:
                raise ValueError(f"{op_type} has a definition already.")
            DEFINITIONS[op_type] = define
        return function

    return register
