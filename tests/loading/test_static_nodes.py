"""Branches with a known condition, and sequences and optional values that hold something known, are resolved."""

import numpy as np
import onnx
import pytest
from support.tiny_graphs import parse, run

from onnxattr.compile.gradient import vjp
from onnxattr.errors import UnsupportedOpError
from onnxattr.loading.load import load

X = np.random.default_rng(0).uniform(0.5, 1.5, (2, 3, 4)).astype(np.float32)
WEIGHTS = (
    "int64 zero = {0}, int64 one = {1}, int64 two = {2}, int64[1] axis = {-1}, "
    "int64[1] one1 = {1}, bool no = {0}, int64[1] zeroth = {0}, int64[2] sizes = {1, 2}"
)
EITHER = """If(c) <then_branch = yes () => (float[?,?,?] t) { u = Exp(x) t = Mul(u, x) },
    else_branch = no () => (float[?,?] e) { u = Sin(x) e = ReduceSum<keepdims = 0>(u, axis) }>"""

# 0, which only a run gives, and sizes that depend on it.
RUN = (
    "f = ReduceMin<keepdims = 0>(x) r = Floor(f) n = Cast<to = 7>(r) place = Add(n, one) part = Add(n, two) "
    "both = Add(sizes, n) end = Unsqueeze(part, zeroth) last = Constant<value = int64[1] {2}>() "
    "cut = Slice(x, zeroth, end, last) "
)

# Behind a Slice of what may have a negative size, as it is behind another Slice, sizes are inferred node by node.
SLICES = (
    "i1 = Constant<value = int64[3] {1, 1, 1}>() s1 = Slice(x, zeroth, one1) s2 = Tile(s1, i1) "
    "s3 = Slice(s2, zeroth, one1) s4 = ReduceMax<keepdims = 0>(s3) "
)

APPEND = (
    "body = b (int64 i, bool c, float[2,3,4] p, seq(float[2,3,4]) l) => (bool d, float[2,3,4] g, seq(float[2,3,4]) m, "
    "float[2,3,4] o) { d = Identity(c) h = Sin(p) m = SequenceInsert(l, h) g = Mul(p, x) o = Identity(p) }"
)

RAGGED = (
    "body = b (int64 i, bool c, float[2,3,4] p, seq(float[2,3,?]) q) => (bool d, float[2,3,4] g, seq(float[2,3,?]) t) "
    "{ d = Identity(c) g = Exp(p) h = Add(i, one) u = Unsqueeze(h, zeroth) v = Slice(g, zeroth, u, last) "
    "t = SequenceInsert(q, v) }"
)

