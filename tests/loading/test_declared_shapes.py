"""Files whose declared shapes are not those that they compute: ONNX Runtime runs them with a warning."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper
from support.small_models import build, node
from support.tiny_graphs import parse, run

from onnxattr import Saliency, vjp
from onnxattr.loading.load import load
from onnxattr.testing import check_vjp

NODES = [node("Tanh", ["x"], ["wide"]), node("Reshape", ["wide", "shape"], ["y"])]
X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("output", "inside"),
    [([3], None), ([7, 2], None), ([3, 2], [1, 5]), ([3], [6])],
    ids=["rank", "size", "size inside", "both"],
)
def test_what_the_nodes_compute_is_believed(output, inside):
    model = build(NODES, {"x": [1, 6]}, {"y": output}, {"shape": np.array([3, 2])})
    if inside:
        model.graph.value_info.append(onnx.helper.make_tensor_value_info("wide", 1, inside))
    loaded = ir.serde.serialize_model(load(model))
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*loaded.graph.output, *loaded.graph.value_info]
    }
    assert shapes["y"] == [3, 2]
    assert shapes["wide"] == [1, 6]
    check_vjp(loaded, {"x": np.random.default_rng(0).normal(size=(1, 6)).astype(np.float32)})


WEIGHTS = {"a size": {"w": (1, [5])}, "a type": {"w": (10, [4])}, "all": {"w": (10, [5]), "x": (10, [2])}}


@pytest.mark.parametrize("declared", WEIGHTS)
@pytest.mark.parametrize("width", [4, 100_000], ids=["small", "large"])
def test_what_weights_and_inputs_are_is_believed(declared, width):
    """value_info names them again, as another type. ONNX Runtime's converter to float16 leaves such files."""
    body = "{ a = Slice(x, zero, one, zero, one) b = Add(a, w) y = Mul(b, x) }"
    model = parse(
        f"g (float[2,{width}] x) => (float[2,{width}] y) <int64[1] zero = {{0}}, int64[1] one = {{1}}> {body}"
    )
    w = np.linspace(1, 2, width, dtype=np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(w, "w"))
    for name, (kind, dims) in WEIGHTS[declared].items():
        model.graph.value_info.append(helper.make_tensor_value_info(name, kind, dims))
    x = np.linspace(-1, 1, 2 * width, dtype=np.float32).reshape(2, width)
    found = run(vjp(model), x=x, y_cotangent=np.eye(1, 2 * width, dtype=np.float32).reshape(2, width))
    right = np.zeros_like(x)
    right[0, 0] = 2 * x[0, 0] + w[0]
    np.testing.assert_allclose(found["y"], run(model, x=x)["y"], rtol=1e-6)
    np.testing.assert_allclose(found["x_gradient"], right, rtol=1e-6)


PRODUCT = "{ a = Tanh(x) b = Sin(x) y = Mul(a, b) }"
FIRST_ROW = "{ a = Slice(x, zero, one, zero, one) y = Mul(a, x) }"
BY_INPUT = "{ a = Reshape(x, size) y = Mul(a, x) }"


def rows_of_four(body, given="", opset=18):
    constants = "<int64[1] zero = {0}, int64[1] one = {1}>"
    return parse(f"g (float[N,4] x{given}) => (float[M,4] y) {constants} {body}", opset)


def declare(model, name, dims):
    """Notes a shape, on the value of that name wherever it is."""
    graphs = [model.graph, *(a.g for n in model.graph.node for a in n.attribute if a.g.node)]
    for graph in graphs:
        for value in (*graph.input, *graph.output):
            if value.name == name:
                value.CopyFrom(helper.make_tensor_value_info(name, 1, dims))
                return model
        if any(name in n.output for n in graph.node):
            graph.value_info.append(helper.make_tensor_value_info(name, 1, dims))
            return model
    raise KeyError(name)


