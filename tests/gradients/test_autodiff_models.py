"""What the reverse sweep leaves of a model, and the same network in every opset."""

import numpy as np
import onnx
import pytest
from support.reference_ops import NEW_OPS
from support.small_models import build
from support.tiny_graphs import CT, X, parse, run

from onnxattr.compile.gradient import vjp
from onnxattr.testing import check_vjp

FORWARD = """
g (float[N,3,8,8] x) => (float[N,2] y, float[N,2] z)
<float[4,3,3,3] w, float[4] b, float[4,2] v, float[2] c, int64[2] axes = {2, 3}>
{
  h = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]>(x, w, b)
  r = Relu(h)
  p = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(r)
  m = ReduceMean<keepdims = 0>(p, axes)
  y = Gemm<alpha = 0.5>(m, v, c)
  q = ReduceMax<keepdims = 0>(r, axes)
  z = Gemm(q, v, c)
}
"""


def forward_model() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    model = parse(FORWARD)
    shapes = {"w": (4, 3, 3, 3), "b": (4,), "v": (4, 2), "c": (2,)}
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in shapes]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    for name, shape in shapes.items():
        model.graph.initializer.append(
            onnx.numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)
        )
    for index, node in enumerate(model.graph.node):
        node.name = f"forward_{index}"
    return model


def test_forward_nodes_are_left_as_they_were():
    model = forward_model()
    result = vjp(model)
    after = {node.name: node for node in result.graph.node}
    for node in model.graph.node:
        kept = after[node.name]
        assert (kept.op_type, list(kept.input), list(kept.output)) == (
            node.op_type, list(node.input), list(node.output),
        )  # fmt: skip
        assert {a.name: a for a in kept.attribute} == {a.name: a for a in node.attribute}
    weights = {tensor.name: tensor for tensor in result.graph.initializer}
    for tensor in model.graph.initializer:
        assert weights[tensor.name].dims == tensor.dims
        np.testing.assert_array_equal(
            onnx.numpy_helper.to_array(weights[tensor.name]), onnx.numpy_helper.to_array(tensor)
        )


def test_identical_nodes_are_merged_and_outputs_kept():
    model = parse(
        "g (float[2,3] x) => (float[2,3] y, float[2,3] z) { a = Exp(x) b = Exp(x) c = Neg(x) y = Relu(a) z = Relu(b) }"
    )
    gradient = vjp(model)
    assert [node.op_type for node in gradient.graph.node].count("Exp") == 1
    assert "Neg" not in {node.op_type for node in gradient.graph.node}
    found = run(gradient, x=X, y_cotangent=CT, z_cotangent=2 * CT)
    np.testing.assert_allclose(found["z"], np.exp(X), rtol=1e-6)
    np.testing.assert_allclose(found["x_gradient"], 3 * CT * np.exp(X), rtol=1e-6)


@pytest.mark.parametrize("results", ["u, _, back", "u, first, back, count"])
def test_elements_brought_back_from_unique_ones(results):
    # A second Unique of the same operand, with other outputs, is what ONNX Runtime fails to merge.
    model = parse(
        f"g (float[4] x) => (float[M] y) {{ {results} = Unique(x) y = Gather(u, back) }}".replace("_", '""')
    )
    x, ct = np.array([3, 1, 2, 5], np.float32), np.array([1, 2, 3, 4], np.float32)
    found = run(vjp(model), x=x, y_cotangent=ct)
    np.testing.assert_array_equal(found["y"], x)
    np.testing.assert_array_equal(found["x_gradient"], ct)


def test_the_given_model_is_not_changed():
    model = forward_model()
    before = model.SerializeToString()
    vjp(model)
    assert model.SerializeToString() == before


def test_no_weight_is_written_twice():
    model = forward_model()
    large = [t.name for t in vjp(model).graph.initializer if np.prod(t.dims) >= 100]
    assert large == ["w"]


def test_gradient_of_the_whole_model():
    x = np.random.default_rng(1).normal(size=(1, 3, 8, 8)).astype(np.float32)
    check_vjp(forward_model(), {"x": x})


