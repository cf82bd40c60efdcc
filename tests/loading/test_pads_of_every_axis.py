"""Pads of some axes are written for all: ONNX Runtime misreads the others next to a Transpose."""

import numpy as np
import onnx
import pytest
from support.tiny_graphs import parse, run

from onnxattr.compile.gradient import vjp
from onnxattr.graph.subgraphs import nodes_in
from onnxattr.loading.load import load
from onnxattr.testing import check_vjp

X = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
WEIGHTS = (
    "int64[2] ends = {1, 2}, int64[1] two = {2}, int64[1] last = {-1}, int64[6] all = {0, 1, 0, 0, 1, 0}"
)

#: Nodes of a graph of x and the run-time integers p and a, with their result.
PADDED = {
    "between Transposes": (
        "t = Transpose<perm = [0, 2, 1]>(x) u = Pad(t, ends, , two) y = Transpose<perm = [0, 2, 1]>(u)",
        lambda x: np.pad(x, ((0, 0), (1, 2), (0, 0))),
    ),
    "pads of a run": (
        "t = Transpose<perm = [0, 2, 1]>(x) u = Pad(t, p, , two) y = Transpose<perm = [0, 2, 1]>(u)",
        lambda x: np.pad(x, ((0, 0), (1, 0), (0, 0))),
    ),
    "axes of a run": (
        "t = Transpose<perm = [0, 2, 1]>(x) u = Pad(t, ends, , a) y = Transpose<perm = [0, 2, 1]>(u)",
        lambda x: np.pad(x, ((0, 0), (1, 2), (0, 0))),
    ),
    "axes in another order": (
        "o = Constant<value = int64[3] {2, 1, 0}>() t = Transpose<perm = [0, 2, 1]>(x) u = Pad(t, all, , o) "
        "y = Transpose<perm = [0, 2, 1]>(u)",
        lambda x: np.pad(x, ((0, 0), (0, 0), (1, 1))),
    ),
    "copied border": (
        "t = Transpose<perm = [0, 2, 1]>(x) u = Pad<mode = 'edge'>(t, ends, , last) y = Transpose<perm = [0, 2, 1]>(u)",
        lambda x: np.pad(x, ((0, 0), (1, 2), (0, 0)), mode="edge"),
    ),
    "unknown rank": (
        "s = Shape(x) n = Shape(s) r = Range(zero, i, j) g = Gather(s, r) t = Reshape(x, g) y = Pad(t, ends, , last)",
        lambda x: np.pad(x, ((0, 0), (0, 0), (1, 2))),
    ),
    "in a branch": (
        "f = ReduceSum<keepdims = 0>(x) c = Equal(f, f) y = If(c) <then_branch = yes () => (float[?,?,?] t) "
        "{ v = Transpose<perm = [1, 0, 2]>(x) t = Pad(v, ends, , last) }, "
        "else_branch = no () => (float[?,?,?] e) { e = Neg(x) }>",
        lambda x: np.pad(x.transpose(1, 0, 2), ((0, 0), (0, 0), (1, 2))),
    ),
}


def model_of(nodes: str) -> onnx.ModelProto:
    return parse(
        f"""g (float[2,3,4] x, int64[2] p, int64[1] a, int64 i, int64 j) => (float[?,?,?] y)
        <{WEIGHTS}, int64 zero = {{0}}> {{ {nodes} }}""".replace("'edge'", '"edge"')
    )


@pytest.mark.parametrize("name", PADDED)
def test_padded(name):
    nodes, expected = PADDED[name]
    model = model_of(nodes)
    feeds = {"x": X, "p": np.array([1, 0]), "a": np.array([-1]), "i": np.array(3), "j": np.array(1)}
    assert not any(n.op_type == "Pad" and len(n.input) > 3 for n in nodes_in(vjp(model).graph))
    results = run(vjp(model), **feeds, y_cotangent=np.ones_like(expected(X)))
    np.testing.assert_array_equal(results["y"], expected(X))
    counts = np.zeros(X.shape)
    for index in np.ndindex(X.shape):
        counts[index] = (
            expected(np.arange(1.0, X.size + 1).reshape(X.shape)) == 1 + np.ravel_multi_index(index, X.shape)
        ).sum()
    np.testing.assert_array_equal(results["x_gradient"], counts)


QKV = (
    "s = Constant<value_ints = [1, 5, 3, 2, 4]>() r = Reshape(x, s) t = Transpose<perm = [2, 0, 3, 1, 4]>(r) "
    "zero = Constant<value_int = 0>() one = Constant<value_int = 1>() two = Constant<value_int = 2>() "
    "q = Gather<axis = 0>(t, zero) k = Gather<axis = 0>(t, one) v = Gather<axis = 0>(t, two) "
    "kt = Transpose<perm = [0, 1, 3, 2]>(k) m = MatMul(q, kt) p = Softmax(m) o = MatMul(p, v) "
    "w = Transpose<perm = [0, 2, 1, 3]>(o) s3 = Constant<value_ints = [1, 5, 8]>() y = Reshape(w, s3)"
)
SLICED = (
    "a = Transpose<perm = [0, 2, 1]>(x) s = Constant<value_ints = [1]>() e = Constant<value_ints = [3]>() "
    "c = Slice(a, s, e, s) y = Transpose<perm = [0, 2, 1]>(c)"
)


@pytest.mark.parametrize(
    ("nodes", "dims"), [(QKV, (1, 5, 24)), (SLICED, (2, 5, 8))], ids=["attention", "slice"]
)
def test_gradients_that_pad_between_transposes(nodes, dims):
    x = np.random.default_rng(0).normal(size=dims).astype(np.float32)
    model = parse(f"g (float[{','.join(map(str, dims))}] x) => (float[?,?,?] y) {{ {nodes} }}")
    check_vjp(model, {"x": x})
    check_vjp(model, {"x": x}, runtime="onnxruntime")


def test_other_models_are_left_alone():
    assert [n.op_type for n in load(parse("g (float[2,3] x) => (float[2,3] y) { y = Tanh(x) }")).graph] == [
        "Tanh"
    ]
