"""Rules of LSTM, GRU and RNN: any direction, sequence lengths, initial states, activations, peepholes, clipping.

The forward states are read from the node's own Y, so only the LSTM's cell state is recomputed (a Scan of elementwise
nodes). One Scan then runs backwards in time, with one product in a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import onnx_ir as ir

from onnxattr.autodiff.registry import Cotangent, NodeView, vjp
from onnxattr.autodiff.rules.recurrent_cells import read_cell
from onnxattr.autodiff.rules.recurrent_gru import GruDirection
from onnxattr.autodiff.rules.recurrent_lstm import LstmDirection
from onnxattr.graph.builder import OpBuilder


@vjp("LSTM", "GRU", "RNN")
def recurrent(op: OpBuilder, node: NodeView, ct: Any) -> Sequence[Cotangent]:
    """Y, Yh, Yc = states over time;  xbar, h0bar, c0bar by one Scan per direction, backwards in time.

    The weights' cotangents are products of the steps' with x and the states. Not derived: as the pullback of a Scan
    over the steps, which computes the gates again step by step, gradients take more CPU time: 2.2 times for an LSTM,
    2.3 to 2.7 for a GRU, 1.1 to 1.4 for an RNN (100 steps, 64 units; ``make benchmark-derived``).
    """
    x, lengths = node.x, node.inputs[4]
    direction = node.get_string("direction")
    directions = 2 if direction == "bidirectional" else 1
    cts = [*node.cts, None, None][:3]
    # The forward node is asked for its states over time where the model does not use them.
    states = node.output(op, 0)
    kind = LstmDirection if node.op_type == "LSTM" else GruDirection
    parts = []
    for index in range(directions):
        backward = direction == "reverse" or index == 1
        cell = read_cell(op, node, index)
        parts.append(kind(op, node, cell, index, backward, states, cts, lengths).run())
    x_cts, h_cts, c_cts, weights = zip(*parts, strict=True)

    def stacked(values: Sequence[ir.Value]) -> ir.Value:
        rows = [op.Unsqueeze(value, [0]) for value in values]
        return rows[0] if directions == 1 else op.Concat(*rows, axis=0)

    x_ct = x_cts[0] if directions == 1 else op.Add(*x_cts)
    x_ct.shape = x.shape
    entries: dict[int, Cotangent] = {0: x_ct, 5: lambda: stacked(h_cts), 6: lambda: stacked(c_cts)}
    for position in weights[0]:
        entries[position] = partial(lambda p: stacked([build[p]() for build in weights]), position)
    return [entries.get(position) for position in range(len(node.inputs))]
