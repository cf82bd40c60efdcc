"""Models of old opsets: what is prepared predicts what the model predicts, in ONNX Runtime."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, parser
from support.gradient_graphs import run
from support.rule_cases.tables import CASES as RULE_CASES

from onnxattr import vjp
from onnxattr.loading.load import load
from onnxattr.loading.passes.bridge import CROSSINGS
from onnxattr.loading.passes.opsets import OPSET, upgrade
from onnxattr.testing import check_vjp

TYPES = {"float32": "float", "int64": "int64", "int32": "int32", "bool": "bool"}
ROWS = [
    [part.strip() for part in line.split("|")]
    for line in Path(__file__).with_name("upgrade_cases.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]
CASES = [
    pytest.param(int(opset), *row[1:], id=f"{opset} {' '.join(row[1:5])}".strip())
    for row in ROWS
    for opset in row[0].split()
]
#: The oldest opset of each row.
OLDEST = [pytest.param(int(row[0].split()[0]), *row[1:], id=" ".join(row[:5]).strip()) for row in ROWS]


def array(text: str, rng: np.random.Generator) -> np.ndarray:
    kind, _, value = text.strip().partition(" ")
    if kind in ("normal", "positive", "rounded"):
        numbers = rng.normal(size=[int(size) for size in value.split("x")])
        numbers = {"normal": numbers, "positive": np.abs(numbers) + 0.2, "rounded": np.round(numbers)}[kind]
        return numbers.astype(np.float32)
    return np.array(json.loads(value.lower()), {"float": np.float32}.get(kind, kind))


def build(opset, nodes, outputs, symbols, initializers, inputs):
    """The model of a row, and its inputs; outputs are without types."""
    rng = np.random.default_rng(0)
    feeds = {
        name.strip(): array(value, rng) for name, value in (part.split("=") for part in inputs.split(";"))
    }
    declared = [
        helper.make_tensor_value_info(
            name,
            helper.np_dtype_to_tensor_dtype(given.dtype),
            [f"{name}{axis}" for axis in range(given.ndim)] if symbols and name == "x" else given.shape,
        )
        for name, given in feeds.items()
    ]
    version = 7 if opset < 15 else 8
    constants = f"<{initializers}>" if initializers else ""
    model = parser.parse_model(
        f'<ir_version: {version}, opset_import: ["" : {opset}]> g () => () {constants} {{ {nodes} }}'
    )
    model.graph.input.extend(declared)
    model.graph.output.extend(onnx.ValueInfoProto(name=name.strip()) for name in outputs.split(","))
    return model, feeds


def check(model, feeds):
    try:
        right = run(model, feeds)
    except Exception as error:
        pytest.skip(f"ONNX Runtime does not run the model itself: {str(error)[:100]}")
    got = run(ir.serde.serialize_model(load(model)), feeds)
    for name, expected in right.items():
        assert got[name].dtype == expected.dtype
        np.testing.assert_allclose(got[name], expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize(("opset", "nodes", "outputs", "symbols", "initializers", "inputs"), OLDEST)
def test_prediction(opset, nodes, outputs, symbols, initializers, inputs):
    check(*build(opset, nodes, outputs, symbols, initializers, inputs))


@pytest.mark.slow
@pytest.mark.parametrize(("opset", "nodes", "outputs", "symbols", "initializers", "inputs"), CASES)
@pytest.mark.parametrize("branch", ["", "in a branch", "read in a branch"])
def test_every_opset(opset, nodes, outputs, symbols, initializers, inputs, branch):
    model, feeds = build(opset, nodes, outputs, symbols, initializers, inputs)
    if branch:
        if "Loss" in nodes and branch == "in a branch":
            pytest.skip("onnx's inliner does not write functions out in branches")
        in_branches(model) if branch == "in a branch" else read_in_branches(model)
        feeds |= {"condition": np.array(True)}
    check(model, feeds)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize(("opset", "axis"), [(9, 1), (11, -2), (12, 0), (12, 2)])
def test_rows_read_in_a_branch(op, opset, axis):
    """Beside another reader, and as an output."""
    model, feeds = build(opset, f"y = {op}<axis = {axis}>(x) z = Exp(y)", "y, z", "", "", "x = normal 2x3x4")
    read_in_branches(model)
    read_in_branches(model, "outer")
    check(model, feeds | {"condition": np.array(True), "outer": np.array(True)})


@pytest.mark.parametrize(
    "imports",
    [
        [("", 11)],
        [("ai.onnx", 13)],
        [("", 13), ("ai.onnx", 11)],
        [("ai.onnx", 11), ("", 13)],
        [("", 11), ("", 13)],
    ],
    ids=str,
)
@pytest.mark.parametrize("domain", ["", "ai.onnx"])
def test_the_long_name_of_the_domain(domain, imports):
    """ONNX Runtime takes both names for one domain, and the last of several versions: softmaxes differ from 13 on."""
    model, feeds = build(11, "y = Softmax<axis = 1>(x)", "y", "", "", "x = normal 2x3x4")
    model.graph.node[0].domain = domain
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(*pair) for pair in imports)
    written = model.SerializeToString()
    check(model, feeds)
    assert model.SerializeToString() == written
    check_vjp(model, feeds)


def test_groups_of_opset_18_are_differentiated():
    """By PyTorch's formula, in float64; that of opset 21 too."""
    for opset, scale in ((18, "float[2] s = {0.5, 1.5}"), (21, "float[4] s = {0.5, 1.5, 1.0, 2.0}")):
        text = "y = GroupNormalization<num_groups = 2>(x, s, s) z = Mul(y, y)"
        check_vjp(*build(opset, text, "z", "", scale, "x = normal 2x4x3"))


