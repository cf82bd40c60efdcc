"""What a rule sees of its node, and what it may give back: padded inputs, plain attributes, cut entries."""

import numpy as np
import pytest
from support.tiny_graphs import CT, X, parse, run

from onnxattr.autodiff.standard import STANDARD
from onnxattr.compile.gradient import vjp
from onnxattr.errors import RuleError

CLIPPED = "g (float[2,3] x) => (float[2,3] y) <float high = {0.5}> { y = Clip(x, , high) }"
ONE = "g (float[2,3] x) => (float[2,3] y) { y = Clip(x) }"
LEAKY = "g (float[2,3] x) => (float[2,3] y) { y = LeakyRelu(x) }"
GATHERED = "g (float[2,3] x) => (float[2,3] y) <int64[2] i = {1, 0}> { y = Gather(x, i) }"


def seen(model: str, read, entries=1):
    """What ``read`` gives for the only node of a model."""
    found = []

    def rule(op, node, ct):
        found.append(read(node))
        return [ct] * entries

    name = parse(model).graph.node[0].op_type
    vjp(parse(model), rules=STANDARD | {name: rule})
    return found[0]


ROWS = {
    "inputs left out at the end": (ONE, lambda node: len(node.inputs), 3),
    "they are None": (ONE, lambda node: node.inputs[1:], (None, None)),
    "inputs left out in the middle": (
        CLIPPED,
        lambda node: [v and v.name for v in node.inputs],
        ["x", None, "high"],
    ),
    "the first input and output": (ONE, lambda node: (node.x.name, node.y.name), ("x", "y")),
    "a default": (LEAKY, lambda node: round(node.get_float("alpha"), 6), 0.01),
    "a default by name": (GATHERED, lambda node: node.attributes["axis"], 0),
    "the getters of onnx_ir": (GATHERED, lambda node: node.attributes.get_int("axis", 0), 0),
    "an attribute without default": (GATHERED, lambda node: node.attributes.get_ints("perm", [4]), [4]),
    "what the node itself says": (LEAKY, lambda node: node.attributes.written, {}),
    "the rank": (ONE, lambda node: node.rank(node.x), 2),
}


@pytest.mark.parametrize(("model", "read", "expected"), ROWS.values(), ids=ROWS)
def test_what_a_rule_sees(model, read, expected):
    assert seen(model, read, {GATHERED: 2, CLIPPED: 3}.get(model, 1)) == expected


GIVEN = {
    "one for each input that is there": lambda op, node, ct: [ct],
    "one for each input that could be": lambda op, node, ct: [ct, ct, ct],
    "cut by hand": lambda op, node, ct: [ct, None, None][: len(node.inputs)],
}


@pytest.mark.parametrize("rule", GIVEN.values(), ids=GIVEN)
def test_entries_of_inputs_that_are_left_out_may_stay_away(rule):
    found = run(vjp(parse(ONE), rules=STANDARD | {"Clip": rule}), x=X, y_cotangent=CT)
    np.testing.assert_array_equal(found["x_gradient"], CT)


def unpacked(op, node, ct):
    (_,) = node.inputs
    return (ct,)


REFUSED = {
    "other inputs": (ONE, unpacked, "as many inputs as the operator can have .here 3., None for those"),
    "an input that is left out": (
        ONE,
        lambda op, node, ct: (op.cast_like(ct, node.inputs[1]),),
        "None for those",
    ),
    "attributes of onnx_ir": (
        LEAKY,
        lambda op, node, ct: (op.Mul(ct, node.attributes["alpha"].as_float()),),
        "attributes as plain Python values",
    ),
    "in a deferred entry": (
        ONE,
        lambda op, node, ct: (lambda: op.cast_like(ct, node.inputs[1]),),
        "Clip node .* failed",
    ),
    "an attribute that is not there": (
        LEAKY,
        lambda op, node, ct: (op.Mul(ct, node.get_float("slope")),),
        "needs the attribute 'slope', a float; it is missing and has no default",
    ),
    "an attribute of another kind": (
        LEAKY,
        lambda op, node, ct: (op.Mul(ct, node.get_int("alpha")),),
        "'alpha', an integer; it is 0.0",
    ),
    "inputs that it needs": (
        ONE,
        lambda op, node, ct: (op.Mul(ct, node.required(2)[1]),),
        "has 1 of the 2 inputs that its rule needs",
    ),
    "too few entries": (GATHERED, lambda op, node, ct: (ct,), "gave 1 cotangents for 2 inputs"),
    "too many entries": (ONE, lambda op, node, ct: [ct] * 4, "gave 4 cotangents for 1 to 3 inputs"),
}


@pytest.mark.parametrize(("model", "rule", "words"), REFUSED.values(), ids=REFUSED)
def test_rules_that_read_their_node_otherwise_are_told(model, rule, words):
    name = parse(model).graph.node[0].op_type
    with pytest.raises(RuleError, match=words):
        vjp(parse(model), rules=STANDARD | {name: rule})


@pytest.mark.parametrize("outputs", ["y", "y, i"])
def test_a_rule_asks_the_forward_node_for_another_output(outputs):
    pool = "MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(x)"
    model = f"g (float[1,1,2,4] x) => (float[1,1,1,2] y) {{ {outputs} = {pool} }}"

    def rule(op, node, ct):
        where = node.output(op, 1)
        assert where.dtype.name == "INT64"
        assert list(where.shape) == [1, 1, 1, 2]
        zeros = op.Reshape(op.zeros_like(node.x), [-1])
        flat = op.ScatterElements(zeros, op.Reshape(where, [-1]), op.Reshape(ct, [-1]), axis=0)
        return (op.reshape_like(flat, node.x),)

    x = np.array([[[[1, 5, 2, 3], [4, 0, 7, 6]]]], np.float32)
    ct = np.array([[[[10, 20]]]], np.float32)
    found = run(vjp(parse(model), rules=STANDARD | {"MaxPool": rule}), x=x, y_cotangent=ct)["x_gradient"]
    np.testing.assert_array_equal(found, np.where(np.isin(x, [5, 7]), np.repeat(ct, 2, axis=3), 0))


@pytest.mark.parametrize("sizes", ["A,B,C,D E,F,G,H", "A,B,3,4 C,D,4,2", "2,B,3,4 C,5,4,2"])
def test_operands_of_einsum_that_a_run_broadcasts(sizes):
    """ONNX's inference names the sizes of a product after its first operand, whatever broadcasts that."""
    a, b = sizes.split()
    text = f"g (float[{a}] a, float[{b}] b) => (float[I,J,K,L] y)"
    gradient = vjp(parse(f'{text} {{ y = Einsum<equation = "...ij,...jk->...ik">(a, b) }}'))
    rng = np.random.default_rng(0)
    a, b, ct = (rng.normal(size=s).astype(np.float32) for s in ((2, 1, 3, 4), (1, 5, 4, 2), (2, 5, 3, 2)))
    found = run(gradient, a=a, b=b, y_cotangent=ct)
    a_ct = np.einsum("uvik,vjk->uij", ct, b[0])[:, None]
    b_ct = np.einsum("uij,uvik->vjk", a[:, 0], ct)[None]
    np.testing.assert_allclose(found["a_gradient"], a_ct, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["b_gradient"], b_ct, rtol=1e-5, atol=1e-5)
