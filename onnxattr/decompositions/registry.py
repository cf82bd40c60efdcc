"""Operators outside ai.onnx that are defined by operators of ai.onnx.

A definition has the form::

    @definition("com.microsoft::BiasGelu")
    def bias_gelu(op, node):
        '''y = gelu(a + b).'''
        return gelu(op, op.Add(*node.inputs))

It returns the node's output, or a tuple of the first outputs with None for those that it cannot give. Written-out
models are differentiated like all others and hold operators of ai.onnx alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder

Definition = Callable[[OpBuilder, Any], ir.Value | Sequence[ir.Value | None]]

#: The definitions by operator name, as in the table of VJP rules.
DEFINITIONS: dict[str, Definition] = {}


def definition(*op_types: str) -> Callable[[Definition], Definition]:
    """Registers a function as the definition of one or more operators."""

    def register(function: Definition) -> Definition:
        for op_type in op_types:
            if op_type in DEFINITIONS:
                raise ValueError(f"{op_type} has a definition already.")
            DEFINITIONS[op_type] = function
        return function

    return register


def optional(values: Sequence[Any], count: int) -> list[Any]:
    """The inputs of a node, None for those left out, as many as its operator can have."""
    return [*values, *[None] * count][:count]