@pytest.mark.parametrize("opset", [18, 20])
def test_groups_in_float64_run(opset):
    """ONNX Runtime has no InstanceNormalization of float64."""
    model = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : {opset}]> g (double[2,4,3] x) => (double[2,4,3] y)
        <double[2] s = {{0.5, 1.5}}, double[2] b = {{-1, 2}}>
        {{ y = GroupNormalization<num_groups = 2, epsilon = 0.01>(x, s, b) }}"""
    )
    x, ct = np.random.default_rng(0).normal(size=(2, 2, 4, 3))
    found = run(vjp(model), {"x": x, "y_cotangent": ct})
    np.testing.assert_allclose(found["y"], run(model, {"x": x})["y"], rtol=1e-12)
    up, down = (run(model, {"x": x + step * ct})["y"] for step in (1e-5, -1e-5))
    np.testing.assert_allclose((found["x_gradient"] * ct).sum(), ((up - down) * ct).sum() / 2e-5, rtol=1e-8)


@pytest.mark.parametrize("kind", ["float", "double"])
def test_groups_of_opset_18_in_functions(kind):
    """Inside functions that are called with other attributes, one from inside another; onnx's checker refuses them."""
    imports = '<domain: "own", opset_import: ["" : 18, "own" : 1]'
    model = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 18, "own" : 1]> g ({kind}[2,4,3] x) => ({kind}[2,4,3] y)
        {{ a = own.outer<groups = 2>(x) y = own.inner<groups = 4>(a) }}
        {imports}> inner <groups> (x) => (y) {{ n = Constant<value_int: int = @groups>()
            s = Constant<value = {kind}[1] {{1.5}}>() z = Constant<value = int64[1] {{0}}>() r = Unsqueeze(n, z)
            w = Expand(s, r) y = GroupNormalization<num_groups: int = @groups>(x, w, w) }}
        {imports}> outer <groups> (x) => (y) {{ t = Sin(x) y = own.inner<groups: int = @groups>(t) }}"""
    )
    dtype = np.float32 if kind == "float" else np.float64
    x, ct = np.random.default_rng(0).normal(size=(2, 2, 4, 3)).astype(dtype)
    found = run(vjp(model), {"x": x, "y_cotangent": ct})

    def right(x):
        for groups, f in ((2, np.sin), (4, np.asarray)):
            rows = f(x).reshape(2, groups, -1)
            rows = (rows - rows.mean(-1, keepdims=True)) / np.sqrt(rows.var(-1, keepdims=True) + 1e-5)
            x = (1.5 * rows + 1.5).reshape(x.shape)
        return x

    np.testing.assert_allclose(found["y"], right(x.astype(float)), rtol=1e-4, atol=1e-5)
    up, down = (right(x.astype(float) + step * ct) for step in (1e-5, -1e-5))
    np.testing.assert_allclose((found["x_gradient"] * ct).sum(), ((up - down) * ct).sum() / 2e-5, rtol=1e-3)


def test_statistics_of_older_layer_normalizations_have_gradients():
    text = "a, m, i = LayerNormalization(x, s) b = Mul(m, i) y = Add(a, b)"
    models = [
        build(opset, text, "y", "", "float[4] s = {0.5, 1.5, 1.0, 2.0}", "x = normal 2x4")
        for opset in (13, 17)
    ]
    found = [run(vjp(model), feeds | {"y_cotangent": feeds["x"]})["x_gradient"] for model, feeds in models]
    np.testing.assert_allclose(*found, rtol=1e-6)


def in_branches(model: onnx.ModelProto) -> None:
    """Moves the nodes into both branches of an If; the names inside them are the same."""
    graph = model.graph
    results = [value.name for value in graph.output]
    bodies = []
    for branch in ("then", "else"):
        copy = onnx.GraphProto(name=branch, node=graph.node)
        for node in copy.node:
            node.output[:] = [f"{name}_inside" for name in node.output]
            node.input[:] = [
                f"{n}_inside" if any(n in m.output for m in graph.node) else n for n in node.input
            ]
        copy.output.extend(onnx.ValueInfoProto(name=f"{name}_inside") for name in results)
        bodies.append(copy)
    del graph.node[:]
    graph.node.append(
        helper.make_node("If", ["condition"], results, then_branch=bodies[0], else_branch=bodies[1])
    )
    graph.input.append(helper.make_tensor_value_info("condition", onnx.TensorProto.BOOL, []))


def read_in_branches(model: onnx.ModelProto, condition: str = "condition") -> None:
    """Adds Ifs whose branches read the outputs."""
    graph = model.graph
    for name in [value.name for value in graph.output]:
        copies = [f"{name}_{condition}_{branch}" for branch in ("then", "else")]
        then, other = (
            helper.make_graph(
                [helper.make_node("Identity", [name], [copy])], copy, [], [onnx.ValueInfoProto(name=copy)]
            )
            for copy in copies
        )
        result = f"{name}_{condition}"
        graph.node.append(helper.make_node("If", [condition], [result], then_branch=then, else_branch=other))
        graph.output.append(onnx.ValueInfoProto(name=result))
    graph.input.append(helper.make_tensor_value_info(condition, onnx.TensorProto.BOOL, []))


@pytest.mark.parametrize(
    ("nodes", "opset"),
    [
        ("a = ThresholdedRelu<alpha = 0.3>(x) y = Mul(a, x)", 9),
        ("a = ThresholdedRelu(x) b = Conv(a, w) c = Flatten(b) y = Softmax(c)", 7),
        ("a = Affine<alpha = 2.0, beta = 0.5>(x) y = Sin(a)", 9),
        ("a = ParametricSoftplus<alpha = 2.0, beta = 0.5>(x) y = Sin(a)", 7),
        ("a = ScaledTanh<alpha = 2.0, beta = 0.5>(x) y = Sin(a)", 9),
        ("a = ImageScaler<scale = 2.0, bias = [1.0, 2.0, 3.0]>(x) y = Sin(a)", 9),
        ("a = Scale<scale = 2.0>(x) y = Sin(a)", 8),
        ("a = Crop<border = [1, 0, 2, 1]>(x) y = Sin(a)", 9),
        ("a = Crop<border = [1, 1, 0, 0], scale = [2, 3]>(x) y = Sin(a)", 8),
        (
            "b = Constant<value = int64[2] {1, -3}>() e = Constant<value = int64[2] {3, -1}>() "
            "a = Constant<value = int64[2] {1, 3}>() s = DynamicSlice(x, b, e, a) y = Sin(s)",
            9,
        ),
        ("a = MeanVarianceNormalization(x) y = Sin(a)", 8),
        ("a = MeanVarianceNormalization<across_channels = 1, normalize_variance = 0>(x) y = Sin(a)", 8),
        ("a = Sin(x) b = Hardmax(a) y = Mul(x, b)", 11),
        ("a = Upsample<scales = [1.0, 1.0, 2.0, 3.0]>(x) y = Sin(a)", 7),
        ("a = Resize(x, s) y = Sin(a)", 10),
        ('a = Pad<mode = "reflect", pads = [0, 0, 1, 1, 0, 0, 1, 2], value = 0.5>(x) y = Sin(a)', 9),
    ],
)
@pytest.mark.parametrize("symbols", ["", "symbols"])
def test_gradient(nodes, opset, symbols):
    weights = "float[1,3,1,1] w = {1, 2, 3}, float[4] s = {1, 1, 0.5, 1.7}" if opset in (7, 10) else ""
    model, feeds = build(opset, nodes, "y", symbols, weights, "x = normal 2x3x4x5")
    check(model, feeds)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", 1, None))
    check_vjp(model, feeds, outputs=["y"], runtime="onnxruntime", step=1e-3, tolerance=5e-3)


#: Operators that opsets 14 to 18 gave more types and nothing else, with the newest opset before that.
CLIP, PAD = "Clip<min = -0.5, max = 0.25>", "Pad<pads = [0, 1, 0, 0], value = 0.5>"


@pytest.mark.parametrize("branch", ["", "branch"])
@pytest.mark.parametrize(
    ("kind", "nodes", "slope"),
    [
        ("float16", f"a = {CLIP}(x) y = Neg(a)", lambda x: -1.0 * ((x > -0.5) & (x < 0.25))),
        (
            "float16",
            f"a = {CLIP}(x) b = Neg(a) k = Clip<max = 0.125>(b) y = Neg(k)",
            lambda x: 1.0 * ((x > -0.125) & (x < 0.25)),
        ),
        ("float16", f"a = {PAD}(x) y = Neg(a)", lambda x: -np.ones_like(x)),
        ("double", f"a = {PAD}(x) y = Neg(a)", lambda x: -np.ones_like(x)),
    ],
)
@pytest.mark.parametrize("opset", [8, 10])
def test_numbers_have_the_type_of_what_they_bound_and_fill(kind, nodes, slope, branch, opset):
    """They were attributes, float32 beside operands of any type; onnx's converter leaves them float32."""
    if branch:
        body = f"t () => ({kind}[2,?] z) {{ {nodes.replace('y =', 'z =')} }}"
        nodes = f"y = If(c) <then_branch = {body}, else_branch = {body.replace('t ()', 'e ()')}>"
    text = f"g ({kind}[2,3] x, bool c) => ({kind}[2,?] y) {{ {nodes} d = Not(c) }}"
    model = parser.parse_model(f'<ir_version: 7, opset_import: ["" : {opset}]> {text}')
    x = np.array([[-1, -0.25, 0.125], [0.5, 0, 0.1]]).astype(np.float16 if kind == "float16" else float)
    feeds = {"x": x, "c": np.array(True)}
    right = run(model, feeds)["y"]
    got = run(vjp(model, wrt="x"), feeds | {"y_cotangent": np.ones_like(right)})
    np.testing.assert_array_equal(got["y"], right)
    np.testing.assert_array_equal(got["x_gradient"], slope(x))


