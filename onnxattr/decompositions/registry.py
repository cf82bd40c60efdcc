"""Operators outside ai.onnx, written in operators of ai.onnx.

A decomposition has the form::

    @decomposition("com.microsoft::BiasGelu")
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
from typing import Any

import onnx_ir as ir

from onnxattr.autodiff.node import NodeView, view_of
from onnxattr.errors import UnsupportedOpError
from onnxattr.graph.builder import OpBuilder

Decomposition = Callable[[OpBuilder, NodeView], ir.Value | Sequence[ir.Value | None]]

_ADVICE = "Export the model without it, or save it with a lower level of graph optimisation."

#: Whether a node keeps its kernel, by operator name; nodes of other operators keep it if there is a rule for them.
KEPT: dict[str, Callable[[NodeView], bool]] = {}

#: The decompositions by operator name, as in the table of VJP rules; they take a node as it is in the graph.
DECOMPOSITIONS: dict[str, Callable[[OpBuilder, ir.Node], ir.Value | Sequence[ir.Value | None]]] = {}


def decomposition(
    *op_types: str,
    inputs: int = 0,
    unread: Sequence[str] = (),
    kept: Callable[[NodeView], bool] | None = None,
) -> Callable[[Decomposition], Decomposition]:
    """Registers a function as the decomposition of one or more operators.

    A node is refused that has more inputs, or an attribute that the function does not read: newer versions of an
    operator have more of both, and nothing that a file says is left out silently.

    Args:
        op_types: The operators.
        inputs: How many inputs they can have; the function gets None for those that a node leaves out. 0: any number.
        unread: The attributes that need not be read, as they change no number, or none of a node that is written so.
        kept: Whether a node stays as it is and takes the types of its decomposition alone; without it, nodes of
            operators that have a rule do.
    """

    def register(function: Decomposition) -> Decomposition:
        @functools.wraps(function)
        def define(op: OpBuilder, node: ir.Node) -> ir.Value | Sequence[ir.Value | None]:
            view = view_of(node, op.opset, inputs)
            _check_inputs(view, inputs)
            results = function(op, view)
            _check_read(view, unread)
            return results

        for op_type in op_types:
            if op_type in DECOMPOSITIONS:
                raise ValueError(f"{op_type} has a decomposition already.")
            DECOMPOSITIONS[op_type] = define
            if kept is not None:
                KEPT[op_type] = kept
        return function

    return register


def _check_inputs(node: NodeView, known: int) -> None:
    further = [value.name for value in node.inputs[known:] if value is not None] if known else []
    if further:
        raise UnsupportedOpError(
            f"{node.where} has more inputs than the {known} that are known of its operator: "
            f"{', '.join(map(repr, further))}. {_ADVICE}"
        )


def _check_read(node: NodeView, unread: Sequence[str]) -> None:
    ignored = {name: value for name, value in node.attributes.unread().items() if name not in unread}
    if ignored:
        written = ", ".join(f"{name}={value!r}" for name, value in ignored.items())
        raise UnsupportedOpError(f"{node.where}: unsupported attribute {written}. {_ADVICE}")


def __getattr__(name: str) -> Any:
    """Says how the names of version 0.1 are called now."""
    new = {"definition": "decomposition", "DEFINITIONS": "DECOMPOSITIONS", "Definition": "Decomposition"}.get(
        name
    )
    if new is not None:
        raise ImportError(f"{__name__}.{name} is called {new} now.", name=__name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
