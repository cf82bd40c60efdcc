"""Rules of operators that write elements into a copy of their first input."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from onnxattr.autodiff.registry import Cotangent, NodeView, attributes_of, vjp
from onnxattr.autodiff.rules.distinct import distinct_along, distinct_rows
from onnxattr.autodiff.rules.elementwise import product_of_others
from onnxattr.autodiff.rules.selection import add_at, positions_in
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of


@vjp("TensorScatter")
def tensor_scatter(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = x with an update written from a position of each row on;  xbar = ybar or 0 where overwritten, ubar there.

    The node is run again on the positions in the update, and one more for elements of x that stay.
    """
    x, update = node.required(2)
    stays = op.Size(update)
    attributes = attributes_of(node)
    operands = [op.Expand(stays, op.shape(x)), positions_in(op, update), *node.inputs[2:]]
    source = op.node("TensorScatter", operands, attributes)

    def update_ct() -> ir.Value:
        kept = op.Equal(source, stays)
        return add_at(op, update, op.Where(kept, 0, source), op.Where(kept, 0.0, ct))

    return lambda: op.Where(op.Equal(source, stays), ct, 0.0), update_ct, None


@vjp("ScatterElements", compares=True)
def scatter_elements(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = x with updates written (added, multiplied, maximum, minimum) at i;  ubar = ybar at i.

    xbar = ybar, 0 where overwritten, times the updates where multiplied; ubar then is ybar x times the other updates.
    A maximum or minimum splits ybar evenly over the elements that equal it. Of updates written to one place, which ONNX
    leaves undefined, the one that the runtime kept has ybar, the last in ONNX Runtime.
    """
    (x, indices, updates), axis = node.required(3), node.get_int("axis")

    def kept() -> ir.Value | None:
        if distinct_along(indices, x, axis):
            return None
        order = positions_in(op, updates)
        last = op.ScatterElements(
            op.expand_like(op.constant(0, ir.DataType.INT64), x), indices, order, axis=axis
        )
        return op.Equal(op.GatherElements(last, indices, axis=axis), order)

    return _scatter(
        op,
        node,
        ct,
        lambda zero: op.ScatterElements(ct, indices, zero, axis=axis),
        lambda value: op.GatherElements(value, indices, axis=axis),
        lambda base, value, reduction: op.ScatterElements(
            base, indices, value, axis=axis, reduction=reduction
        ),
        kept,
    )


@vjp("ScatterND", compares=True)
def scatter_nd(op: OpBuilder, node: NodeView, ct: ir.Value) -> Sequence[Cotangent]:
    """y = x with updates written (added, multiplied, maximum, minimum) at i;  ubar = ybar at i.

    xbar = ybar, 0 where overwritten, times the updates where multiplied; ubar then is ybar x times the other updates.
    A maximum or minimum splits ybar evenly over the elements that equal it. Of updates written to one place, which ONNX
    leaves undefined, the one that the runtime kept has ybar, the last in ONNX Runtime. Reductions at positions that may
    repeat do not come here: see ``loading.passes.repeated_positions``.
    """
    x, indices, updates = node.required(3)

    def kept() -> ir.Value | None:
        if distinct_rows(indices, x):
            return None
        dims = dims_of(indices) or [None]
        if not isinstance(dims[-1], int):
            # The updates may be slices of any rank: each of their elements is asked.
            order = positions_in(op, updates)
            base = op.expand_like(op.constant(0, ir.DataType.INT64), x)
            return op.Equal(op.GatherND(op.ScatterND(base, indices, order), indices), order)
        order = op.Reshape(
            op.Range(0, op.Squeeze(op.elements(indices, 0, -1), [0]), 1), op.shape(indices, 0, -1)
        )
        base = op.Expand(op.constant(0, ir.DataType.INT64), op.shape(x, 0, dims[-1]))
        mine = op.Equal(op.GatherND(op.ScatterND(base, indices, order), indices), order)
        slices = node.rank(x) - dims[-1]
        return op.Unsqueeze(mine, [*range(-slices, 0)]) if slices else mine

    return _scatter(
        op,
        node,
        ct,
        lambda zero: op.ScatterND(ct, indices, zero),
        lambda value: op.GatherND(value, indices),
        lambda base, value, reduction: op.ScatterND(base, indices, value, reduction=reduction),
        kept,
    )


def _scatter(
    op: OpBuilder,
    node: NodeView,
    ct: ir.Value,
    overwrite: Callable[[ir.Value], ir.Value],
    at_indices: Callable[[ir.Value], ir.Value],
    scatter: Callable[[ir.Value, ir.Value, str], ir.Value],
    kept: Callable[[], ir.Value | None],
) -> Sequence[Cotangent]:
    x, _, updates = node.required(3)
    y, reduction = node.y, node.get_string("reduction")
    if reduction == "add":
        return ct, None, lambda: at_indices(ct)
    if reduction == "none":

        def written() -> ir.Value:
            mine = kept()
            return at_indices(ct) if mine is None else op.Where(mine, at_indices(ct), 0.0)

        return lambda: overwrite(op.zeros_like(updates)), None, written
    if reduction == "mul":

        def fold(value: ir.Value, add: bool) -> ir.Value:
            return at_indices(scatter(op.expand_like(0 if add else 1, x), value, "add" if add else "mul"))

        return (
            lambda: op.Mul(ct, scatter(op.expand_like(1, x), updates, "mul")),
            None,
            lambda: op.Mul(at_indices(op.Mul(ct, x)), product_of_others(op, updates, fold)),
        )

    x_wins, update_wins = op.Equal(x, y), op.Equal(at_indices(y), updates)
    # At least 1: where y is NaN, nothing equals it.
    winners = op.Max(scatter(op.cast_like(x_wins, x), op.cast_like(update_wins, x), "add"), 1.0)
    share = op.Div(ct, winners)
    return lambda: op.Where(x_wins, share, 0.0), None, lambda: op.Where(update_wins, at_indices(share), 0.0)