SCALED = {
    "constant": ("Mul(h, k)", (4, 1, 1)),
    "constant first": ("Mul(k, h)", (1, 4, 1, 1)),
    "one for all": ("Mul(h, k)", (1,)),
    "by sample and channel": ("Mul(h, k)", (2, 4, 1, 1)),
    "by position": ("Mul(h, k)", (1, 1, 5, 5)),
    "by row": ("Mul(h, k)", (5, 1)),
    "square image": ("Mul(h, k)", (4, 5, 5)),
    "itself": ("Mul(h, h)", (1,)),
}


@pytest.mark.parametrize("known", ["2,3,5,5", "N,3,5,5", "?,3,?,?"])
@pytest.mark.parametrize("form", SCALED)
@pytest.mark.parametrize("groups", [1, 3])
def test_convolutions_before_a_scale(form, known, groups):
    """Factors behind a convolution may be moved into its kernel, but only those of a channel."""
    rng = np.random.default_rng(0)
    product, shape = SCALED[form]
    channels = 4 if groups == 1 else 3
    shape = tuple(channels if size == 4 else size for size in shape)
    model = parse(
        f"g (float[{known}] x) => (float[?,?,?,?] y) "
        f"{{ h = Conv<group = {groups}, pads = [1, 1, 1, 1]>(x, w) s = {product} y = Tanh(s) }}"
    )
    for name, dims in (("w", (channels, 3 // groups, 3, 3)), ("k", shape)):
        array = rng.uniform(0.5, 1.5, dims).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    check_vjp(model, {"x": rng.normal(size=(2, 3, 5, 5)).astype(np.float32)}, new_ops=NEW_OPS)


def test_names_never_collide():
    """The model uses the very names that the sweep would choose."""
    model = parse(
        "g (float[2,3] x, float[2,3] y_cotangent) => (float[2,3] y, float[2,3] x_gradient) "
        '<float const = {2}, float[3] "vjp/const" = {1, 2, 3}> '
        '{ "vjp/Mul" = Mul(x, x) "vjp/Mul_1" = Mul("vjp/Mul", const) "vjp/Add" = Add("vjp/Mul_1", "vjp/const") '
        'y = Mul("vjp/Add", y_cotangent) x_gradient = Neg(x) }'
    )
    for node in model.graph.node:
        node.name = node.output[0]
    gradient = vjp(model, "x", "y")
    onnx.checker.check_model(gradient, full_check=True)
    seen = [name for node in gradient.graph.node for name in node.output]
    seen += [value.name for value in gradient.graph.input] + [t.name for t in gradient.graph.initializer]
    assert len(seen) == len(set(seen))
    names = [node.name for node in gradient.graph.node]
    assert len(names) == len(set(names))
    cotangent = next(v.name for v in gradient.graph.input if v.name.startswith("y_cotangent_"))
    name = next(v.name for v in gradient.graph.output if v.name.startswith("x_gradient_"))
    found = run(gradient, x=X, y_cotangent=X, **{cotangent: CT})[name]
    np.testing.assert_allclose(found, CT * X * 4 * X, rtol=1e-6)


# Opsets

OPSETS = (7, 9, 11, 13, 17, 18, 20, 21, 23, 25, 26)


def cnn(opset: int) -> onnx.ModelProto:
    """The same network in the spelling of each opset."""
    rng = np.random.default_rng(0)
    weights = {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in {
            "w": (4, 2, 3, 3), "b": (4,), "scale": (4,), "bias": (4,), "mean": (4,), "v": (8, 3), "c": (3,),
        }.items()
    }  # fmt: skip
    weights["variance"] = rng.uniform(0.5, 2, 4).astype(np.float32)
    nodes = []

    def add(op_type: str, inputs: list[str], output: str, **attributes) -> None:
        nodes.append(onnx.helper.make_node(op_type, inputs, [output], name=output, **attributes))

    def constant(name: str, values, dtype=np.int64) -> str:
        weights[name] = np.array(values, dtype)
        return name

    pads = [0, 0, 1, 1, 0, 0, 1, 1]
    if opset < 11:
        add("Pad", ["x"], "padded", pads=pads)
    else:
        add("Pad", ["x", constant("pads", pads)], "padded")
    add("Conv", ["padded", "w", "b"], "conv", strides=[2, 2])
    add("BatchNormalization", ["conv", "scale", "bias", "mean", "variance"], "norm")
    add("LeakyRelu", ["norm"], "leaky", alpha=0.1)
    if opset < 11:
        add("Clip", ["leaky"], "clipped", min=-0.5, max=2.0)
    else:
        bounds = [constant("low", -0.5, np.float32), constant("high", 2.0, np.float32)]
        add("Clip", ["leaky", *bounds], "clipped")
    add("MaxPool", ["clipped"], "pooled", kernel_shape=[2, 2], strides=[2, 2])
    if opset < 10:
        add("Slice", ["pooled"], "sliced", starts=[0], ends=[2], axes=[3])
    else:
        add("Slice", ["pooled", *(constant(k, [v]) for k, v in (("s", 0), ("e", 2), ("a", 3)))], "sliced")
    if opset < 18:
        add("ReduceMean", ["sliced"], "mean_rows", axes=[2], keepdims=0)
    else:
        add("ReduceMean", ["sliced", constant("rows", [2])], "mean_rows", keepdims=0)
    add("Flatten", ["mean_rows"], "flat")
    add("Dropout", ["flat"], "dropped")
    add("Gemm", ["dropped", "v", "c"], "logits")
    if opset < 13:
        add("Unsqueeze", ["logits"], "lifted", axes=[0])
        add("Squeeze", ["lifted"], "lowered", axes=[0])
    else:
        add("Unsqueeze", ["logits", constant("front", [0])], "lifted")
        add("Squeeze", ["lifted", "front"], "lowered")
    add("Softmax", ["lowered"], "y", axis=1)
    ir_version = 8 if opset < 21 else 10
    return build(nodes, {"x": ["N", 2, 9, 9]}, {"y": ["N", 3]}, weights, opset, ir_version=ir_version)


@pytest.fixture(scope="module")
def cnn_expected():
    rng = np.random.default_rng(2)
    feeds = {"x": rng.normal(size=(2, 2, 9, 9)), "y_cotangent": rng.normal(size=(2, 3))}
    feeds = {name: array.astype(np.float32) for name, array in feeds.items()}
    check_vjp(cnn(18), {"x": feeds["x"]}, runtime="onnxruntime", step=1e-3)
    return feeds, run(vjp(cnn(18)), **feeds)


@pytest.mark.parametrize("opset", OPSETS)
def test_every_opset_gives_the_same_gradient(opset, cnn_expected):
    feeds, expected = cnn_expected
    gradient = vjp(cnn(opset))
    assert gradient.opset_import[0].version == max(opset, 18)
    onnx.checker.check_model(gradient, full_check=True)
    found = run(gradient, **feeds)
    np.testing.assert_allclose(found["y"], expected["y"], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(
        found["x_gradient"], expected["x_gradient"], rtol=0, atol=1e-6 * np.abs(expected["x_gradient"]).max()
    )


# Functions of the model's own

FUNCTIONS = """
<ir_version: 8, opset_import: ["": 18, "own": 1]>
g (float[2,3] x) => (float[2,3] y) { y = own.outer(x) }
<domain: "own", opset_import: ["": OPSET, "own": 1]>
outer (a) => (c) { b = own.inner <slope: float = 0.5> (a) t = Tanh(a) c = Sub(b, t) }
<domain: "own", opset_import: ["": OPSET]>
inner <slope> (a) => (b) { b = Elu <alpha: float = @slope> (a) }
"""


@pytest.mark.parametrize("opset", [18, 17, 15])
def test_functions_of_functions_of_any_opset(opset):
    model = onnx.parser.parse_model(FUNCTIONS.replace("OPSET", str(opset)))
    found = run(vjp(model), x=X, y_cotangent=CT)["x_gradient"]
    expected = CT * (np.where(X > 0, 1, 0.5 * np.exp(X)) - (1 - np.tanh(X) ** 2))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("call", ["Relu", "com.microsoft.QuickGelu", "own.outer"])
def test_functions_named_as_operators_are_those_in_onnx_runtime(call):
    # ONNX leaves to runtimes whether the body counts or the operator.
    functions = [
        ("", "Relu", "Sin(a)"),
        ("com.microsoft", "QuickGelu", "Cos(a)"),
        ("own", "outer", "Relu(a)"),
    ]
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18, "own": 1, "com.microsoft": 1]>\n'
        f"g (float[2,3] x) => (float[2,3] y) {{ y = {call}(x) }}"
        + "".join(
            f'\n<domain: "{domain}", opset_import: ["": 18]> {name} (a) => (b) {{ b = {body} }}'
            for domain, name, body in functions
        )
    )
    check_vjp(model, {"x": X}, runtime="onnxruntime")
