"""Definitions of the support vector machines of ai.onnx.ml, by the formulas of ONNX Runtime's kernels."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.node import NodeView
from onnxattr.autodiff.rules.control_flow import as_output, control_node
from onnxattr.decompositions.ml import (
    as_float,
    chosen_labels,
    class_labels,
    floats,
    matrix,
    refuse_probit,
    transform_of,
    transformed,
)
from onnxattr.decompositions.registry import decomposition
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of

_FLOAT, _INT64 = ir.DataType.FLOAT, ir.DataType.INT64


@decomposition(
    "ai.onnx.ml::SVMRegressor", unread=("support_vectors", "kernel_type", "kernel_params", "post_transform")
)
def svm_regressor(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = sum of c_i k(x, v_i) + rho over support vectors v_i, or x w + rho without them.

    ONNX Runtime leaves the post_transform out.
    """
    x, coefficients = as_float(op, node.x), floats(node, "coefficients")
    count = node.get_int("n_supports", 0)
    features = _kernel(op, node, x, matrix(node, "support_vectors", count)) if count else x
    y = op.Add(op.MatMul(features, coefficients.reshape(-1, 1)), floats(node, "rho")[:1])
    if node.get_int("one_class", 0):
        return op.Where(op.Greater(y, 0.0), op.constant(1.0, _FLOAT), op.constant(-1.0, _FLOAT))
    return y


def _kernel(op: OpBuilder, node: NodeView, x: ir.Value, supports: np.ndarray) -> ir.Value:
    """k(x, v) of every row with every support vector."""
    kind = node.get_string("kernel_type", "LINEAR")
    gamma, offset, degree = [*floats(node, "kernel_params").tolist(), 0.0, 0.0, 0.0][:3]
    if kind == "RBF":
        # Distances are those from the mean: squares of large numbers cancel in float32, in the gradient too.
        mean = supports.astype(np.float64).mean(0).astype(np.float32)
        x, supports = op.Sub(x, mean), supports - mean
    products = op.MatMul(x, supports.T.copy())
    if kind == "LINEAR":
        return products
    if kind == "RBF":
        squares = op.Add(op.ReduceSum(op.Mul(x, x), [1], keepdims=1), (supports**2).sum(1))
        return op.Exp(op.Mul(op.Sub(squares, op.Mul(products, 2.0)), -gamma))
    inner = op.Add(op.Mul(products, gamma), offset)
    return op.Tanh(inner) if kind == "SIGMOID" else op.Pow(inner, degree)


@decomposition(
    "ai.onnx.ml::SVMClassifier",
    unread=("support_vectors", "kernel_type", "kernel_params", "prob_a", "prob_b", "classlabels_strings"),
)
def svm_classifier(op: OpBuilder, node: NodeView) -> Sequence[ir.Value]:
    """scores = one decision value for each pair of classes, or a probability for each class.

    Decision values are sums of c_i k(x, v_i) + rho over the support vectors of the pair; the label is that of the class
    that wins most pairs, also where the probabilities say otherwise. Without support vectors scores are x W^T + rho.
    """
    labels, x = class_labels(node), as_float(op, node.x)
    counts, rho = node.get_ints("vectors_per_class"), floats(node, "rho")
    if not sum(counts):
        return _linear(op, node, x, labels, rho)
    supports = matrix(node, "support_vectors", sum(counts))
    pairs = list(itertools.combinations(range(len(counts)), 2))
    weights = _pair_weights(matrix(node, "coefficients", len(counts) - 1, sum(counts)), counts, pairs)
    decisions = op.Add(op.MatMul(_kernel(op, node, x, supports), weights), rho[: len(pairs)])
    wins = op.cast(op.Greater(decisions, 0.0), _FLOAT)
    gains, given = np.zeros((2, len(pairs), len(counts)), np.float32)
    for number, (i, j) in enumerate(pairs):
        gains[number, i], gains[number, j], given[number, j] = 1, -1, 1
    best = op.ArgMax(op.Add(op.MatMul(wins, gains), given.sum(0)), axis=1, keepdims=0)
    if floats(node, "prob_a").size:
        scores = transformed(op, node, _probabilities(op, node, decisions, len(counts), pairs))
    else:
        scores = _both(op, node, decisions) if len(pairs) == 1 else transformed(op, node, decisions)
    return chosen_labels(op, labels, best), scores


def _linear(
    op: OpBuilder, node: NodeView, x: ir.Value, labels: list[Any], rho: np.ndarray
) -> Sequence[ir.Value]:
    weights = matrix(node, "coefficients", len(labels), (dims_of(x) or [None])[-1])
    scores = op.Add(op.MatMul(x, weights.T.copy()), rho[:1])
    best = op.ArgMax(scores, axis=1, keepdims=0)
    if len(labels) == 2 and len(rho) == 1:
        # ONNX Runtime looks at the largest score alone.
        largest = op.ReduceMax(scores, [1], keepdims=0)
        second = op.GreaterOrEqual(largest, 0.5) if weights.min() >= 0 else op.Greater(largest, 0.0)
        best = op.Where(second, op.constant(1, _INT64), best)
    return chosen_labels(op, labels, best), transformed(op, node, scores)


