"""Definitions of ai.onnx.ml operators: linear models and preprocessing of features.

Class labels are looked up by the largest score; they carry no gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.node import NodeView
from onnxattr.decompositions.registry import decomposition
from onnxattr.errors import UnsupportedOpError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of

_FLOAT = ir.DataType.FLOAT


def as_float(op: OpBuilder, x: ir.Value) -> ir.Value:
    """A value in float32, in which ONNX Runtime computes."""
    return op.cast(x, _FLOAT)


def floats(node: NodeView, name: str) -> np.ndarray:
    """The numbers of an attribute; none without it."""
    return np.array(node.get_floats(name), np.float32)


def matrix(node: NodeView, name: str, rows: int, columns: int | str | None = None) -> np.ndarray:
    """The numbers of an attribute in so many rows.

    Args:
        node: The node.
        name: The attribute.
        rows: How many rows it has.
        columns: How many columns, if that is known.

    Raises:
        UnsupportedOpError: They are more or fewer.
    """
    given = floats(node, name)
    width = columns if isinstance(columns, int) else given.size // max(rows, 1)
    if rows < 1 or given.size != rows * width:
        shape = f"{rows} x {columns}" if isinstance(columns, int) else f"{rows} rows of one length"
        raise UnsupportedOpError(
            f"{node.where} has {given.size} numbers in {name}; expected {shape}. Export the model again."
        )
    return given.reshape(rows, width)


def _coefficients(node: NodeView, rows: int) -> np.ndarray:
    """The weights of linear scores, one row for each."""
    return matrix(node, "coefficients", rows, (dims_of(node.x) or [None])[-1])


def transform_of(node: NodeView) -> str:
    """What a node does to its scores at the end."""
    return node.get_string("post_transform", "NONE")


def transformed(op: OpBuilder, node: NodeView, scores: ir.Value) -> ir.Value:
    """The scores, (N, classes), after their transform at the end."""
    kind = transform_of(node)
    if kind in ("NONE", "LOGISTIC"):
        return scores if kind == "NONE" else op.Sigmoid(scores)
    if kind == "SOFTMAX":
        return op.Softmax(scores, axis=-1)
    return _probit(op, scores) if kind == "PROBIT" else _softmax_zero(op, scores)


def _softmax_zero(op: OpBuilder, scores: ir.Value) -> ir.Value:
    """The softmax of the scores that are not 0; the others stay 0."""
    largest = op.ReduceMax(scores, [-1], keepdims=1)
    present = op.Greater(op.Abs(scores), op.constant(1e-7, _FLOAT))
    powers = op.Where(present, op.Exp(op.Sub(scores, largest)), op.constant(0.0, _FLOAT))
    return op.Div(powers, op.ReduceSum(powers, [-1], keepdims=1))


def _probit(op: OpBuilder, p: ir.Value) -> ir.Value:
    """The inverse of the normal distribution, by the approximation that ONNX Runtime computes."""
    c = 0.147
    y = op.Sub(op.Mul(p, 2.0), 1.0)
    log = op.Log(op.Mul(op.Sub(1.0, y), op.Add(y, 1.0)))
    half, rest = op.Add(op.Mul(log, 0.5), 2.0 / (3.14159 * c)), op.Div(log, -c)
    # sqrt(half^2 + rest) - half, without the difference of two near numbers.
    root = op.Div(rest, op.Add(op.Sqrt(op.Add(op.Mul(half, half), rest)), half))
    return op.Mul(op.Mul(op.Sign(y), op.Sqrt(root)), 1.41421356)


@decomposition("ai.onnx.ml::LinearRegressor")
def linear_regressor(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = post_transform(x W^T + b); ONNX Runtime leaves b out if it is not one number for each target."""
    targets = node.get_int("targets", 1)
    weights, intercepts = _coefficients(node, targets), floats(node, "intercepts")
    y = op.MatMul(as_float(op, node.x), weights.T.copy())
    y = op.Add(y, intercepts) if intercepts.size == targets else y
    # ONNX Runtime transforms a single target by PROBIT alone.
    return transformed(op, node, y) if targets > 1 or transform_of(node) == "PROBIT" else y


