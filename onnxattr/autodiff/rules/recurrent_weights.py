"""The gradients of recurrent weights: products over all steps and samples at once, once the cotangents are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_ir as ir

from onnxattr.autodiff.rules.recurrent_cells import Cell
from onnxattr.graph.builder import OpBuilder

#: Where the weights stand among the inputs of a recurrent node.
W, R, B, P = 1, 2, 3, 7


def weight_cts(
    op: OpBuilder, cell: Cell, x: ir.Value, h: ir.Value, streams: Mapping[str, ir.Value], pre_ct: ir.Value
) -> dict[int, Callable[[], ir.Value]]:
    """Wbar = prebar^T x, Rbar = recbar^T h, Bbar = the sums of both, Pbar = the sums of gates' cotangents times c.

    Args:
        op: The builder.
        cell: One direction of the node.
        x: The sequence, of shape (steps, batch, inputs).
        h: The state before each step.
        streams: What the steps are made of: a GRU's pre and rec; the LSTM's state and after, its cell before and
            behind each step.
        pre_ct: The cotangent of pre, 0 at padded steps.

    Returns:
        By input position, what builds the cotangent of this direction's weights.
    """
    size = cell.hidden

    def r_ct() -> ir.Value:
        if cell.reset_recurrence is None:
            return _product(op, _rec_ct(op, cell, streams, pre_ct), h)
        gates_ct, new_ct = op.Split(pre_ct, [2 * size, size], axis=-1, outputs=2)
        reset_h = op.Mul(cell.reset(op, streams["pre"], streams["rec"]), h)
        return op.Concat(_product(op, gates_ct, h), _product(op, new_ct, reset_h), axis=0)

    def b_ct() -> ir.Value:
        return op.Concat(_total(op, pre_ct), _total(op, _rec_ct(op, cell, streams, pre_ct)), axis=0)

    def p_ct() -> ir.Value:
        before, after = streams["state"], streams["after"]
        i_ct, o_ct, f_ct, _ = cell.split(op, pre_ct)
        seen = ((i_ct, before), (o_ct, after), (f_ct, before))
        return op.Concat(*[_total(op, op.Mul(ct, state)) for ct, state in seen], axis=0)

    return {W: lambda: _product(op, pre_ct, x), R: r_ct, B: b_ct, P: p_ct}


def _rec_ct(op: OpBuilder, cell: Cell, streams: Mapping[str, ir.Value], pre_ct: ir.Value) -> ir.Value:
    """The cotangent of the state's part of the gates: that of the input's part, but where a GRU resets it."""
    if cell.kind != "GRU" or cell.reset_recurrence is not None:
        return pre_ct
    gates_ct, new_ct = op.Split(pre_ct, [2 * cell.hidden, cell.hidden], axis=-1, outputs=2)
    return op.Concat(gates_ct, op.Mul(new_ct, cell.reset(op, streams["pre"], streams["rec"])), axis=-1)


def _product(op: OpBuilder, ct: ir.Value, value: ir.Value) -> ir.Value:
    """The sum over steps and samples of ct^T value: (steps, batch, n) and (steps, batch, m) to (n, m)."""
    return op.MatMul(op.Transpose(op.Flatten(ct, axis=2), perm=[1, 0]), op.Flatten(value, axis=2))


def _total(op: OpBuilder, ct: ir.Value) -> ir.Value:
    return op.ReduceSum(ct, [0, 1], keepdims=0)
