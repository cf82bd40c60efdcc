"""Definitions of ai.onnx.ml operators: linear models, support vector regression and preprocessing of features.

Class labels are looked up by the largest score; they carry no gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.builder import OpBuilder, dims_of
from onnxattr.errors import UnsupportedOpError
from onnxattr.rules.definitions import definition
from onnxattr.rules.linear import rank_of

_FLOAT = ir.DataType.FLOAT


def _float(op: OpBuilder, x: ir.Value) -> ir.Value:
    return x if x.dtype == _FLOAT else op.Cast(x, to=_FLOAT.value)


def _floats(node: Any, name: str) -> np.ndarray:
    return np.array(node.attributes.get_floats(name, []), np.float32)


def _post_transform(op: OpBuilder, node: Any, scores: ir.Value) -> ir.Value:
    """What a linear model does to its scores at the end."""
    kind = node.attributes.get_string("post_transform", "NONE")
    if kind == "NONE":
        return scores
    if kind == "LOGISTIC":
        return op.Sigmoid(scores)
    if kind == "SOFTMAX":
        return op.Softmax(scores, axis=-1)
    raise UnsupportedOpError(
        f"{node.op_type} node {node.name!r}: post_transform {kind!r} is not known; NONE, LOGISTIC and SOFTMAX are. "
        "Export the model with one of these."
    )


@definition("ai.onnx.ml::LinearRegressor")
def linear_regressor(op: OpBuilder, node: Any) -> ir.Value:
    """y = post_transform(x W^T + b)."""
    targets = node.attributes.get_int("targets", 1)
    weights, intercepts = _floats(node, "coefficients").reshape(targets, -1), _floats(node, "intercepts")
    y = op.MatMul(_float(op, node.inputs[0]), weights.T.copy())
    y = op.Add(y, intercepts) if intercepts.size else y
    # ONNX Runtime transforms several targets alone.
    return _post_transform(op, node, y) if targets > 1 else y


@definition("ai.onnx.ml::LinearClassifier")
def linear_classifier(op: OpBuilder, node: Any) -> Sequence[ir.Value]:
    """scores = post_transform(x W^T + b), a single one doubled for two classes; label = that of the largest score."""
    labels = list(node.attributes.get_ints("classlabels_ints", [])) or list(
        node.attributes.get_strings("classlabels_strings", [])
    )
    intercepts = _floats(node, "intercepts")
    rows = intercepts.size or len(labels)
    weights = _floats(node, "coefficients").reshape(rows, -1)
    scores = op.MatMul(_float(op, node.inputs[0]), weights.T.copy())
    if intercepts.size:
        scores = op.Add(scores, intercepts)
    if rows == 1 and len(labels) == 2:
        # As ONNX Runtime does it: the rest to 1, whether or not the score is a probability.
        if node.attributes.get_string("post_transform", "NONE") == "LOGISTIC":
            scores = op.Sigmoid(scores)
        scores = op.Concat(op.Sub(1.0, scores), scores, axis=1)
    else:
        scores = _post_transform(op, node, scores)
    best = op.ArgMax(scores, axis=1, keepdims=0)
    return op.Gather(_labels(op, labels), best), scores


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


@definition("ai.onnx.ml::SVMRegressor")
def svm_regressor(op: OpBuilder, node: Any) -> ir.Value:
    """y = sum of c_i k(x, v_i) + rho over support vectors v_i, or x w + rho without them."""
    attributes, x = node.attributes, _float(op, node.inputs[0])
    coefficients, rho = _floats(node, "coefficients"), _floats(node, "rho")
    count = attributes.get_int("n_supports", 0)
    supports = _floats(node, "support_vectors")
    features = _kernel(op, node, x, supports.reshape(count, -1)) if count else x
    y = op.Add(op.MatMul(features, coefficients.reshape(-1, 1)), rho[:1])
    if attributes.get_int("one_class", 0):
        return op.Where(op.Greater(y, 0.0), op.constant(1.0, _FLOAT), op.constant(-1.0, _FLOAT))
    return _post_transform(op, node, y)


def _kernel(op: OpBuilder, node: Any, x: ir.Value, supports: np.ndarray) -> ir.Value:
    """k(x, v) of every row with every support vector."""
    kind = node.attributes.get_string("kernel_type", "LINEAR")
    gamma, offset, degree = [*_floats(node, "kernel_params").tolist(), 0.0, 0.0, 0.0][:3]
    products = op.MatMul(x, supports.T.copy())
    if kind == "LINEAR":
        return products
    if kind == "RBF":
        squares = op.Add(op.ReduceSum(op.Mul(x, x), [1], keepdims=1), (supports**2).sum(1))
        return op.Exp(op.Mul(op.Sub(squares, op.Mul(products, 2.0)), -gamma))
    inner = op.Add(op.Mul(products, gamma), offset)
    return op.Tanh(inner) if kind == "SIGMOID" else op.Pow(inner, degree)


@definition("ai.onnx.ml::Scaler")
def scaler(op: OpBuilder, node: Any) -> ir.Value:
    """y = (x - offset) * scale."""
    return op.Mul(op.Sub(_float(op, node.inputs[0]), _floats(node, "offset")), _floats(node, "scale"))


@definition("ai.onnx.ml::Normalizer")
def normalizer(op: OpBuilder, node: Any) -> ir.Value:
    """y = x / n, n the largest element, the sum of absolute values or the length of a row; x where n is 0."""
    x, kind = _float(op, node.inputs[0]), node.attributes.get_string("norm", "MAX")
    if kind == "MAX":
        norm = op.ReduceMax(x, [-1], keepdims=1)
    else:
        norm = (op.ReduceL1 if kind == "L1" else op.ReduceL2)(x, [-1], keepdims=1)
    return op.Div(x, op.Where(op.Equal(norm, 0.0), op.constant(1.0, _FLOAT), norm))


@definition("ai.onnx.ml::Imputer")
def imputer(op: OpBuilder, node: Any) -> ir.Value:
    """y = the imputed value where x is missing, else x."""
    x, values = node.inputs[0], _floats(node, "imputed_value_floats")
    if x.dtype not in (_FLOAT, ir.DataType.DOUBLE) or not values.size:
        raise UnsupportedOpError(
            f"Imputer node {node.name!r} works on integers, which have no gradient. "
            "Export the pipeline with float inputs."
        )
    replaced = node.attributes.get_float("replaced_value_float", 0.0)
    missing = op.IsNaN(x) if np.isnan(replaced) else op.Equal(x, replaced)
    return op.Where(missing, op.constant(values, x.dtype), x)


@definition("ai.onnx.ml::FeatureVectorizer")
def feature_vectorizer(op: OpBuilder, node: Any) -> ir.Value:
    """y = the inputs side by side."""
    parts = [_float(op, value) for value in node.inputs]
    parts = [part if rank_of(part, node) > 1 else op.Unsqueeze(part, [0]) for part in parts]
    return op.Concat(*parts, axis=1)


@definition("ai.onnx.ml::ArrayFeatureExtractor")
def array_feature_extractor(op: OpBuilder, node: Any) -> ir.Value:
    """y = the chosen elements of the last axis."""
    x, chosen = node.inputs
    y = op.Gather(x, op.Reshape(chosen, op.constant([-1])), axis=-1)
    return op.Unsqueeze(y, [0]) if len(dims_of(x) or []) == 1 else y


@definition("ai.onnx.ml::Binarizer")
def binarizer(op: OpBuilder, node: Any) -> ir.Value:
    """y = 1 where x > threshold, else 0."""
    x = node.inputs[0]
    above = op.Greater(x, op.constant(node.attributes.get_float("threshold", 0.0), x.dtype))
    return op.Cast(above, to=x.dtype.value)


@definition("ai.onnx.ml::ZipMap")
def zip_map(op: OpBuilder, node: Any) -> ir.Value:
    """The scores themselves, (N, classes), in place of a dictionary for each row."""
    return op.Identity(node.inputs[0])
