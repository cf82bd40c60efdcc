"""What stands behind an If, a Loop or a Scan, and what a body may give, against float64 differences."""

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator
from support.control_flow import gradients
from support.reference_ops import NEW_OPS
from support.tiny_graphs import parse, run

from onnxattr.compile.gradient import vjp
from onnxattr.testing import CORRECTED, as_double, check_vjp

RNG = np.random.default_rng(0)
ROW = np.array([[[0.5, 0.1, -0.2, 0.3]]], np.float32)
IMAGE = RNG.normal(size=(1, 2, 4, 5)).astype(np.float32)
X = RNG.uniform(0.5, 1.5, (2, 3)).astype(np.float32)
YES, NO = np.array(True), np.array(False)

POOLED_IF = """g (float[1,1,4] x, bool c) => (float[1,1,3] y) {{
    s = Sin(x)
    v = If(c) <then_branch = a () => (float[1,1,4] p) {{ p = Relu(s) }},
               else_branch = b () => (float[1,1,4] q) {{ q = {}(s) }}>
    y = MaxPool<kernel_shape = [2]>(v)
}}"""
POOLED_LOOP = """g (float[1,2,4,5] x) => (float[?,?,?,?] y) <int64 n = {{2}}> {{
    v = Loop(n, , x) <body = b (int64 i, bool c, float[1,2,4,5] s) => (bool d, float[1,2,4,5] t) {{
        d = Identity(c) q = Sin(s) t = {}(q) }}>
    y = {}<kernel_shape = [3, 3], strides = [2, 1]>(v)
}}"""
POOLED_SCAN = """g (float[3,1,4] x, float[1,4] z) => (float[?,?,?] y) {
    last, all = Scan<num_scan_inputs = 1, body = b (float[1,4] s, float[1,4] a) => (float[1,4] t, float[1,4] r) {
        u = Mul(s, a) t = Sin(u) r = Relu(t) }>(z, x)
    y = MaxPool<kernel_shape = [2]>(all)
}"""
OUTER_RESULTS = """g (float[2,3] x, float[2,3] z, bool c) => (float[?,?] y) <float[3] w = {1, 2, 3}> {
    h = Sin(x)
    u, v = If(c) <
        then_branch = a () => (float[?,?] p, float[?,?] r) { p = Identity(h) r = Identity(w0) },
        else_branch = b () => (float[?,?] q, float[?,?] s) { q = Identity(x) s = Mul(h, z) }>
    y = Mul(u, v)
}""".replace("{1, 2, 3}>", "{1, 2, 3}, float[1,3] w0 = {4, 5, 6}>")
SAME_TWICE = """g (float[2,3] x, bool c) => (float[2,3] y) {
    h = Sin(x)
    u, v = If(c) <
        then_branch = a () => (float[2,3] p, float[2,3] p) { p = Exp(h) },
        else_branch = b () => (float[2,3] q, float[2,3] r) { q = Identity(h) r = Neg(q) }>
    y = Mul(u, v)
}"""
RANKS = """g (float[2,3] x, bool c) => (float[?] y) <int64[1] flat = {-1}, int64[1] axis = {1}> {
    v = If(c) <then_branch = a () => (float[?,?] p) { p = Relu(x) },
               else_branch = b () => (float[?] q) { q = ReduceSum<keepdims = 0>(x, axis) }>
    r = Reshape(v, flat)
    y = Mul(r, r)
}"""
PASSED_ON = """g (float[2,3] x, float[2,3] z, int64 n) => (float[2,3] y, float[K,2,3] all) {
    a, b, all = Loop(n, , x, z) <body = b (int64 i, bool c, float[2,3] s, float[2,3] k)
        => (bool c, float[2,3] t, float[2,3] k, float[2,3] s) { t = Mul(s, k) }>
    y = Add(a, b)
}"""
SWAPPED = """g (float[2,3] x, float[2,3] z, int64 n) => (float[2,3] y) {
    a, b = Loop(n, , x, z) <body = b (int64 i, bool c, float[2,3] s, float[2,3] k)
        => (bool d, float[2,3] p, float[2,3] t) { d = Identity(c) p = Identity(k) t = Mul(s, k) }>
    y = Sub(a, b)
}"""
IF_IN_LOOP = """g (float[1,1,4] x, int64 n) => (float[?,?,?] y) <int64 two = {2}, int64 zero = {0}> {
    v = Loop(n, , x) <body = b (int64 i, bool c, float[1,1,4] s) => (bool d, float[1,1,4] t) {
        d = Identity(c) r = Mod(i, two) e = Equal(r, zero)
        t = If(e) <then_branch = p () => (float[1,1,4] u) { w = Relu(s) u = Add(w, x) },
                   else_branch = q () => (float[1,1,4] o) { o = Sin(s) }> }>
    y = MaxPool<kernel_shape = [2]>(v)
}"""
LOOP_IN_IF = """g (float[1,1,4] x, bool c) => (float[?,?,?] y) <int64 n = {2}> {
    v = If(c) <
        then_branch = p () => (float[1,1,4] u) {
            u = Loop(n, , x) <body = b (int64 i, bool g, float[1,1,4] s) => (bool d, float[1,1,4] t) {
                d = Identity(g) q = Sin(s) t = Relu(q) }> },
        else_branch = q () => (float[1,1,4] o) { o = Relu(x) }>
    y = MaxPool<kernel_shape = [2], pads = [1, 0]>(v)
}"""
CASTS = """g (float[2,3] x, bool c, int64 n) => (float[?,?] y) {
    there = Cast<to = 11>(x)
    back = Cast<to = 1>(there)
    wide = Cast<to = 11>(back)
    u = If(c) <then_branch = a () => (double[2,3] p) { f = Cast<to = 1>(wide) s = Sin(f) p = Cast<to = 11>(s) },
               else_branch = b () => (double[2,3] q) { q = Mul(wide, wide) }>
    v = Loop(n, , u) <body = b (int64 i, bool d, double[2,3] s) => (bool e, double[2,3] t) {
        e = Identity(d) f = Cast<to = 1>(s) h = Tanh(f) k = Cast<to = 1>(wide) m = Mul(h, back)
        o = Mul(m, k) t = Cast<to = 11>(o) }>
    narrow = Cast<to = 1>(v)
    again = Cast<to = 11>(narrow)
    y = Cast<to = 1>(again)
}"""