IF = """{ s = ReduceSum(x) zz = CastLike(zero, x) c = Greater(s, zz)
    y = If(c) <then_branch = g1 () => (float[p,q] u) { a = Tanh(x) b = Sin(x) u = Mul(a, b) },
              else_branch = g2 () => (float[p,q] v) { e = Cos(x) v = Mul(e, x) }> }"""
LOOP = """{ two = Constant<value_int = 2>() cond = Constant<value = bool {1}>()
    y = Loop(two, cond, x) <body = g1 (int64 i, bool go, float[p,q] s) => (bool more, float[p,q] t)
        { more = Identity(go) a = Sin(s) t = Mul(a, x) }> }"""
SCAN = """{ h = Slice(x, zero, one, zero, one) k = Squeeze(h, zero)
    last, y = Scan(k, x) <num_scan_inputs = 1, body = g1 (float[p] s, float[q] r) => (float[p] t, float[q] u)
        { t = Tanh(s) a = Sin(r) u = Mul(a, s) }> }"""


@pytest.mark.parametrize(
    ("body", "value", "dims"),
    [
        (PRODUCT, "a", [1, 4]),
        (PRODUCT, "a", ["M", 4]),
        (PRODUCT, "a", ["N", 1]),
        (PRODUCT, "a", [8, 4]),
        (PRODUCT, "a", [4]),
        (PRODUCT, "a", ["N", 4, 1]),
        (PRODUCT, "y", [1, 4]),
        (PRODUCT, "y", [8, 4]),
        (PRODUCT, "y", ["N"]),
        (FIRST_ROW, "a", ["N", 4]),
        (FIRST_ROW, "a", [3, 4]),
        (FIRST_ROW, "y", [1, 4]),
        (IF, "a", [1, 4]),
        (IF, "e", ["N", 1]),
        (IF, "y", [1, 4]),
        (LOOP, "a", [1, 4]),
        (LOOP, "s", [1, 4]),
        (LOOP, "t", [1, 4]),
        (LOOP, "y", [1, 4]),
        (SCAN, "a", [1]),
        (SCAN, "y", [1, 4]),
    ],
)
def test_a_wrong_declaration_changes_no_gradient(body, value, dims):
    model = declare(rows_of_four(body), value, dims)
    check_vjp(model, {"x": X}, runtime="onnxruntime")


@pytest.mark.parametrize("opset", [9, 10, 11, 13, 17])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("reader", ["Mul(a, x)", "Sub(x, a)"])
def test_a_slice_of_sizes_that_are_symbols(opset, axis, reader):
    if opset < 10:
        body = f"{{ a = Slice<axes = [{axis}], starts = [0], ends = [1]>(x) y = {reader} }}"
    else:
        body = f"{{ a = Slice(x, zero, one, {('zero', 'one')[axis]}, one) y = {reader} }}"
    model = rows_of_four(body.replace("float[N,4]", "float[A,B]"), opset=opset)
    check_vjp(model, {"x": X}, runtime="onnxruntime")


@pytest.mark.parametrize("length", ["2", "K"], ids=["rank known", "rank unknown"])
@pytest.mark.parametrize("dims", [[1, 4], ["N", 4], ["N", "N"], [1, 1], [3, 1]])
def test_where_inference_is_silent_no_size_is_believed(length, dims):
    """The shape of a comes as an input; the file was traced with one that is not the one given."""
    model = declare(rows_of_four(BY_INPUT, f", int64[{length}] size"), "a", dims)
    for size in ([3, 4], [1, 4], [3, 1], [1, 1]):
        x = X[: size[0], : size[1]] if size[1] == 4 else X[: size[0]]
        if x.size == np.prod(size):
            check_vjp(model, {"x": x, "size": np.array(size)}, runtime="onnxruntime")


def test_where_inference_is_silent_the_rank_is_believed():
    """GlobalAveragePool needs the rank of what it averages."""
    body = "{ a = Reshape(x, size) g = GlobalAveragePool(a) y = Flatten(g) }"
    model = declare(rows_of_four(body, ", int64[K] size"), "a", [1, 1, 2, 2])
    check_vjp(model, {"x": X, "size": np.array([3, 1, 2, 2])}, runtime="onnxruntime")


