"""Finds the ReLU-like groups of nodes that DeconvNet and GuidedBackprop override."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.autodiff.overrides import RELU_LIKE
from onnxattr.autodiff.registry import Span
from onnxattr.errors import ModelError
from onnxattr.graph.values import values_of
from onnxattr.loading.layers import Layer

POLICIES = ("all", "xplique")
_RELU_KINDS = ("relu", "relu6", "relu_max", "relu_threshold")


def relu_spans(graph: ir.Graph, layers: Sequence[Layer], policy: str) -> dict[ir.Node, Span]:
    """The spans to override, keyed by the last node of each.

    Args:
        graph: The graph to search.
        layers: The model's layer table; empty for models that no converter of ours made.
        policy: "all" for every ReLU-like node: Relu, Clip at 0, Max with 0, and the groups recorded by the converter
            (a ReLU with a ceiling or a threshold), nested models included; not the Relu nodes inside PReLU and the
            like. "xplique" for exactly the layers that Xplique overrides.

    Raises:
        ModelError: If the policy is "xplique" and the model has no layer table.
    """
    if policy == "xplique" and not layers:
        raise ModelError(
            "relu_policy='xplique' needs the layer table that onnxattr.converters.keras stores in a model; this model "
            "has none. Convert it from Keras, or use relu_policy='all'."
        )
    values = {value.name: value for value in values_of(graph)}
    spans: dict[ir.Node, Span] = {}
    recorded: set[str] = set()
    for layer in layers:
        for record in layer.relus:
            recorded.update(record.nodes)
            wanted = record.xplique if policy == "xplique" else record.kind in _RELU_KINDS
            x, y = values.get(record.input), values.get(record.output)
            if wanted and x is not None and y is not None and (last := y.producer()) is not None:
                spans[last] = Span(RELU_LIKE, (x,), (y,), layer.path)
    if policy == "all":
        for node in graph.all_nodes():
            if node.name not in recorded and is_relu_like(node):
                x = next(value for value in node.inputs if value is not None and value.const_value is None)
                spans[node] = Span(RELU_LIKE, (x,), (node.outputs[0],), node.name or node.op_type)
    return spans


def is_relu_like(node: ir.Node) -> bool:
    """Whether a node by itself computes max(x, 0), with or without a ceiling."""
    if node.op_type == "Relu":
        return node.inputs[0] is not None and node.inputs[0].const_value is None
    if node.op_type == "Clip":
        return len(node.inputs) > 1 and _is_zero(node.inputs[1])
    if node.op_type == "Max":
        variable = [v for v in node.inputs if v is not None and v.const_value is None]
        return len(node.inputs) == 2 and len(variable) == 1 and any(_is_zero(v) for v in node.inputs)
    return False


def _is_zero(value: ir.Value | None) -> bool:
    return value is not None and value.const_value is not None and not value.const_value.numpy().any()
