"""A caller's rule table is the only one, from loading to the sweep: what it has a rule for is differentiated by it."""

import numpy as np
import onnx
import pytest
from support.tiny_graphs import CT, X, run

from onnxattr import Saliency, vjp
from onnxattr.autodiff.standard import STANDARD
from onnxattr.errors import ModelError

SHAPES = ("float[2,3]", "float[N,M]")
CALLS = {
    "CenterCropPad": "CenterCropPad(s, size)",
    "Softplus": "Softplus(s)",
    "Round": "Round(s)",
    "CastLike": "CastLike(s, bias)",
    "com.microsoft::FastGelu": "com.microsoft.FastGelu(s)",
    "com.microsoft::BiasGelu": "com.microsoft.BiasGelu(s, bias)",
    "own::Curve": "own.Curve(s)",
}
CURVE = '<domain: "own", opset_import: ["" : OPSET]> Curve (a) => (b) { c = Mul(a, a) b = Sin(c) }'
PLAIN = "s = Sin(x) t = CALL y = Neg(t)"
#: One step, so that the rule counts once.
LOOP = (
    "s0 = Sin(x) r = Loop(once, yes, s0) <body = b (int64 i, bool k, SHAPE s) => (bool again, SHAPE u) "
    "{ again = Identity(k) t = CALL u = Identity(t) }> y = Neg(r)"
)
SCAN = "z = Sin(x) r = Scan<num_scan_inputs = 1, body = b (float[M] s) => (float[M] t) { t = CALL }>(z) y = Neg(r)"
IF = (
    "s = Sin(x) r = If(yes) <then_branch = a () => (SHAPE t) { t = CALL }, "
    "else_branch = b () => (SHAPE q) { q = Neg(s) }> y = Neg(r)"
)


def model(operator: str, body: str, shape: str = "float[2,3]", opset: int = 18) -> onnx.ModelProto:
    """y = -operator(sin(x)), somewhere in the graph."""
    nodes = body.replace("CALL", CALLS[operator]).replace("SHAPE", shape)
    constants = "int64[2] size = {2, 3}, float[3] bias = {1, 2, 3}, int64 once = {1}, bool yes = {1}"
    curve = CURVE.replace("OPSET", str(opset)) if operator == "own::Curve" else ""
    text = (
        f'<ir_version: 9, opset_import: ["" : {opset}, "com.microsoft" : 1, "own" : 1]> '
        f"g ({shape} x) => ({shape} y) <{constants}> {{ {nodes} }} {curve}"
    )
    return onnx.parser.parse_model(text)


def ten_times(op, node, ct):
    """Xbar = 10 ybar, and none for the other inputs."""
    return (op.Mul(ct, 10.0), *[None] * (len(node.inputs) - 1))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("body", [PLAIN, LOOP, IF], ids=["plain", "Loop", "If"])
@pytest.mark.parametrize("operator", CALLS)
def test_a_rule_of_the_caller_is_called(operator, body, shape):
    gradient = vjp(model(operator, body, shape), "x", rules=STANDARD | {operator: ten_times})
    onnx.checker.check_model(gradient)
    found = run(gradient, x=X, y_cotangent=CT)["x_gradient"]
    np.testing.assert_allclose(found, -10 * CT * np.cos(X), rtol=1e-6)


def test_a_rule_of_the_caller_is_called_in_a_scan():
    proto = model("com.microsoft::FastGelu", SCAN)
    gradient = vjp(proto, "x", rules=STANDARD | {"com.microsoft::FastGelu": ten_times})
    np.testing.assert_allclose(
        run(gradient, x=X, y_cotangent=CT)["x_gradient"], -10 * CT * np.cos(X), rtol=1e-6
    )


@pytest.mark.parametrize("operator", [name for name in CALLS if name != "Round"])
def test_operators_without_a_rule_of_the_caller_are_written_out_as_before(operator):
    rules = STANDARD | {name: ten_times for name in CALLS if name != operator}
    found, expected = (
        run(vjp(model(operator, PLAIN), "x", rules=r), x=X, y_cotangent=CT) for r in (rules, STANDARD)
    )
    np.testing.assert_array_equal(found["x_gradient"], expected["x_gradient"])


@pytest.mark.parametrize("operator", CALLS)
def test_a_method_differentiates_with_its_table(operator):
    class Tenfold(Saliency):
        rules = STANDARD | {operator: ten_times}

    found = Tenfold(model(operator, PLAIN, "float[N,3]")).explain(X, CT)
    np.testing.assert_allclose(found, np.abs(10 * CT * np.cos(X)), rtol=1e-6)


@pytest.mark.parametrize("opset", [17, 27])
def test_functions_of_a_model_are_kept_in_the_supported_opsets(opset):
    with pytest.raises(
        ModelError, match=rf"own::Curve.*of opset {opset}; functions are kept in opsets 18 to"
    ):
        vjp(model("own::Curve", PLAIN, opset=opset), rules=STANDARD | {"own::Curve": ten_times})