def _pair_weights(
    coefficients: np.ndarray, counts: Sequence[int], pairs: Sequence[tuple[int, int]]
) -> np.ndarray:
    """The weight of each support vector in each pair's decision value, (vectors, pairs)."""
    ends = np.cumsum(counts)
    rows = [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]
    weights = np.zeros((ends[-1], len(pairs)), np.float32)
    for number, (i, j) in enumerate(pairs):
        weights[rows[i], number] = coefficients[j - 1, rows[i]]
        weights[rows[j], number] = coefficients[i, rows[j]]
    return weights


def _both(op: OpBuilder, node: NodeView, decision: ir.Value) -> ir.Value:
    """The scores of two classes, from the one decision value of their pair."""
    refuse_probit(node)
    kind = transform_of(node)
    rest = op.Sub(1.0, decision) if kind.startswith("SOFTMAX") else op.Neg(decision)
    scores = op.Concat(rest, decision, axis=1)
    return op.Sigmoid(scores) if kind == "LOGISTIC" else scores


def _probabilities(
    op: OpBuilder, node: NodeView, decisions: ir.Value, classes: int, pairs: Sequence[tuple[int, int]]
) -> ir.Value:
    """The probabilities p of the classes that fit r best, the probabilities of the first class of each pair.

    r = sigmoid(-(a d + b)) (Platt). p minimises the sum of (r_ji p_i - r_ij p_j)^2, found by coordinate descent with
    the steps and the end that libsvm gives it (Wu, Lin and Weng, "Probability estimates for multi-class classification
    by pairwise coupling", 2004); what is differentiated is that descent.
    """
    a, b = floats(node, "prob_a"), floats(node, "prob_b")
    first = op.Sigmoid(op.Neg(op.Add(op.Mul(decisions, a), b)))
    first = op.Clip(first, 1e-7, 1 - 1e-7)
    signs, offsets = np.zeros((len(pairs), classes**2), np.float32), np.zeros(classes**2, np.float32)
    for number, (i, j) in enumerate(pairs):
        signs[number, i * classes + j], signs[number, j * classes + i] = 1, -1
        offsets[j * classes + i] = 1
    r = op.reshape(op.Add(op.MatMul(first, signs), offsets), [-1, classes, classes])
    squares = op.Unsqueeze(op.ReduceSumSquare(r, [1], keepdims=0), [2])
    q = op.Sub(op.Mul(squares, np.eye(classes, dtype=np.float32)), op.Mul(r, op.Transpose(r, perm=[0, 2, 1])))
    start = op.Add(op.Mul(op.ReduceSum(r, [2], keepdims=0), 0.0), 1.0 / classes)
    return _descent(op, q, start, classes)


def _descent(op: OpBuilder, q: ir.Value, start: ir.Value, classes: int) -> ir.Value:
    """A Loop of rounds, each along all coordinates; rows that have arrived stay as they are."""
    inner = op.body("descent")
    inner.input("round", _INT64, [])
    inner.input("go_on", ir.DataType.BOOL, [])
    p = inner.input("p", _FLOAT, [None, classes])
    qp = inner.Squeeze(inner.MatMul(q, inner.Unsqueeze(p, [2])), [2])
    energy = inner.ReduceSum(inner.Mul(p, qp), [1], keepdims=1)
    error = inner.ReduceMax(inner.Abs(inner.Sub(qp, energy)), [1], keepdims=1)
    arrived, moved = inner.Less(error, 0.005 / classes), p
    for t in range(classes):
        row = inner.Gather(q, inner.constant(t, _INT64), axis=1)
        diagonal, here = (inner.Slice(v, [t], [t + 1], [1]) for v in (row, qp))
        step = inner.Div(inner.Sub(energy, here), diagonal)
        total = inner.Add(step, 1.0)
        moved = inner.Div(inner.Add(moved, inner.Mul(step, np.eye(classes, dtype=np.float32)[t])), total)
        gain = inner.Mul(step, inner.Add(inner.Mul(step, diagonal), inner.Mul(here, 2.0)))
        energy = inner.Div(inner.Add(energy, gain), inner.Mul(total, total))
        qp = inner.Div(inner.Add(qp, inner.Mul(step, row)), total)
    result = inner.Where(arrived, p, moved)
    left = inner.ReduceMax(inner.cast(inner.Not(arrived), _INT64), keepdims=0)
    go_on = inner.cast(left, ir.DataType.BOOL)
    inner.graph.outputs[:] = [as_output(inner, value) for value in (go_on, result)]
    rounds = op.constant(max(100, classes), _INT64)
    return control_node(op, "Loop", [rounds, op.constant(True), start], {"body": inner.graph}, [start])[0]
