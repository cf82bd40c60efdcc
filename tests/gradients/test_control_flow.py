"""Gradients through If, Loop and Scan, against float64 differences, closed forms and TensorFlow."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from support.control_flow import NESTED, UNTIL, T, W, X, gradients, n
from support.tiny_graphs import parse

from onnxattr.compile.gradient import vjp
from onnxattr.errors import ModelError
from onnxattr.loading.load import load
from onnxattr.loading.prepared import prepare
from onnxattr.testing import check_vjp

YES, NO = np.array(True), np.array(False)


IF = """g (float[N,3] x, bool c) => (float[N,3] y, float[?,3] z) {
    h = Mul(x, x)
    y, z = If(c) <
        then_branch = t () => (float[N,3] p, float[N,3] q) { p = Sin(h) q = Mul(h, x) },
        else_branch = e () => (float[N,3] r, float[N,3] s) { r = Exp(x) s = Constant<value = float[1,3] {1, 2, 3}>() }
    >
}"""

POWER = """g (float[N,3] x, int64 n) => (float[N,3] y, float[K,N,3] z) {
    y, z = Loop(n, , x) <body = b (int64 i, bool c, float[N,3] s) => (bool d, float[N,3] t, float[N,3] u) {
        d = Identity(c) sq = Mul(s, s) t = Mul(sq, x) u = Neg(s) }>
}"""

COUNTED = """g (float[N,3] x, int64 n) => (float[N,3] y, float[N,3] z) {
    zero = Constant<value = int64 {0}>()
    y, j, z = Loop(n, , x, zero, x) <body = b (int64 i, bool c, float[N,3] s, int64 k, float[N,3] fixed)
        => (bool d, float[N,3] t, int64 l, float[N,3] fixed2) {
        d = Identity(c) one = Constant<value = int64 {1}>() both = Add(i, one) l = Add(k, both)
        f = Cast<to = 1>(k) r = Mul(s, f) t = Add(r, fixed) fixed2 = Identity(fixed) }>
}"""

UNTYPED = """g (float[N,3] x, int64 n) => (float[N,3] y, float[?,?,?] z) {
    h = Neg(x)
    s9, z = Loop(n, , h) <body = b (int64 i, bool c, s) => (bool d, t, u) {
        d = Identity(c) w = Softmax(s) t = Mul(w, x)
        v = Loop(n, , s) <body = b2 (int64 j, bool e, a) => (bool f, a2) { f = Identity(e) a2 = Sin(a) }>
        u = Mul(v, s) }>
    y = LogSoftmax(s9)
}"""

CONSTANT = """g (float[N,3] x, float[3,3] w, int64 n) => (float[N,3] y, float[3,3] w3, float[K,3,3] z) {
    y, w2, w3, a2, b2, z = Loop(n, , x, w, w, x, x)
        <body = b (int64 i, bool c, float[N,3] s, float[3,3] v, float[3,3] u, float[N,3] a, float[N,3] b)
        => (bool d, float[N,3] t, float[3,3] v, float[3,3] u2, float[N,3] b, float[N,3] a, float[3,3] v) {
        d = Identity(c) u1 = Identity(u) u2 = Identity(u1) uv = Mul(u, v) p = MatMul(s, uv)
        q, o9 = Loop(n, , p, v) <body = b2 (int64 j, bool e, float[N,3] m, float[3,3] o)
            => (bool f, float[N,3] m2, float[3,3] o) { f = Identity(e) mo = MatMul(m, o) m2 = Sin(mo) }>
        ab = Sub(a, b) r = Add(q, ab) t = Tanh(r) }>
}"""

NAMED_AS_OUTSIDE = """g (float[N,3] x, float[N,3] w, int64 n) => (float[N,3] y) {
    y, k = Loop(n, , x, w) <body = b (int64 i, bool c, float[N,3] w, float[N,3] fixed)
        => (bool d, float[N,3] t, float[N,3] fixed) { d = Identity(c) p = Sin(w) t = Mul(p, fixed) }>
}"""

UNREAD = """g (float[N,3] x, int64 n) => (float[N,2] y)
        <float none = {0}, int64[1] a = {1}, int64[1] b = {3}, int64[1] one = {1}> {
    h, last = Loop(n, , x, none) <body = b (int64 i, bool c, float[N,3] s, float[A,3] before)
        => (bool d, float[N,3] t, float[B,3] seen) { d = Identity(c) t = Sin(s) seen = Mul(s, x) }>
    y = Slice(last, a, b, one)
}"""

# The same, where the number depends on x.
UNREAD_FROM_X = UNREAD.replace("h, last =", "sum = ReduceSum<keepdims = 0>(x) h, last =").replace(
    "x, none)", "x, sum)"
)

GROWING = """g (float[N,3] x, int64 n) => (float[M,3] y, float[K,3] z) <int64[1] axis = {0}> {
    empty = SequenceEmpty<dtype = 1>()
    y, seq, z = Loop(n, , x, empty) <body = b (int64 i, bool c, float[A,3] s, seq(float[3]) q)
        => (bool d, float[B,3] t, seq(float[3]) r, float[3] u) {
        d = Identity(c) a = Sin(s) t = Concat<axis = 0>(a, x) u = ReduceSumSquare<keepdims = 0>(s, axis)
        r = SequenceInsert(q, u) }>
}"""

SCAN = """g (float[N,3] s, float[T,N,3] x, float[3,3] w) => (float[N,3] y, float[T,N,3] z) {
    y, z = Scan<num_scan_inputs = 1, body = b (float[N,3] s0, float[N,3] x0) => (float[N,3] s1, float[N,3] z0) {
        v = MatMul(s0, w) a = Add(v, x0) s1 = Tanh(a) z0 = Mul(s1, x0) }>(s, x)
}"""

AXES = """g (float[N,3] s, float[N,4,3] x, float[N,3,4] x2) => (float[N,3] y, float[N,4,3] z, float[N,3,4] z2) {
    y, k, z, z2 = Scan<num_scan_inputs = 2, scan_input_axes = [1, -1], scan_input_directions = [1, 0],
        scan_output_axes = [1, 2], scan_output_directions = [0, 1],
        body = b (float[N,3] s0, float[N,3] p0, float[N,3] a, float[N,3] b)
            => (float[N,3] s1, float[N,3] p1, float[N,3] za, float[N,3] zb) {
        ab = Mul(a, b) sp = Mul(s0, p0) s1 = Add(ab, sp) p1 = Sin(s0) za = Mul(s1, a) zb = Exp(p0) }>(s, s, x, x2)
}"""

SCAN_IN_IF = """g (float[2,3] x, float[T,2,3] z, bool c) => (float[2,3] y) {
    y = If(c) <
        then_branch = yes () => (float[2,3] p) {
            p = Scan<num_scan_inputs = 1, body = b (float[2,3] s, float[2,3] u) => (float[2,3] v) {
                m = Mul(s, u) v = Add(m, x) }>(x, z) },
        else_branch = no () => (float[2,3] q) { q = ReduceSum<keepdims = 0>(z, axes) }
    >
}""".replace("bool c) => (float[2,3] y) {", "bool c) => (float[2,3] y) <int64[1] axes = {0}> {")

STACKED = """g (float[N,3] x, int64 n) => (float[K,N,3] y) {
    y = Loop(n, "") <body = b (int64 i, bool c) => (bool d, float[N,3] u) {
        d = Identity(c) f = Cast<to = 1>(i) p = Mul(x, f) u = Sin(p) }>
}"""

STACKED_INSIDE = """g (float[N,3] x, int64 n) => (float[N,3] y) {
    y = Loop(n, , x) <body = outer (int64 i, bool c, float[N,3] s) => (bool d, float[N,3] t) {
        d = Identity(c) m = Constant<value = int64 {2}>() first = Constant<value = int64[1] {0}>()
        all = Loop(m, "") <body = inner (int64 j, bool e) => (bool f, float[N,3] u) {
            f = Identity(e) k = Cast<to = 1>(j) p = Add(s, k) u = Mul(p, x) }>
        t = ReduceSum<keepdims = 0>(all, first) }>
}"""

CASES = {
    "if, then": (IF, {"x": X, "c": YES}),
    "if, else": (IF, {"x": X, "c": NO}),
    **{f"loop of {k} steps": (POWER, {"x": X, "n": n(k)}) for k in (0, 1, 3)},
    "loop until a condition": (UNTIL, {"x": X, "w": W}),
    "loop without types": (UNTYPED, {"x": X, "n": n(2)}),
    **{f"growing state, {k} steps": (GROWING, {"x": X, "n": n(k)}) for k in (0, 1, 3)},
    **{f"loop without states, {k} steps": (STACKED, {"x": X, "n": n(k)}) for k in (1, 3)},
    "loop without states in a loop": (STACKED_INSIDE, {"x": X, "n": n(2)}),
    "loop with integer states": (COUNTED, {"x": X, "n": n(4)}),
    **{f"constant states, {k} steps": (CONSTANT, {"x": X, "w": W, "n": n(k)}) for k in (0, 1, 3)},
    "constant state of a name that means another inside": (
        NAMED_AS_OUTSIDE,
        {"x": X, "w": np.cos(X), "n": n(3)},
    ),
    "state that no step reads, begun as a number": (UNREAD, {"x": X, "n": n(3)}),
    "state that no step reads, begun as a number of x": (UNREAD_FROM_X, {"x": X, "n": n(2)}),
    "scan": (SCAN, {"s": X, "x": T, "w": W}),
    "scan along axes": (AXES, {"s": X, "x": T.transpose(1, 0, 2).copy(), "x2": T.transpose(1, 2, 0).copy()}),
    **{f"if in loop in loop, {k} steps": (NESTED, {"x": X, "n": n(k)}) for k in (0, 1, 3)},
    "scan in if": (SCAN_IN_IF, {"x": X, "z": T, "c": YES}),
    "scan in if, other branch": (SCAN_IN_IF, {"x": X, "z": T, "c": NO}),
}


@pytest.mark.parametrize("case", CASES)
def test_against_differences(case):
    text, feeds = CASES[case]
    model = parse(text)
    check_vjp(model, feeds, directions=2)
    assert set(gradients(model, feeds)) == {f"{k}_gradient" for k, v in feeds.items() if v.dtype.kind == "f"}


def test_a_branch_is_not_computed_again():
    def operators(graph: onnx.GraphProto) -> list[str]:
        bodies = [a.g for node in graph.node for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
        return [node.op_type for node in graph.node] + [name for body in bodies for name in operators(body)]

    found = operators(vjp(parse(IF)).graph)
    assert (found.count("If"), found.count("Exp"), found.count("Sin")) == (2, 1, 1)


def test_constant_states_are_not_kept_for_each_step():
    """What the forward Loop gives, of states and of what the gradient reads of each step: s, a, b, z and their kin."""
    loops = [node for node in vjp(parse(CONSTANT), "x", "y").graph.node if node.op_type == "Loop"]
    (body,) = (a.g for a in loops[0].attribute if a.name == "body")
    assert len(body.input) == 2 + 3
    matrices = [v for v in body.output if [d.dim_value for d in v.type.tensor_type.shape.dim] == [3, 3]]
    assert len(matrices) == 1  # z


@pytest.mark.parametrize("opset", [11, 13, 16, 21])
@pytest.mark.parametrize(
    "case", ["if, then", "loop until a condition", "scan along axes", "if in loop in loop, 3 steps"]
)
def test_opsets(case, opset):
    text, feeds = CASES[case]
    model = parse(text, opset)
    model.ir_version = 8 if opset < 21 else 10
    expected = gradients(parse(text), feeds)
    for name, array in gradients(model, feeds).items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-5)


TWICE = """g (float[N,3] x, bool c) => (float[N,3] y) {
    [power] y = Loop(two, , x) <body = b (int64 i, bool d, float[N,3] s) => (bool e, float[N,3] t) {
        e = Identity(d) [gate] u = If(c) <then_branch = p () => (float[N,3] v) { [inner] h = Relu(s) v = Mul(h, x) },
                                          else_branch = q () => (float[N,3] w) { w = Neg(s) }> t = Relu(u) }>
}""".replace("(float[N,3] y) {", "(float[N,3] y) <int64 two = {2}> {", 1)


@pytest.mark.parametrize("name", ["h", "inner", "u"])
def test_values_inside_subgraphs_are_refused(name):
    with pytest.raises(ModelError, match="inside a subgraph of the Loop node 'power'"):
        prepare(parse(TWICE), output_layer=name)


@pytest.mark.parametrize("settings", [{"wrt": "h"}, {"outputs": "u"}])
def test_gradients_inside_subgraphs_are_refused(settings):
    with pytest.raises(ModelError, match=r"'[hu]' is inside a subgraph of the Loop node 'power'"):
        vjp(parse(TWICE), **settings)
    with pytest.raises(ModelError, match="'h' is inside a subgraph"):
        prepare(parse(TWICE), wrt="h")


ROWS = """g (float[N,3] s, float[N,T,3] x, float[N,T,3] x2, float[3,3] w) => (float[N,3] y, float[N,T,3] z) {
    h = Tanh(s)
    y, z = Scan<num_scan_inputs = 2, directions = [1, 0],
        body = b (float[3] s0, float[3] a, float[3] b) => (float[3] s1, float[3] z0) {
        v = MatMul(s0, w) p = Mul(a, v) s1 = Add(p, b) z0 = Sin(s1) }>(, h, x, x2)
}"""


def test_scans_of_opset_8_run_over_rows_apart():
    """The outputs are those of ONNX Runtime's own kernel for that opset, bit for bit."""
    feeds = {"s": X, "x": T[:2].copy(), "x2": T[2:].copy(), "w": W}
    model = parse(ROWS, 8)
    check_vjp(ir.serde.serialize_model(load(model)), feeds, directions=2)
    assert set(gradients(model, feeds)) == {f"{k}_gradient" for k in feeds}


def test_rows_of_different_lengths_are_refused():
    lengths = ROWS.replace("float[3,3] w)", "float[3,3] w, int64[N] lens)").replace("}>(,", "}>(lens,")
    with pytest.raises(ModelError, match=r"opset 8 has sequence_lens.* Export the model with opset 9"):
        vjp(parse(lengths, 8))


def test_what_a_cut_leaves_out_holds_nothing():
    """A Loop behind the cut goes, and with it what it alone captured."""
    text = """g (float[N,3] x, float[N,3] z) => (float[N,3] y) <int64 two = {2}> {
        h = Sin(x) k = Exp(z) y = Loop(two, , h) <body = b (int64 i, bool c, float[N,3] s) => (bool d, float[N,3] t) {
            d = Identity(c) t = Mul(s, k) }>
    }"""
    assert [node.op_type for node in prepare(parse(text), output_layer="h").model.graph] == ["Sin"]
