"""Sparse weights, which ONNX Runtime takes: gradients and files are those of the same weights written out."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from support.small_models import build, node

import onnxattr
from onnxattr import IntegratedGradients, vjp

WEIGHTS = np.zeros((4, 3), np.float32)
WEIGHTS[[0, 1, 3, 3], [2, 0, 0, 1]] = [1.5, -2, 3, 0.25]
X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def sparse(array, linear):
    """An array as a sparse tensor, with places in the flattened array or along each axis."""
    places = np.flatnonzero(array) if linear else np.argwhere(array)
    values = numpy_helper.from_array(array[array != 0], "w")
    return helper.make_sparse_tensor(
        values, numpy_helper.from_array(places.astype(np.int64), "p"), array.shape
    )


def model(kind):
    """y = tanh(x w), with w dense, or sparse in one of the forms that a file may hold."""
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("Tanh", ["h"], ["y"])]
    if kind == "Constant":
        nodes.insert(0, node("Constant", [], ["w"], sparse_value=sparse(WEIGHTS, True)))
    made = build(nodes, {"x": ["N", 4]}, {"y": ["N", 3]}, {"w": WEIGHTS} if kind == "dense" else {})
    if kind in ("linear", "by axis", "double"):
        array = WEIGHTS.astype(np.float64) if kind == "double" else WEIGHTS
        made.graph.sparse_initializer.append(sparse(array, kind != "by axis"))
    if kind == "double":
        for value in (*made.graph.input, *made.graph.output):
            value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    return made


@pytest.mark.parametrize("kind", ["linear", "by axis", "double", "Constant"])
def test_numbers_are_those_of_dense_weights(kind, tmp_path):
    x, ct = X.astype(np.float64 if kind == "double" else np.float32), np.ones((3, 3))
    run = onnxruntime.InferenceSession(vjp(model(kind), verify=True).SerializeToString()).run
    y, gradient = run(["y", "x_gradient"], {"x": x, "y_cotangent": ct.astype(x.dtype)})
    expected = np.tanh(X @ WEIGHTS.astype(np.float64))
    np.testing.assert_allclose(y, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, (1 - expected**2) @ WEIGHTS.T, rtol=1e-4)
    onnx.save(model(kind), tmp_path / "m.onnx")
    method = IntegratedGradients(tmp_path / "m.onnx")
    dense = IntegratedGradients(model("dense"))
    np.testing.assert_allclose(method.explain(X, [0, 1, 2]), dense.explain(X, [0, 1, 2]), rtol=1e-4)
    for weights in ("inside", "beside"):
        method.export(tmp_path / "e.onnx", weights=weights)
        found = onnxattr.load(tmp_path / "e.onnx").explain(X, [0, 1, 2])
        np.testing.assert_allclose(found, method.explain(X, [0, 1, 2]), rtol=1e-4, atol=1e-6)


def test_in_a_branch():
    text = """<ir_version: 8, opset_import: ["": 18]> g (float[N,4] x) => (float[N,3] y) {
      s = ReduceSum<keepdims = 0>(x) z = Constant<value = float {0}>() c = Greater(s, z)
      y = If(c) <then_branch = t () => (a) { a = MatMul(x, w) }, else_branch = e () => (b) { h = MatMul(x, w)
      b = Tanh(h) }> }"""
    made = onnx.parser.parse_model(text)
    for attribute in made.graph.node[-1].attribute:
        attribute.g.sparse_initializer.append(sparse(WEIGHTS, True))
    run = onnxruntime.InferenceSession(vjp(made).SerializeToString()).run
    x = np.abs(X)
    gradient = run(["x_gradient"], {"x": x, "y_cotangent": np.ones((3, 3), np.float32)})[0]
    np.testing.assert_allclose(gradient, np.ones((3, 3)) @ WEIGHTS.T, rtol=1e-6)