OF_MORE_TYPES = {
    "Add": 13, "BatchNormalization": 14, "CumSum": 13, "Div": 13, "Identity": 15, "LeakyRelu": 15, "Mul": 13,
    "PRelu": 15, "Pow": 14, "Relu": 13, "ScatterElements": 17, "ScatterND": 17, "Sub": 13, "Where": 15,
}  # fmt: skip


@pytest.mark.parametrize("op", OF_MORE_TYPES)
def test_operators_of_more_types_are_left_by_the_converter(op):
    """Models of such operators alone are not given to it."""
    model = next(row for row in RULE_CASES if row.op == op and row.opset == 18).model()
    model.opset_import[0].version = OF_MORE_TYPES[op]
    given = ir.serde.deserialize_model(model)
    assert upgrade(given)
    assert CROSSINGS not in given.meta
    converted = ir.serde.deserialize_model(onnx.version_converter.convert_version(model, OPSET))
    assert given.opset_imports == converted.opset_imports
    found, expected = (ir.serde.serialize_model(m).graph.node for m in (given, converted))
    assert len(found) == 1
    assert [*found] == [*expected]


@pytest.mark.parametrize(
    ("opset", "nodes"),
    [
        (17, "y = ReduceMax<axes = [1]>(x)"),
        (13, "y = Reshape(x, s)"),
        (12, "y = Softmax(x)"),
        (12, "y = Relu(x)"),
    ],
)
def test_others_are_given_to_the_converter(opset, nodes):
    model, _ = build(opset, nodes, "y", "", "int64[2] s = {2, -1}", "x = normal 2x3")
    given = ir.serde.deserialize_model(model)
    assert upgrade(given)
    assert given.meta[CROSSINGS]["version converter"] == 1
