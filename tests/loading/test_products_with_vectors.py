"""Loading writes products with vectors as products of matrices; names and the forward pass stay."""

import numpy as np
import onnx_ir as ir
import pytest
from support.tiny_graphs import parse, run

from onnxattr import vjp
from onnxattr.loading.load import load

#: A model's inputs and output, its nodes, how often which operator is there once loaded.
CASES = {
    "a row": ("float[3] x, float[3,4] w", "float[4] y", "y = MatMul(x, w)", {"Unsqueeze": 1, "Squeeze": 1}),
    "a column": (
        "float[N,3] x, float[3] w",
        "float[N] y",
        "y = MatMul(x, w)",
        {"Unsqueeze": 1, "Squeeze": 1},
    ),
    "both": ("float[3] x, float[3] w", "float y", "y = MatMul(x, w)", {"Unsqueeze": 2, "Squeeze": 1}),
    "a stack": ("float[N,2,3] x, float[3] w", "float[N,2] z", "y = MatMul(x, w) z = Tanh(y)", {"Squeeze": 1}),
    "matrices": ("float[N,3] x, float[3,2] w", "float[N,2] y", "y = MatMul(x, w)", {"Unsqueeze": 0}),
    "in a branch": (
        "float[N,3] x, float[3] w, bool c",
        "float[N] y",
        "y = If<then_branch = t () => (float[N] a) { a = MatMul(x, w) },"
        " else_branch = e () => (float[N] b) { s = Neg(w) b = MatMul(x, s) }>(c)",
        {"Unsqueeze": 2, "Squeeze": 2},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_vectors_are_matrices(name):
    inputs, output, nodes, counts = CASES[name]
    model = parse(f"g ({inputs}) => ({output}) {{ {nodes} }}")
    loaded = load(model)
    found = [node.op_type for node in loaded.graph.all_nodes()]
    assert {operator: found.count(operator) for operator in counts} == counts
    assert all(node.name for node in loaded.graph.all_nodes())
    names = {value.name for node in loaded.graph.all_nodes() for value in node.outputs}
    assert names >= {output for node in model.graph.node for output in node.output}
    feeds = {
        value.name: np.random.default_rng(0)
        .normal(size=[dim.dim_value or 2 for dim in value.type.tensor_type.shape.dim])
        .astype(np.bool_ if value.name == "c" else np.float32)
        for value in model.graph.input
    }
    score = model.graph.output[0].name
    expected, got = (run(m, **feeds)[score] for m in (model, ir.serde.serialize_model(loaded)))
    np.testing.assert_array_equal(got, expected)
    if name == "in a branch":
        ct = np.array([1.5, -2.0], np.float32)
        gradient = run(vjp(model, "w"), **feeds, y_cotangent=ct)["w_gradient"]
        sign = 1 if feeds["c"] else -1
        np.testing.assert_allclose(gradient, sign * ct @ feeds["x"], rtol=1e-6)