# Nodes with their float64 results.
RESOLVED = {
    "weight": (f"c = Identity(no) y = {EITHER}", lambda x: np.sin(x).sum(-1)),
    "shape": (
        f"s = Shape(x) d = Gather(s, one) k = Sub(d, one) c = Equal(k, two) y = {EITHER}",
        lambda x: np.exp(x) * x,
    ),
    "known size among unknown ones": (
        "k = NonZero(x) l = Shape(k) f = Gather(l, zero) m = Sub(f, one) c = Equal(m, two) z = Shape<start = -2>(k) "
        f"a = Constant<value = int64[1] {{0}}>() r = Constant<value = int64[1] {{1}}>() p = Slice(z, a, r) "
        f"three = Constant<value = int64[1] {{3}}>() d = Equal(p, three) both = And(c, d) no2 = Not(both) "
        f"h = {EITHER.replace('If(c)', 'If(no2)')} y = Neg(h)",
        lambda x: -np.sin(x).sum(-1),
    ),
    "floats": (
        f"s = Size(x) n = Cast<to = 1>(s) h = Constant<value = float {{24.5}}>() c = Greater(n, h) y = {EITHER}",
        lambda x: np.sin(x).sum(-1),
    ),
    "one after another": (
        f"c = Identity(no) h = {EITHER} s = Size(h) f = Equal(s, two) t = Not(f) "
        "y = If(t) <then_branch = a () => (float[?,?] p) { u = Neg(h) v = Neg(x) w = Neg(u) p = Mul(u, w) },"
        "else_branch = b () => (float[?,?] q) { q = Neg(h) }>",
        lambda x: -(np.sin(x).sum(-1) ** 2),
    ),
    "rank from a computed size": (
        "s = Shape(x) f, g, h = Split<num_outputs = 3>(s) k = Concat<axis = 0>(f, g, h) "
        "o = Constant<value = float {1}>() ones = Expand(o, k) q = Squeeze(ones) "
        "l = Shape(q) d = Size(l) m = Sub(d, one) c = Equal(m, two) "
        f"w = {EITHER} y = Mul(w, q)",
        lambda x: np.exp(x) * x + 0 * x,
    ),
    "construct, at": ("a = Exp(x) s = SequenceConstruct(x, a) y = SequenceAt(s, one)", np.exp),
    "insert and erase": (
        "a = Exp(x) b = Sin(x) e = SequenceEmpty() s = SequenceInsert(e, a) t = SequenceInsert(s, b) "
        "u = SequenceInsert(t, x, zero) v = SequenceErase(u, one) w = SequenceErase(v) y = SequenceAt(w, zero)",
        lambda x: x,
    ),
    "split, concat": (
        "s = SplitToSequence<axis = 1>(x, sizes) a = SequenceAt(s, zero) b = SequenceAt(s, one) q = Mul(a, b) "
        "t = SequenceInsert(s, q, zero) y = ConcatFromSequence<axis = 1>(t)",
        lambda x: np.concatenate([x[:, :1] * x[:, 1:], x], axis=1),
    ),
    "parts of one size": (
        "s = SplitToSequence<axis = -2>(x, two) a = SequenceAt(s, zero) b = SequenceAt(s, one) q = Mul(a, b) "
        "n = SequenceLength(s) f = Cast<to = 1>(n) y = Mul(q, f)",
        lambda x: 2 * x[:, :2] * x[:, 2:],
    ),
    "slices, stacked": (
        "s = SplitToSequence<axis = 2, keepdims = 0>(x) t = SequenceErase(s, zero) i = Identity(t) "
        "c = ConcatFromSequence<axis = 0, new_axis = 1>(i) y = Exp(c)",
        lambda x: np.exp(x[:, :, 1:].transpose(2, 0, 1)),
    ),
    "optional": (
        "a = Exp(x) o = Optional(a) c = OptionalHasElement(o) y = If(c) <"
        "then_branch = yes () => (float[2,3,4] t) { g = OptionalGetElement(o) t = Mul(g, x) },"
        "else_branch = no () => (float[2,3,4] e) { e = Neg(x) }>",
        lambda x: np.exp(x) * x,
    ),
    "loop over a sequence": (
        "a = Exp(x) s = SequenceConstruct(x, a, x) n = SequenceLength(s) e = SequenceEmpty() w, q, z = "
        "Loop(n, , x, e) <"
        "body = b (int64 i, bool c, float[2,3,4] p, seq(float[2,3,4]) l) => (bool d, float[2,3,4] r, "
        "seq(float[2,3,4]) m,"
        "float[2,3,4] f) { d = Identity(c) g = SequenceAt(s, i) r = Mul(p, g) h = Sin(g) m = SequenceInsert(l, h) "
        "f = Identity(p) }> v = SequenceAt(q, one) t = ReduceSum<keepdims = 0>(z, zeroth) "
        "k = Add(w, v) y = Add(k, t)",
        lambda x: x**3 * np.exp(x) + np.sin(np.exp(x)) + x + x**2 + x**2 * np.exp(x),
    ),
    "loop in a loop over a sequence": (
        "e = SequenceConstruct(x) s = Loop(two, , e) <body = b (int64 i, bool c, seq(float[2,3,4]) q) "
        "=> (bool d, seq(float[2,3,4]) r) { d = Identity(c) g = SequenceAt(q, i) "
        "h = Loop(two, , g) <body = w (int64 j, bool k, float[2,3,4] p) => (bool l, float[2,3,4] m) "
        "{ l = Less(j, one) m = Mul(p, x) }> r = SequenceInsert(q, h) }> y = ConcatFromSequence<axis = 1>(s)",
        lambda x: np.concatenate([x, x**3, x**5], axis=1),
    ),
    "captured": (
        "a = Exp(x) s = SequenceConstruct(x, a) y = Loop(two, , x) <body = b (int64 i, bool d, float[2,3,4] p) "
        "=> (bool e, float[2,3,4] q) { e = Identity(d) g = SequenceAt(s, one) q = Mul(p, g) }>",
        lambda x: x * np.exp(2 * x),
    ),
    "position of a run": (f"{RUN} a = Exp(x) s = SequenceConstruct(x, a) y = SequenceAt(s, place)", np.exp),
    "sizes of a run": (
        f"{RUN} s = SplitToSequence<axis = 1>(x, both) a = SequenceAt(s, zero) b = SequenceAt(s, one) y = Mul(a, b)",
        lambda x: x[:, :1] * x[:, 1:],
    ),
    "parts of a size of a run": (
        f"{RUN} s = SplitToSequence<axis = -2>(x, part) a = SequenceAt(s, zero) k = Neg(place) b = SequenceAt(s, k) "
        "q = Mul(a, b) l = SequenceLength(s) f2 = Cast<to = 1>(l) p = Mul(q, f2) "
        "c = ConcatFromSequence<axis = 1>(s) y = Concat<axis = 1>(p, c)",
        lambda x: np.concatenate([2 * x[:, :2] * x[:, 2:], x], axis=1),
    ),
    "slices of an axis of a run": (
        f"{RUN} s = SplitToSequence<axis = 2, keepdims = 0>(cut) l = SequenceLength(s) a = SequenceAt(s, zero) "
        "v = Loop(l, , a) <body = b (int64 i, bool c, float[2,3] p) => (bool d, float[2,3] q) { d = Identity(c) "
        "g = SequenceAt(s, i) h = Mul(g, g) q = Add(p, h) }> "
        "e = ConcatFromSequence<axis = 0, new_axis = 1>(s) y = Mul(e, v)",
        lambda x: x[..., :2].transpose(2, 0, 1) * (x[..., 0] + (x[..., :2] ** 2).sum(-1)),
    ),
    "appended, stacked": (
        f"{RUN} e = SequenceEmpty() z, s, k = Loop(part, , x, e) <{APPEND}> "
        "q = ConcatFromSequence<axis = 1, new_axis = 1>(s) a = Unsqueeze(z, one1) y = Concat<axis = 1>(q, a)",
        lambda x: np.stack([np.sin(x), np.sin(x * x), x**3], axis=1),
    ),
    "appended behind others, side by side": (
        f"{RUN} e = SequenceConstruct(x) z, s, k = Loop(part, , x, e) <{APPEND}> l = SequenceLength(s) "
        "c = ConcatFromSequence<axis = 1>(s) v = SequenceAt(s, part) m = Concat<axis = 1>(c, v) f2 = Cast<to = 1>(l) "
        "t = ReduceSum<keepdims = 0>(k, zeroth) u = Concat<axis = 1>(m, t) y = Mul(u, f2)",
        lambda x: 3 * np.concatenate([x, np.sin(x), np.sin(x * x), np.sin(x * x), x + x * x], axis=1),
    ),
    "of different sizes, as far as they are read": (
        f"{RUN} e = SequenceEmpty() z, s = Loop(part, , x, e) <{RAGGED}> "
        "a = SequenceAt(s, one) k = SequenceAt(s, zero) y = Mul(a, k)",
        lambda x: np.exp(np.exp(x))[..., :2] * np.exp(x)[..., :1],
    ),
    "axes of a Squeeze, from what reads it": (
        f"{RUN} w = Transpose<perm = [2, 0, 1]>(cut) v = Unsqueeze(w, last) q = Squeeze(v) "
        "y = Transpose<perm = [2, 1, 0]>(q)",
        lambda x: x[..., :2].transpose(1, 0, 2),
    ),
}


