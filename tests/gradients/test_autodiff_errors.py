"""Errors of the reverse sweep: operators without a rule, rules that break their contract, bad names."""

import numpy as np
import pytest
from support.tiny_graphs import CT, X, parse, run

from onnxattr.autodiff.registry import NOT_IMPLEMENTED
from onnxattr.autodiff.standard import STANDARD
from onnxattr.compile.gradient import vjp
from onnxattr.errors import ModelError, RuleError, UnsupportedOpError
from onnxattr.testing import check_vjp


def test_every_operator_without_a_rule_is_named():
    model = parse(
        "g (float[1,1,4,4] x, float[1,4,4,2] grid) => (float[1,1,4,4] y, float[1] d) { "
        "[first] a = GridSample(x, grid) [second] b = GridSample(a, grid) "
        "y = Relu(b) [square] q = Reshape(x, s) [last] d = Det(q) }".replace("(x, s)", "(x, shape)").replace(
            "{ [first]", "<int64[3] shape = {1, 4, 4}> { [first]"
        )
    )
    table = {name: rule for name, rule in STANDARD.items() if name not in ("Det", "GridSample")}
    with pytest.raises(UnsupportedOpError) as caught:
        vjp(model, "x", rules=type(STANDARD)(table))
    for word in ("2 operator(s)", "GridSample: first, second", "Det: last"):
        assert word in str(caught.value)
    # Those that no path needs are no error.
    assert vjp(model, "q", "q", rules=type(STANDARD)(table)).graph.node


def test_operators_inside_subgraphs_are_named_too():
    model = parse(
        "g (float[2,3] x, bool c) => (float[2,3] y) { [early] s = Softsign(x) h = Relu(s) [branch] y = If(c) <"
        "then_branch = t () => (float[2,3] p) { [inside] p = Softsign(h) },"
        "else_branch = e () => (float[2,3] q) { [other] k = Sin(h) [unused] u = Cos(h) q = Neg(k) }> }"
    )

    def without(*names):
        return type(STANDARD)({name: rule for name, rule in STANDARD.items() if name not in names})

    with pytest.raises(UnsupportedOpError, match="If: branch"):
        vjp(model, rules=without("If"))
    with pytest.raises(UnsupportedOpError, match=r"2 operator.*Softsign: early, inside; Sin: other[.]"):
        vjp(model, rules=without("Softsign", "Sin", "Cos"))


@pytest.mark.parametrize(
    "behind",
    [
        "MaxPool <kernel_shape=[2,2]> (a)",
        'Resize <mode="linear"> (a, , scales)',
        "Conv(a, kernel)",
        "Softmax(a)",
        "LRN <size=3> (a)",
        "ReduceMax <keepdims=0> (a)",
        "CumSum(a, axis)",
    ],
)
def test_an_unknown_operator_is_named_and_not_what_is_unknown_behind_it(behind):
    """No inference knows types and shapes behind it, so that rules of what follows cannot do their work."""
    model = parse(
        "g (float[2,3,4,4] x) => (float y) <float[4] scales = {1, 1, 2, 2}, float[1,3,1,1] kernel = {1, 2, 3}, "
        f"int64 axis = {{0}}> {{ [mine] a = my.own.Foo(x) b = {behind} y = ReduceSum <keepdims=0> (b) }}"
    )
    model.opset_import.add(domain="my.own", version=1)
    with pytest.raises(UnsupportedOpError, match=r"my\.own::Foo: mine"):
        vjp(model)


BAD_RULES = [
    (lambda op, node, ct: (ct, ct), RuleError, "2 cotangents for 1 inputs"),
    (lambda op, node, ct: (op.Cast(ct, to=11),), RuleError, "DOUBLE.*FLOAT"),
    (lambda op, node, ct: (op.Unsqueeze(ct, [0]),), None, None),
    (lambda op, node, ct: (op.Compress(ct, np.array([True, True]), axis=0),), None, None),
    (lambda op, node, ct: (op.Concat(ct, ct, axis=1),), RuleError, "shape"),
    (lambda op, node, ct: (op.ReduceSum(ct, [0], keepdims=0),), RuleError, "shape"),
    (lambda op, node, ct: (op.Relu(ct, ct),), RuleError, "Relu takes 1 to 1 inputs"),
    (lambda op, node, ct: (op.Relu(ct, slope=1),), RuleError, "Relu has no attribute"),
    (lambda op, node, ct: (op.Nonsense(ct),), RuleError, "Nonsense does not exist"),
    (lambda op, node, ct: (NOT_IMPLEMENTED,), UnsupportedOpError, "'n', input 0 .'x'.*not implemented"),
]


@pytest.mark.parametrize(("rule", "error", "message"), BAD_RULES)
def test_rules_that_break_their_contract(rule, error, message):
    model = parse("g (float[2,3] x) => (float[2,3] y) { [n] y = Softsign(x) }")
    if error is None:
        np.testing.assert_array_equal(
            run(vjp(model, rules=STANDARD | {"Softsign": rule}), x=X, y_cotangent=CT)["x_gradient"], CT
        )
        return
    with pytest.raises(error, match=message):
        vjp(model, rules=STANDARD | {"Softsign": rule})


