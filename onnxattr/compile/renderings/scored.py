"""The explained score in a graph of rows: what the operator sees of a model that is being rewritten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import onnx_ir as ir

from onnxattr.autodiff.registry import Span, moved
from onnxattr.scores.calls import Copies, Model

#: In a node's ``meta``: the operator that it is a part of.
OPERATOR = "operator"

if TYPE_CHECKING:
    from onnxattr.compile.renderings.model_graph import ModelGraph


class ScoredModel:
    """The model of a rewrite as an operator's f, and the score that it gives, made once for each target."""

    def __init__(self, rewrite: ModelGraph):
        """Notes the model's nodes, before a method adds its own."""
        self._rewrite = rewrite
        self._nodes = list(rewrite.graph)
        self._inputs = list(rewrite.graph.inputs)
        self._outputs = [rewrite.score, *(rewrite.value(name) for name in rewrite.request.prepared.others)]
        self._placed: dict[ir.Value, ir.Value] = {}
        self._copies: list[Copies] = []
        self._scores: dict[ir.Value, ir.Value] = {}

    def read(self, new: ir.Value, old: ir.Value) -> None:
        """Notes that the model's nodes read a value in the place of another."""
        if old in self._inputs:
            self._inputs[self._inputs.index(old)] = new
        elif new is not old:
            self._placed[new] = old

    def score(self, target: ir.Value) -> ir.Value:
        """The score of each row, (R,), appended to the graph.

        Raises:
            OperatorError: If the operator cannot be traced.
        """
        if target not in self._scores:
            rewrite = self._rewrite
            prepared, op = rewrite.request.prepared, rewrite.op
            inputs = dict(zip((str(v.name) for v in prepared.inputs), self._inputs, strict=True))
            copies = Copies(op, self._nodes, self._inputs, self._outputs, self._placed)
            assert rewrite.score.dtype is not None
            model = Model(op, inputs, prepared.outputs, copies, rewrite.score.dtype)
            before = set(rewrite.graph)
            self._scores[target] = rewrite.request.score.build(model, target)
            for node in rewrite.graph:
                if node not in before:
                    node.meta[OPERATOR] = rewrite.request.score.name
            self._copies.append(copies)
        return self._scores[target]

    def with_copies(self, spans: Mapping[ir.Node, Span]) -> dict[ir.Node, Span]:
        """Spans of the model's nodes, with those of the nodes' copies."""
        found = dict(spans)
        for copies in self._copies:
            for nodes, values in zip(copies.nodes, copies.values, strict=True):
                for last, span in spans.items():
                    if last in nodes:
                        found[nodes[last]] = moved(span, values)
        return found