def model(nodes: str, rank: int) -> onnx.ModelProto:
    return parse(f"g (float[2,3,4] x) => (float[{','.join('?' * rank)}] y) <{WEIGHTS}> {{ {nodes} }}")


@pytest.mark.parametrize("case", RESOLVED)
def test_resolved(case):
    nodes, expected = RESOLVED[case]
    proto = model(nodes, expected(X).ndim)
    left = {node.op_type for node in load(proto).graph.all_nodes()}
    assert not [name for name in left if name == "If" or "Sequence" in name or "Optional" in name]
    ct, v = (
        np.random.default_rng(seed).normal(size=array.shape) for seed, array in ((1, expected(X)), (2, X))
    )
    found = run(vjp(proto), x=X, y_cotangent=ct.astype(np.float32))
    np.testing.assert_allclose(found["y"], expected(X), rtol=1e-5)
    up, down = (expected(X.astype(np.float64) + step * v) for step in (1e-5, -1e-5))
    np.testing.assert_allclose((found["x_gradient"] * v).sum(), ((up - down) * ct).sum() / 2e-5, rtol=1e-5)
    np.testing.assert_allclose(run(proto, x=X)["y"], expected(X), rtol=1e-5)


@pytest.mark.parametrize("case", RESOLVED)
def test_resolved_beside_slices(case):
    nodes, expected = RESOLVED[case]
    ones = np.ones_like(expected(X))
    plain = model(nodes, ones.ndim)
    sliced = model(f"{SLICES} {nodes}", ones.ndim)
    alone, beside = (run(vjp(proto), x=X, y_cotangent=ones) for proto in (plain, sliced))
    np.testing.assert_array_equal(beside["x_gradient"], alone["x_gradient"])