CASES = {
    **{
        f"MaxPool(If(Relu | {other})), {c}": (POOLED_IF.format(other), {"x": x, "c": c})
        for other in ("Relu", "Neg")
        for c, x in ((YES, ROW), (NO, ROW), (NO, -ROW))
    },
    **{
        f"{pool}(Loop({inner}))": (POOLED_LOOP.format(inner, pool), {"x": IMAGE})
        for inner in ("Relu", "Tanh")
        for pool in ("MaxPool", "AveragePool")
    },
    "MaxPool(Scan(Relu))": (POOLED_SCAN, {"x": RNG.normal(size=(3, 1, 4)).astype(np.float32), "z": ROW[0]}),
    **{f"branches of outer values, {c}": (OUTER_RESULTS, {"x": X, "z": X + 1, "c": c}) for c in (YES, NO)},
    **{f"branches of two ranks, {c}": (RANKS, {"x": X, "c": c}) for c in (YES, NO)},
    **{
        f"states passed on, {k} steps": (PASSED_ON, {"x": X, "z": X + 1, "n": np.array(k)}) for k in (0, 1, 3)
    },
    **{f"states swapped, {k} steps": (SWAPPED, {"x": X, "z": X + 1, "n": np.array(k)}) for k in (0, 1, 3)},
    **{f"If in Loop, {k} steps": (IF_IN_LOOP, {"x": ROW, "n": np.array(k)}) for k in (0, 1, 3)},
    **{f"Loop in If, {c}": (LOOP_IN_IF, {"x": ROW, "c": c}) for c in (YES, NO)},
}


@pytest.mark.parametrize("case", CASES)
def test_against_differences(case):
    text, feeds = CASES[case]
    model = parse(text)
    check_vjp(model, feeds, directions=2)
    gradients(model, feeds)


#: Models that ONNX Runtime itself does not run, or gives what lies in memory for: what is read from Casts to a wider
#: type and back in a subgraph, and a value that a subgraph gives twice.
WRONG_IN_RUNTIME = {
    **{f"a value given twice, {c}": (SAME_TWICE, {"x": X, "c": c}) for c in (YES, NO)},
    **{
        f"casts around bodies, {c}, {k} steps": (CASTS, {"x": X, "c": c, "n": np.array(k)})
        for c in (YES, NO)
        for k in (0, 1, 3)
    },
}


