"""Rules that are derived from a definition, against closed forms and against the rules of the operators in it."""

import numpy as np
import onnx
import pytest
from support.tiny_graphs import CT, X, parse, run

from onnxattr.autodiff.derived import pulled_back
from onnxattr.autodiff.standard import STANDARD
from onnxattr.compile.gradient import vjp

W = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -3.0]], np.float32)
SPLIT = (
    "g (float[N,3] x, float[N,3] w) => (float[N,1] y, float[N,2] z) <int64[2] n = {1, 2}> "
    "{ y, z = Split<axis=1>(x, n) }"
)


def derive(define):
    return lambda op, node, ct: pulled_back(op, node, define)


def squares(op, node):
    """y = a^2 b, as Mul is to be differentiated here."""
    a, b = node.inputs
    return op.Mul(op.Mul(a, a), b)


def parts(op, node):
    """y, z = 2 x and 3 x in parts."""
    x = node.inputs[0]
    return op.Mul(op.Slice(x, [0], [1], [1]), 2.0), op.Mul(op.Slice(x, [1], [3], [1]), 3.0)


# The model, its operator, the definition, and the gradients for cotangents CT by name.
CASES = {
    "two inputs": (
        "g (float[N,3] x, float[N,3] w) => (float[N,3] y) { y = Mul(x, w) }",
        ("Mul", squares),
        {"x": 2 * X * W * CT, "w": X**2 * CT},
    ),
    "sizes without names": (
        "g (float[?,?] x, float[?,?] w) => (float[?,?] y) { y = Mul(x, w) }",
        ("Mul", squares),
        {"x": 2 * X * W * CT, "w": X**2 * CT},
    ),
    "one value read twice": (
        "g (float[N,3] x, float[N,3] w) => (float[N,3] y) { y = Mul(x, x) }",
        ("Mul", squares),
        {"x": 3 * X**2 * CT, "w": 0 * CT},
    ),
    "two outputs": (SPLIT, ("Split", parts), {"x": CT * np.array([2, 3, 3]), "w": 0 * CT}),
    "two outputs, one without a cotangent": (
        SPLIT.replace("float[N,1] y, ", ""),
        ("Split", parts),
        {"x": CT * np.array([0, 3, 3]), "w": 0 * CT},
    ),
    "inside a Loop": (
        "g (float[2,3] x, float[2,3] w) => (float[2,3] y) <int64 n = {1}, bool c = {1}> { y = Loop(n, c, x) <body = b "
        "(int64 i, bool k, float[2,3] s) => (bool more, float[2,3] t) { more = Identity(k) t = Softsign(s) }> }",
        ("Softsign", lambda op, node: op.Mul(node.inputs[0], op.Mul(node.inputs[0], 4.0))),
        {"x": 8 * X * CT, "w": 0 * CT},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_the_definition(name):
    text, (operator, define), expected = CASES[name]
    model = parse(text)
    gradient = vjp(model, ["x", "w"], rules=STANDARD | {operator: derive(define)}, verify=False)
    onnx.checker.check_model(gradient, full_check=True)
    feeds = {"x": X, "w": W, "y_cotangent": CT, "z_cotangent": CT[:, 1:]}
    if "float[N,1] y" in text:
        feeds["y_cotangent"] = CT[:, :1]
    taken = {value.name for value in gradient.graph.input}
    found = run(gradient, **{key: array for key, array in feeds.items() if key in taken})
    for key, array in expected.items():
        np.testing.assert_allclose(found[f"{key}_gradient"], array, rtol=1e-6, err_msg=key)


def test_what_the_gradient_does_not_read_is_not_computed():
    def define(op, node):
        return op.Add(op.Mul(node.inputs[0], 3.0), op.Exp(op.Sin(node.outputs[0])))

    model = parse("g (float[N,M] x) => (float[N,M] y) { y = Softsign(x) }")
    gradient = vjp(model, rules=STANDARD | {"Softsign": derive(define)}, verify=False)
    assert [node.op_type for node in gradient.graph.node] == ["Softsign", "Mul", "Identity"]
    np.testing.assert_allclose(run(gradient, x=X, y_cotangent=CT)["x_gradient"], 3 * CT, rtol=1e-6)


def test_products_of_a_definition_are_those_of_a_forward_pass():
    """A gradient's products take 0 times infinity for 0: they would count as part of the definition otherwise."""

    def define(op, node):
        return op.Mul(op.Div(node.inputs[0], node.inputs[0]), node.inputs[0])

    model = parse("g (float[N] x) => (float[N] y) { y = Identity(x) }")
    gradient = vjp(model, rules=STANDARD | {"Identity": derive(define)}, verify=False)
    x = np.array([0.0, 2.0], np.float32)
    found = run(gradient, x=x, y_cotangent=np.ones(2, np.float32))["x_gradient"]
    assert np.isnan(found[0])
    np.testing.assert_allclose(found[1], 1.0, rtol=1e-6)


DYNAMIC = {
    "GridSample": "g (float[N,C,H,W] x, float[N,P,Q,2] g) => (float[N,C,P,Q] y) { y = GridSample(x, g) }",
    "DeformConv": "g (float[N,4,H,W] x, float[N,18,P,Q] o, float[N,9,P,Q] m, float[6,4,3,3] w, float[6] b) "
    "=> (float[N,6,P,Q] y) { y = DeformConv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x, w, o, b, m) }",
}


@pytest.mark.parametrize("operator", DYNAMIC)
def test_nothing_is_computed_for_its_shape_alone(operator):
    """The sizes of a definition's values are those of the inputs: its forward pass need not run to know them."""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 20]> {DYNAMIC[operator]}')
    graph = vjp(model).graph
    needed = {value.name for value in graph.output}
    for node in reversed(graph.node):
        if node.op_type != "Shape" and needed.intersection(node.output):
            needed.update(node.input)
    wasted = [node for node in graph.node if not needed.intersection(node.output)]
    assert [node.op_type for node in wasted if node.op_type != "Shape"] == []
