"""Definitions of ai.onnx.preview.training operators: one step of an optimiser, smooth in weights and gradients."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.autodiff.node import NodeView
from onnxattr.decompositions.registry import decomposition
from onnxattr.graph.builder import OpBuilder

_DOMAIN = "ai.onnx.preview.training"


def _tensors(node: NodeView, states: int) -> list[tuple[ir.Value, ...]]:
    """Each optimised tensor with its gradient and its states; the operator's inputs hold all tensors first."""
    values = node.given(node.inputs[2:])
    count = len(values) // (2 + states)
    return [tuple(values[index::count]) for index in range(count)]


def _in_order(results: Sequence[Sequence[ir.Value]]) -> list[ir.Value]:
    """The new tensors, then their new states of each kind, as the operator's outputs hold them."""
    return [value for kind in zip(*results, strict=True) for value in kind]


def _regularised(op: OpBuilder, node: NodeView, x: ir.Value, gradient: ir.Value) -> ir.Value:
    """The gradient with that of the squared norm of x added."""
    norm = node.get_float("norm_coefficient", 0.0)
    return op.Add(op.Mul(x, norm), gradient) if norm else gradient


@decomposition(f"{_DOMAIN}::Momentum")
def momentum(op: OpBuilder, node: NodeView) -> Sequence[ir.Value]:
    """v' = alpha v + beta g (beta is 1 in the first step);  x' = x - r v', or x - r (g + alpha v') of Nesterov."""
    rate, step = node.required(2)
    alpha = node.get_float("alpha")
    nesterov = node.get_string("mode") == "nesterov"
    results = []
    for x, gradient, v in _tensors(node, 1):
        g = _regularised(op, node, x, gradient)
        one, beta = (op.constant(value, x.dtype) for value in (1.0, node.get_float("beta")))
        new = op.Add(op.Mul(v, alpha), op.Mul(g, op.Where(op.Greater(step, 0), beta, one)))
        descent = op.Add(g, op.Mul(new, alpha)) if nesterov else new
        results.append((op.Sub(x, op.Mul(op.cast_like(rate, x), descent)), new))
    return _in_order(results)


@decomposition(f"{_DOMAIN}::Adagrad")
def adagrad(op: OpBuilder, node: NodeView) -> Sequence[ir.Value]:
    """h' = h + g^2;  x' = x - r / (1 + decay t) * g / (sqrt(h') + eps)."""
    rate, step = node.required(2)
    decay, epsilon = (
        node.get_float("decay_factor", 0.0),
        node.get_float("epsilon", 1e-6),
    )
    results = []
    for x, gradient, h in _tensors(node, 1):
        g = _regularised(op, node, x, gradient)
        decayed = op.Div(op.cast_like(rate, x), op.Add(op.Mul(op.cast_like(step, x), decay), 1.0))
        new = op.Add(h, op.Mul(g, g))
        results.append((op.Sub(x, op.Div(op.Mul(decayed, g), op.Add(op.Sqrt(new), epsilon))), new))
    return _in_order(results)


@decomposition(f"{_DOMAIN}::Adam")
def adam(op: OpBuilder, node: NodeView) -> Sequence[ir.Value]:
    """v' = alpha v + (1 - alpha) g, h' = beta h + (1 - beta) g^2;  x' = (1 - post) (x - r' v' / (sqrt(h') + eps)).

    r' = r sqrt(1 - beta^t) / (1 - alpha^t), or r in the first step (Kingma and Ba, 2015, arXiv 1412.6980).
    """
    rate, step = node.required(2)
    get = node.get_float
    alpha, beta, epsilon = get("alpha", 0.9), get("beta", 0.999), get("epsilon", 1e-6)
    results = []
    for x, gradient, v, h in _tensors(node, 2):
        g = _regularised(op, node, x, gradient)
        new_v = op.Add(op.Mul(v, alpha), op.Mul(g, 1.0 - alpha))
        new_h = op.Add(op.Mul(h, beta), op.Mul(op.Mul(g, g), 1.0 - beta))
        steps, own_rate = op.cast_like(op.Max(step, 1), x), op.cast_like(rate, x)
        powers = [op.Sub(1.0, op.Pow(op.constant(base, x.dtype), steps)) for base in (alpha, beta)]
        corrected = op.Div(op.Mul(own_rate, op.Sqrt(powers[1])), powers[0])
        used = op.Where(op.Greater(step, 0), corrected, own_rate)
        moved = op.Sub(x, op.Div(op.Mul(used, new_v), op.Add(op.Sqrt(new_h), epsilon)))
        results.append((op.Mul(moved, 1.0 - get("norm_coefficient_post", 0.0)), new_v, new_h))
    return _in_order(results)