@pytest.mark.parametrize("case", WRONG_IN_RUNTIME)
def test_what_the_runtime_gets_wrong_alone(case):
    text, feeds = WRONG_IN_RUNTIME[case]
    feeds = feeds | {"y_cotangent": X}
    results = run(vjp(parse(text)), **feeds)
    wide = ReferenceEvaluator(vjp(as_double(parse(text))), new_ops=CORRECTED)
    exact = wide.run(None, {k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in feeds.items()})
    for name, array in zip(wide.output_names, exact, strict=True):
        np.testing.assert_allclose(results[name], array, rtol=1e-5, err_msg=name)
    if case.startswith("a value"):
        check_vjp(parse(text), {name: feeds[name] for name in ("x", "c")})


@pytest.mark.parametrize("opset", [11, 13, 16, 17, 21])
@pytest.mark.parametrize("case", ["MaxPool(Loop(Tanh))", "MaxPool(Scan(Relu))", "Loop in If, True"])
def test_opsets(case, opset):
    text, feeds = CASES[case]
    model = parse(text, opset)
    model.ir_version = 8 if opset < 21 else 10
    expected = gradients(parse(text), feeds)
    for name, array in gradients(model, feeds).items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-5)


CLIPPED = {
    (0.3, -0.2): [1, 10],
    (-0.9, 0.4): [0, 10],
    (-0.9, -0.8): [0, 11],
    (-0.8, -0.8): None,
}


@pytest.mark.parametrize("x", CLIPPED)
def test_clip_with_crossing_bounds(x):
    """The upper bound of both elements is their maximum: an element that equals it is counted as the bound alone."""
    text = """g (float[2] x) => (float[2] y) <float low = {-0.68}> {
        h = ReduceMax<keepdims = 0>(x) y = Clip(x, low, h) }"""
    ct = np.array([1, 10], np.float32)
    found = run(vjp(parse(text)), x=np.array(x, np.float32), y_cotangent=ct)["x_gradient"]
    if CLIPPED[x] is None:  # a tie: shared in any way, counted once
        assert found.sum() == ct.sum()
    else:
        np.testing.assert_array_equal(found, CLIPPED[x])


@pytest.mark.parametrize(
    "nodes",
    [
        "c = GroupNormalization<num_groups = 2>(x, s, s) y = MaxPool<kernel_shape = [2, 2]>(c)",
        "c = ReduceSum<keepdims = 1>(x, a) y = Concat<axis = -1>(c, c)",
        "c = ReduceSum<keepdims = 0>(x, a) m = MatMul(c, w) y = Unsqueeze(m, a)",
    ],
    ids=["group norm", "reduced, kept", "reduced"],
)
def test_ranks_that_inference_leaves_out(nodes):
    text = f"""g (float[N,2,4,5] x, int64[1] a) => (float[?,?,?,?] y) <float[2] s = {{1, 2}},
        float[5,2] w = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}}> {{ {nodes} }}"""
    model = parse(text, 21)
    model.ir_version = 10
    feeds = {"x": np.concatenate([IMAGE, -IMAGE]), "a": np.array([1])}
    check_vjp(model, feeds, new_ops=NEW_OPS)
    run(vjp(model), **feeds, y_cotangent=run(model, **feeds)["y"])


def test_shapes_with_constant_but_computed_bounds():
    """nn.MultiheadAttention by the older exporter of PyTorch: the lengths of parts of a Shape are computed."""
    text = """g (float[N,2,6] x) => (float[N,2] y) <int64[1] zero = {0}, int64[2] split = {3, 2}, int64[1] axis = {1}> {
        minus = Constant<value = int64 {-1}>() rank = Constant<value = int64 {3}>() one = Constant<value = int64 {1}>()
        end = Constant<value = int64[1] {9223372036854775807}>() flat = Constant<value = int64[1] {-1}>()
        where = Mod(minus, rank) s = Shape(x) until = Reshape(where, flat) head = Slice(s, zero, until)
        after = Add(where, one) begin = Reshape(after, flat) tail = Slice(s, begin, end)
        shape = Concat<axis = 0>(head, split, tail) r = Reshape(x, shape) q = Gather<axis = 2>(r, one)
        y = ReduceSum<keepdims = 0>(q, axis)
    }"""
    x = RNG.normal(size=(3, 2, 6)).astype(np.float32)
    results = run(vjp(parse(text)), x=x, y_cotangent=np.array([[1, 2]] * 3, np.float32))
    expected = np.zeros((3, 2, 6), np.float32)
    expected[:, :, 2:4] = [1, 2]
    np.testing.assert_array_equal(results["x_gradient"], expected)
