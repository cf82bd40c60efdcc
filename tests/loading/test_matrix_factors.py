"""Factors of matrix products with fewer axes than what they multiply, of which nothing is known to be finite."""

import numpy as np
import onnx
import pytest

from onnxattr import vjp
from onnxattr.session import Session


@pytest.mark.parametrize("runtime", ["onnx", "ONNX Runtime"])
def test_a_matrix_that_may_be_infinite_times_a_stack_of_matrices(runtime):
    """bbar = a^T ybar for a of two axes and b of four, where a is a quotient that nothing is known of."""
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]> g (float[R,K] c, float[N,2,K,M] b) => (float[N,2,R,M] y) {
          one = Constant<value = float {1}>() a = Div(one, c) y = MatMul(a, b)
        }"""
    )
    rng = np.random.default_rng(0)
    c, b, ct = (rng.uniform(1, 2, s).astype(np.float32) for s in ((3, 4), (2, 2, 4, 5), (2, 2, 3, 5)))
    gradient = vjp(model, "b")
    feeds = {"c": c, "b": b, "y_cotangent": ct}
    if runtime == "onnx":
        names = [value.name for value in gradient.graph.output]
        found = dict(zip(names, onnx.reference.ReferenceEvaluator(gradient).run(None, feeds), strict=True))
    else:
        session = Session(gradient, ["CPUExecutionProvider"])
        found = dict(zip(session.outputs, session.run(feeds), strict=True))
    np.testing.assert_allclose(found["b_gradient"], (1 / c).T @ ct, rtol=1e-5)