@decomposition("ai.onnx.ml::LinearClassifier", unread=("multi_class", "classlabels_strings"))
def linear_classifier(op: OpBuilder, node: NodeView) -> Sequence[ir.Value]:
    """scores = post_transform(x W^T + b), a single one doubled for two classes; label = that of the largest score."""
    labels, intercepts = class_labels(node), floats(node, "intercepts")
    rows = intercepts.size or len(labels)
    weights = _coefficients(node, rows)
    scores = op.MatMul(as_float(op, node.x), weights.T.copy())
    if intercepts.size:
        scores = op.Add(scores, intercepts)
    if rows == 1 and len(labels) == 2:
        refuse_probit(node)
        best = op.cast(op.Squeeze(op.Greater(scores, 0.0), [1]), ir.DataType.INT64)
        # As ONNX Runtime does it: the rest to 1, whether or not the score is a probability.
        if transform_of(node) == "LOGISTIC":
            scores = op.Sigmoid(scores)
        scores = op.Concat(op.Sub(1.0, scores), scores, axis=1)
    else:
        best = op.ArgMax(scores, axis=1, keepdims=0)
        scores = transformed(op, node, scores)
    return chosen_labels(op, labels, best), scores


def refuse_probit(node: NodeView) -> None:
    """Raises an error for the transform that ONNX Runtime's kernels leave half undone for two classes."""
    if transform_of(node) == "PROBIT":
        raise UnsupportedOpError(
            f"{node.op_type} node {node.name!r}: unsupported post_transform 'PROBIT' of one score for two classes, for "
            "which ONNX Runtime reads numbers from elsewhere in memory. Export the model with NONE or LOGISTIC."
        )


def class_labels(node: NodeView) -> list[Any]:
    """The labels of a classifier, integers or strings."""
    labels = node.get_ints("classlabels_ints") or node.get_strings("classlabels_strings")
    if not labels:
        raise UnsupportedOpError(
            f"{node.where} has no labels of classes; expected classlabels_ints or classlabels_strings. Export "
            "the model again."
        )
    return labels


def chosen_labels(op: OpBuilder, labels: list[Any], index: ir.Value) -> ir.Value:
    """The labels of the classes of some numbers."""
    return op.Gather(_labels(op, labels), index)


def _labels(op: OpBuilder, labels: list[Any]) -> ir.Value:
    """The class labels as a constant, of integers or strings."""
    if not isinstance(labels[0], str):
        return op.constant(np.array(labels, np.int64))
    value = ir.Value(
        name=op.unique_name("labels"),
        type=ir.TensorType(ir.DataType.STRING),
        shape=ir.Shape([len(labels)]),
        const_value=ir.StringTensor([label.encode() for label in labels], shape=ir.Shape([len(labels)])),
    )
    op.graph.register_initializer(value)
    return value