NAMED = {
    "If": f"c = Identity(no) h = {EITHER} y = Neg(h)",
    "SequenceAt": "s = SplitToSequence<axis = 1>(x, one) h = SequenceAt(s, two) y = Neg(h)",
    "ConcatFromSequence": "s = SequenceConstruct(x, x) h = ConcatFromSequence<axis = 0>(s) y = Neg(h)",
    "Loop": "t = Exp(x) e = SequenceEmpty() z, s = Loop(two, , t, e) <body = b (int64 i, bool c, float[2,3,4] p, "
    "seq(float[2,3,4]) l) => (bool d, float[2,3,4] g, seq(float[2,3,4]) m) { d = Identity(c) g = Sin(p) "
    "m = SequenceInsert(l, g) }> h = SequenceAt(s, zero) y = Mul(h, z)",
}


@pytest.mark.parametrize("case", NAMED)
def test_what_stands_for_a_value_has_its_name(case):
    proto = model(NAMED[case], 2 if case == "If" else 3)
    cotangent = np.ones_like(run(proto, x=X)["y"])
    behind, whole = (
        run(vjp(proto, wrt=wrt), x=X, y_cotangent=cotangent)[f"{wrt}_gradient"] for wrt in ("h", "x")
    )
    assert behind.shape == run(vjp(proto, outputs="h"), x=X, h_cotangent=behind)["h"].shape
    if case != "Loop":
        through = run(vjp(proto, outputs="h"), x=X, h_cotangent=behind)["x_gradient"]
        np.testing.assert_allclose(through, whole, rtol=1e-6)


REFUSED = {
    "SequenceAt": f"{RUN} s = SequenceConstruct(x, cut) y = SequenceAt(s, n)",
    "SequenceInsert": f"{RUN} e = SequenceEmpty() z, s = Loop(part, , x, e) <{RAGGED}> y = SequenceAt(s, n)",
}


@pytest.mark.parametrize("op", REFUSED)
def test_refused(op):
    with pytest.raises(UnsupportedOpError, match=f"{op}: .*Sequences are supported if"):
        vjp(model(REFUSED[op], 3))