def test_maps_of_a_file_traced_with_one_row():
    """d (tanh x sin x) = sin x / cosh^2 x + tanh x cos x."""
    right = np.sin(X) / np.cosh(X) ** 2 + np.tanh(X) * np.cos(X)
    method = Saliency(declare(rows_of_four(PRODUCT), "a", [1, 4]), reducer=None)
    np.testing.assert_allclose(method.explain(X, np.ones((3, 4), np.float32)), np.abs(right), atol=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        "(float[N,4] x) => (y) { a = Tanh(x) y = Sin(a) }",
        "(float[N,4] x) => (float y) { a = Tanh(x) y = Sin(a) }",
        "(float[N,4] x) => (float y, float[N,4] x) { y = Sin(x) }",
        "(float[N,4] x) => (float y, float w) <float[4,2] w = {1,2,3,4,5,6,7,8}> { y = MatMul(x, w) }",
        "(float[N,4] x, float[4,2] w) => (float y) <float[4,2] w = {1,2,3,4,5,6,7,8}> { y = MatMul(x, w) }",
        "(float[N,4] x, float[a,b] w) => (float y, float w) <float[4,2] w = {1,2,3,4,5,6,7,8}> { y = MatMul(x, w) }",
        "(float[N,4] x, int64[2] s) => (float y) <int64[2] s = {-1, 2}> { a = Reshape(x, s) y = Softmax(a) }",
    ],
    ids=["no type", "no shape", "an input", "a weight", "a weight as input", "both", "a shape as input"],
)
def test_outputs_and_weights_as_files_give_them(text):
    model = parse(f"g {text}")
    if " (y) " in text:
        model.graph.output[0].ClearField("type")
    check_vjp(model, {"x": X}, wrt=["x"], outputs=["y"], runtime="onnxruntime")


@pytest.mark.parametrize("as_output", [False, True])
@pytest.mark.parametrize("as_input", [False, True])
def test_a_kernel_that_is_an_output_or_an_input(as_input, as_output):
    kernel = np.random.default_rng(1).normal(size=(2, 1, 2, 2)).astype(np.float32)
    for size in (1, 200):  # small weights stay in the graph while it is prepared, large ones do not
        big = np.tile(kernel, (size, 1, 1, 1))
        inputs = {"x": ["N", 1, 4, 4]} | ({"w": [None] * 4} if as_input else {})
        outputs = {"y": ["N", None, None, None]} | ({"w": [None] * 4} if as_output else {})
        model = build([node("Conv", ["x", "w"], ["y"])], inputs, outputs, {"w": big})
        x = np.random.default_rng(2).normal(size=(2, 1, 4, 4)).astype(np.float32)
        check_vjp(model, {"x": x}, wrt=["x"], outputs=["y"], runtime="onnxruntime")


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul"])
def test_a_column_and_a_row_of_integers_do_not_contradict_each_other(op):
    """onnx's inference, which follows integers, takes both for vectors: positions relative to others were refused."""
    model = parse(
        "g (float[N,3] x) => (float[N,5] y) <int64[3] a = {1,2,4}, int64[5] b = {1,3,5,7,9}, int64[1] last = {-1}, "
        f"int64[1] first = {{0}}> {{ column = Unsqueeze(a, last) row = Unsqueeze(b, first) grid = {op}(column, row) "
        "w = Cast<to = 1>(grid) y = MatMul(x, w) }"
    )
    grid = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply}[op]([[1], [2], [4]], [1, 3, 5, 7, 9])
    ct = np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32)
    found = run(vjp(model), x=np.ones((2, 3), np.float32), y_cotangent=ct)
    np.testing.assert_allclose(found["x_gradient"], ct @ grid.T, rtol=1e-5)