def test_entries_of_inactive_inputs_are_not_asked_for():
    def fail():
        raise AssertionError("built for nothing")

    model = parse(
        "g (float[2,3] x, float[3] w, float[3] b) => (float[2,3] y) { s = Mul(x, w) y = Add(s, b) }"
    )
    table = STANDARD | {
        "Mul": lambda op, node, ct: (op.Mul(ct, node.inputs[1]), fail),
        "Add": lambda op, node, ct: (ct, NOT_IMPLEMENTED),
    }
    w = np.array([2, 3, 4], np.float32)
    found = run(vjp(model, "x", rules=table), x=X, w=w, b=w, y_cotangent=CT)["x_gradient"]
    np.testing.assert_array_equal(found, CT * w)
    with pytest.raises(UnsupportedOpError, match="not implemented"):
        vjp(model, "b", rules=table)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"wrt": "nothing"}, "wrt 'nothing' is neither a layer, a value nor a node"),
        ({"outputs": "nothing"}, "outputs 'nothing' is neither a layer, a value nor a node"),
        ({"wrt": 3}, "wrt=3 is an index, but the model has no layer table"),
        ({"wrt": "i"}, "only float values"),
        ({"wrt": ["x", "x"]}, "'x' is named twice"),
    ],
)
def test_names_that_cannot_be_differentiated(names, message):
    model = parse("g (float[2,3] x) => (float[2,3] y) { i = Cast<to=7>(x) y = Relu(x) }")
    with pytest.raises(ModelError, match=message):
        vjp(model, **names)


def test_a_model_without_float_inputs_lists_what_can_be_differentiated():
    model = parse("""g (int64[N,3] ids) => (float[N,3,2] y) <float[4,2] table = {1,2,3,4,5,6,7,8}> {
        words = Gather(table, ids)
        y = Relu(words) }""")
    with pytest.raises(
        ModelError, match=r"no float value among \['ids'\].*wrt=<name>, for example one of: words\."
    ):
        vjp(model)
    with pytest.raises(ModelError, match=r"no float value among \['best'\].*outputs=<name>\."):
        vjp(parse("g (int64[N,3] ids) => (int64[N] best) { best = ArgMax<axis=1, keepdims=0>(ids) }"))
    with pytest.raises(ValueError, match=r"wrt: no array is given for \['words'\]"):
        check_vjp(model, dict.fromkeys(("ids", "mask"), np.ones((1, 3), np.int64)), wrt=["words"])


def test_a_rank_that_is_unknown_is_traced_to_the_node_it_is_lost_at():
    """A Squeeze without axes behind which an operator needs the rank: the words name it, and the size to be fixed."""
    body = "<int64[1] zero = {0}, int64[1] two = {2}> { a = Tanh(x) s = Squeeze(a) g = Exp(s) y = Slice(g, zero, two) }"
    words = (
        r"Slice node .*: the rank of 'g' is unknown from Squeeze node .*axis of \(N, 1, 4\).*--dim_param N "
    )
    with pytest.raises(UnsupportedOpError, match=words):
        vjp(parse(f"g (float[N,1,4] x) => (float[2] y) {body}"))
    fixed = vjp(parse(f"g (float[1,1,4] x) => (float[2] y) {body}"))
    x = np.array([[[1, 2, 3, 4]]], np.float32) / 4
    slope = np.exp(np.tanh(x)) / np.cosh(x) ** 2 * [3, 5, 0, 0]
    found = run(fixed, x=x, y_cotangent=np.array([3, 5], np.float32))["x_gradient"]
    np.testing.assert_allclose(found, slope, rtol=1e-5)


@pytest.mark.parametrize("more", ["", ", p"])
def test_a_definition_that_asks_for_ranks(more):
    """ONNX's functions of RotaryEmbedding are others for heads in one axis and for heads side by side."""
    body = f"{{ y = RotaryEmbedding<num_heads=2>(x, c, s{more}) }}"
    text = f"g (float[] x, float[5,2] c, float[5,2] s, int64[2,3] p) => (float[] y) {body}"
    with pytest.raises(
        ModelError, match=r"RotaryEmbedding node .*asks for the ranks.*unknown: 'x'\. Give the "
    ):
        vjp(parse(text, opset=23), "x")


def test_overrides_leave_the_standard_table_alone():
    before = dict(STANDARD)
    table = STANDARD | {"Relu": lambda op, node, ct: (op.Mul(ct, 7.0),)}
    model = parse("g (float[2,3] x) => (float[2,3] y) { y = Relu(x) }")
    np.testing.assert_array_equal(run(vjp(model, rules=table), x=X, y_cotangent=CT)["x_gradient"], 7 * CT)
    assert dict(STANDARD) == before
    assert len(table) == len(STANDARD)
