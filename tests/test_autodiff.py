"""The reverse sweep itself, on models small enough to differentiate by hand."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from reference_ops import NEW_OPS

from onnxattr.autodiff import pullback
from onnxattr.builder import OpBuilder
from onnxattr.errors import ModelError, RuleError, UnsupportedOpError
from onnxattr.gradient import vjp
from onnxattr.loading import load
from onnxattr.rules.registry import NOT_IMPLEMENTED, Span
from onnxattr.rules.standard import STANDARD
from onnxattr.testing import check_vjp

X = np.array([[-1.0, 2.0, 0.5], [3.0, -0.25, 1.5]], np.float32)
CT = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]], np.float32)


def parse(text: str, opset: int = 18) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> {text}')


def run(model: onnx.ModelProto, **feeds: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


# What comes out


@pytest.mark.parametrize("dims", ["2,3", "N,3", "N,M", "?,?"])
def test_cotangents_add_up_where_a_value_is_used_often(dims):
    model = parse(
        f"g (float[{dims}] x) => (float[{dims}] y) {{ s = Mul(x, x) t = Add(s, x) u = Mul(x, s) y = Sum(t, u, x) }}"
    )
    found = run(vjp(model), x=X, y_cotangent=CT)
    np.testing.assert_allclose(found["x_gradient"], CT * (2 * X + 2 + 3 * X**2), rtol=1e-6)
    np.testing.assert_allclose(found["y"], X**2 + X + X**3 + X, rtol=1e-6)


def test_several_outputs_and_several_inputs():
    model = parse(
        "g (float[2,3] a, float[3] b) => (float[2,3] p, float[2,3] q) { p = Mul(a, b) q = Sub(a, b) }"
    )
    b = np.array([2.0, -1.0, 0.5], np.float32)
    other = CT[::-1].copy()
    found = run(vjp(model), a=X, b=b, p_cotangent=CT, q_cotangent=other)
    np.testing.assert_allclose(found["a_gradient"], CT * b + other, rtol=1e-6)
    np.testing.assert_allclose(found["b_gradient"], (CT * X - other).sum(axis=0), rtol=1e-6)
    only_q = run(vjp(model, "b", "q"), a=X, b=b, q_cotangent=other)
    assert "a_gradient" not in only_q
    np.testing.assert_allclose(only_q["b_gradient"], -other.sum(axis=0), rtol=1e-6)


def test_with_respect_to_an_inner_value_and_the_input():
    model = parse("g (float[2,3] x) => (float[2,3] y) { h = Mul(x, x) y = Mul(h, h) }")
    found = run(vjp(model, ["h", "x"]), x=X, y_cotangent=CT)
    np.testing.assert_allclose(found["h_gradient"], 2 * CT * X**2, rtol=1e-6)
    np.testing.assert_allclose(found["x_gradient"], 4 * CT * X**3, rtol=1e-6)


def test_with_respect_to_weights_and_to_the_output():
    model = parse("g (float[2,3] x) => (float[2,3] y) <float[3] w = {2, 3, 4}> { y = Mul(x, w) }")
    found = run(vjp(model, ["w", "y"]), x=X, y_cotangent=CT)
    np.testing.assert_allclose(found["w_gradient"], (CT * X).sum(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(found["y_gradient"], CT)


def test_cotangent_of_an_inner_value():
    model = parse("g (float[2,3] x) => (float[2,3] y) { h = Mul(x, x) y = Exp(h) }")
    found = run(vjp(model, "x", "h"), x=X, h_cotangent=CT)
    np.testing.assert_allclose(found["x_gradient"], 2 * CT * X, rtol=1e-6)
    np.testing.assert_allclose(found["h"], X**2, rtol=1e-6)


@pytest.mark.parametrize("dims", ["2,3", "N,3", "?,?"])
@pytest.mark.parametrize(
    "body", ["y = Relu(z)", "i = Greater(x, z) c = Cast<to=1>(i) y = Mul(c, z)", "s = Sign(x) y = Mul(s, z)"]
)
def test_zeros_where_no_path_leads(dims, body):
    """No path at all, or one through operators that carry no gradient; infinities must not leak into the zeros."""
    model = parse(f"g (float[{dims}] x, float[{dims}] z) => (float[{dims}] y) {{ {body} }}")
    x = np.where(X > 0, X, -np.inf).astype(np.float32)
    found = run(vjp(model, "x"), x=x, z=X, y_cotangent=CT)["x_gradient"]
    np.testing.assert_array_equal(found, np.zeros_like(X))


def test_integer_paths_carry_no_gradient():
    model = parse("g (float[2,3] x) => (float[2,3] y) { i = Cast<to=7>(x) f = Cast<to=1>(i) y = Mul(f, x) }")
    found = run(vjp(model), x=X, y_cotangent=CT)
    np.testing.assert_array_equal(found["x_gradient"], CT * np.trunc(X))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_other_float_dtypes(dtype):
    def gradient(dtype):
        name = {np.float16: "float16", np.float32: "float", np.float64: "double"}[dtype]
        model = parse(
            f"g ({name}[N,3] x, {name}[3,2] w) => ({name}[N,2] y) {{ h = MatMul(x, w) r = Relu(h) "
            "s = LeakyRelu(r) t = HardSigmoid(s) y = Softmax(t) }"
        )
        w = np.array([[1, -2], [0.5, 1], [2, -1]], dtype)
        return run(vjp(model, "x"), x=X.astype(dtype), w=w, y_cotangent=CT[:, :2].astype(dtype))["x_gradient"]

    found = gradient(dtype)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, gradient(np.float64), atol=2e-3 if dtype == np.float16 else 1e-6)


# Broadcasting

PAIRS = [
    ((2, 3), (3,)),
    ((2, 3), (1, 3)),
    ((2, 3), (2, 1)),
    ((2, 3), ()),
    ((1, 3), (2, 1)),
    ((4, 1, 3), (2, 1)),
]


@pytest.mark.parametrize("known", ["static", "symbols", "one symbol", "unknown"])
@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_broadcasting_is_undone(a, b, known):
    """Whatever is known of the shapes; the one symbol N stands for sizes 1 and 3 of different inputs nowhere."""
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in (a, b)]

    def dims(name: str, shape: tuple[int, ...]) -> list:
        if known == "static":
            return list(shape)
        if known == "unknown":
            return [None] * len(shape)
        if known == "one symbol":
            return [f"S{size}" if size != 1 else 1 for size in shape]
        return [f"{name}{axis}" for axis in range(len(shape))]

    full = np.broadcast_shapes(a, b)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Mul", ["a", "b"], ["y"])],
        "g",
        [
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, dims(name, shape))
            for name, shape in (("a", a), ("b", b))
        ],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None] * len(full))],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    ct = rng.normal(size=full).astype(np.float32)
    found = run(vjp(model), a=arrays[0], b=arrays[1], y_cotangent=ct)
    for name, shape, other in (("a", a, arrays[1]), ("b", b, arrays[0])):
        whole = ct * other
        extra = tuple(range(whole.ndim - len(shape)))
        expected = whole.sum(axis=extra)
        ones = tuple(axis for axis, size in enumerate(shape) if size == 1)
        expected = expected.sum(axis=ones, keepdims=True) if ones else expected
        np.testing.assert_allclose(found[f"{name}_gradient"], expected, rtol=1e-5)


def test_same_shapes_cost_no_summing():
    model = parse("g (float[N,3] a, float[N,3] b) => (float[N,3] y) { y = Add(a, b) }")
    assert [node.op_type for node in vjp(model).graph.node] == ["Add", "Identity", "Identity"]


def test_unknown_sizes_of_one_operand_cost_no_summing():
    model = parse("g (float[?,?] x) => (float[?,?] y) { h = Exp(x) y = Sigmoid(h) }")
    operators = [node.op_type for node in vjp(model).graph.node]
    assert "ReduceSum" not in operators
    assert "Shape" not in operators


# The model itself


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


# Errors


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


def test_values_captured_by_control_flow_are_active():
    model = parse(
        "g (float[2,3] x, bool c) => (float[2,3] y) { h = Relu(x) [branch] y = If(c) <"
        "then_branch = t () => (float[2,3] p) { p = Neg(h) }, else_branch = e () => (float[2,3] q) { q = Exp(h) }> }"
    )
    with pytest.raises(UnsupportedOpError, match="If: branch"):
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
        ({"wrt": "nothing"}, "'nothing' is not a value"),
        ({"outputs": "nothing"}, "'nothing' is not a value"),
        ({"wrt": "i"}, "only float values"),
    ],
)
def test_names_that_cannot_be_differentiated(names, message):
    model = parse("g (float[2,3] x) => (float[2,3] y) { i = Cast<to=7>(x) y = Relu(x) }")
    with pytest.raises(ModelError, match=message):
        vjp(model, **names)


def test_overrides_leave_the_standard_table_alone():
    before = dict(STANDARD)
    table = STANDARD | {"Relu": lambda op, node, ct: (op.Mul(ct, 7.0),)}
    model = parse("g (float[2,3] x) => (float[2,3] y) { y = Relu(x) }")
    np.testing.assert_array_equal(run(vjp(model, rules=table), x=X, y_cotangent=CT)["x_gradient"], 7 * CT)
    assert dict(STANDARD) == before
    assert len(table) == len(STANDARD)


# Spans


def test_a_span_is_differentiated_as_one_node():
    model = load(
        parse(
            "g (float[2,3] x) => (float[2,3] y) <float five = {5}, float zero = {0}> "
            "{ s = Mul(x, x) r = Relu(s) m = Min(r, five) t = Max(m, zero) y = Mul(t, x) }"
        )
    )
    graph = model.graph
    values = {value.name: value for node in graph for value in node.outputs}
    op = OpBuilder(graph, 18)
    ct = op.input("ct", ir.DataType.FLOAT, [2, 3])
    span = Span("Capped", (values["s"],), (values["t"],), "group")
    seen = []

    def rule(op, node, ct):
        seen.append((node.name, node.inputs, node.outputs))
        return (op.Mul(ct, 10.0),)

    table = STANDARD | {"Capped": rule}
    (gradient,) = pullback(op, {values["y"]: ct}, [graph.inputs[0]], table, {values["t"].producer(): span})
    assert seen == [("group", (values["s"],), (values["t"],))]
    gradient.name = "gradient"
    graph.outputs.append(gradient)
    found = run(ir.serde.serialize_model(model), x=X, ct=CT)["gradient"]
    capped = np.minimum(X**2, 5)
    np.testing.assert_allclose(found, CT * capped + CT * X * 10 * 2 * X, rtol=1e-6)


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
    graph = onnx.helper.make_graph(
        nodes,
        "cnn",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 2, 9, 9])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 3])],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    ir_version = 8 if opset < 21 else 10
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=ir_version
    )


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