@decomposition("ai.onnx.ml::Scaler")
def scaler(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = (x - offset) * scale."""
    return op.Mul(op.Sub(as_float(op, node.x), floats(node, "offset")), floats(node, "scale"))


@decomposition("ai.onnx.ml::Normalizer")
def normalizer(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = x / n, n the largest element, the sum of absolute values or the length of a row; x where n is 0."""
    x, kind = as_float(op, node.x), node.get_string("norm", "MAX")
    if kind == "MAX":
        norm = op.ReduceMax(x, [-1], keepdims=1)
    else:
        norm = (op.ReduceL1 if kind == "L1" else op.ReduceL2)(x, [-1], keepdims=1)
    return op.Div(x, op.Where(op.Equal(norm, 0.0), op.constant(1.0, _FLOAT), norm))


@decomposition("ai.onnx.ml::Imputer", unread=("replaced_value_int64", "imputed_value_int64s"))
def imputer(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = the imputed value of the column where x is missing, else x.

    ONNX Runtime takes the first value for all columns where there are not as many as columns.
    """
    x, values = node.x, floats(node, "imputed_value_floats")
    if x.dtype not in (_FLOAT, ir.DataType.DOUBLE) or not values.size:
        raise UnsupportedOpError(
            f"Imputer node {node.name!r} works on integers, which have no gradient. "
            "Export the pipeline with float inputs."
        )
    replaced = node.get_float("replaced_value_float", 0.0)
    missing = op.IsNaN(x) if np.isnan(replaced) else op.Equal(x, replaced)
    return op.Where(missing, _of_columns(op, op.constant(values, x.dtype), x), x)


def _of_columns(op: OpBuilder, values: ir.Value, x: ir.Value) -> ir.Value:
    """The values if there is one for each column of x, else the first of them."""
    (count,), width = dims_of(values) or [None], (dims_of(x) or [None])[-1]
    if count in (1, width):
        return values
    if isinstance(width, int):
        return op.Slice(values, [0], [1])
    columns = op.size(x, -1)
    same = op.cast(op.Equal(columns, op.constant(count, ir.DataType.INT64)), ir.DataType.INT64)
    return op.Gather(values, op.Mul(op.Range(0, columns, 1), same))


@decomposition("ai.onnx.ml::FeatureVectorizer")
def feature_vectorizer(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = the inputs side by side, each cut or filled with 0 to its width in ``inputdimensions``."""
    parts = [as_float(op, value) for value in node.given(node.inputs)]
    parts = [part if node.rank(part) > 1 else op.Unsqueeze(part, [0]) for part in parts]
    widths = node.get_ints("inputdimensions")
    if len(widths) != len(parts):
        raise UnsupportedOpError(
            f"FeatureVectorizer node {node.name!r} has {len(parts)} inputs and {len(widths)} inputdimensions; expected "
            "one for each input."
        )
    return op.Concat(*[_as_wide(op, *pair) for pair in zip(parts, widths, strict=True)], axis=1)


def _as_wide(op: OpBuilder, rows: ir.Value, width: int) -> ir.Value:
    """(N, any) as (N, width): without the last columns, or with columns of 0 behind."""
    if (dims_of(rows) or [None])[-1] == width:
        return rows
    zeros = op.expand(op.constant(0.0, _FLOAT), [op.shape(rows, 0, 1), width])
    return op.Slice(op.Concat(rows, zeros, axis=1), [0], [width], [1])


@decomposition("ai.onnx.ml::ArrayFeatureExtractor")
def array_feature_extractor(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = the chosen elements of the last axis."""
    x, chosen = node.required(2)
    y = op.Gather(x, op.reshape(chosen, [-1]), axis=-1)
    return op.Unsqueeze(y, [0]) if len(dims_of(x) or []) == 1 else y


@decomposition("ai.onnx.ml::Binarizer")
def binarizer(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = 1 where x > threshold, else 0."""
    x = node.x
    above = op.Greater(x, op.constant(node.get_float("threshold", 0.0), x.dtype))
    return op.cast(above, x.dtype)


@decomposition("ai.onnx.ml::OneHotEncoder", unread=("zeros", "cats_strings"))
def one_hot_encoder(op: OpBuilder, node: NodeView) -> ir.Value:
    """y = 1 at the category that a number is without its fraction, and 0 at the others: a step function.

    A category that is there twice has its 1 at the last of its places.
    """
    x, categories = node.x, node.get_ints("cats_int64s")
    if not categories or x.dtype == ir.DataType.STRING:
        raise UnsupportedOpError(f"OneHotEncoder node {node.name!r} encodes strings, which have no gradient.")
    whole = op.Unsqueeze(op.cast(x, ir.DataType.INT64), [-1])
    found = op.Equal(whole, op.constant(list(categories), ir.DataType.INT64))
    last = [category not in categories[place + 1 :] for place, category in enumerate(categories)]
    return op.cast(found if all(last) else op.And(found, np.array(last)), _FLOAT)


@decomposition("ai.onnx.ml::ZipMap", unread=("classlabels_int64s", "classlabels_strings"))
def zip_map(op: OpBuilder, node: NodeView) -> ir.Value:
    """The scores themselves, (N, classes), in place of a dictionary for each row."""
    scores = op.Identity(node.x)
    if scores.shape is None:  # of an operator whose schema says none
        scores.shape = ir.Shape([None, None])
    return scores
