"""Rewrites make gradients cheaper: the numbers stay, the work is left out, and each can be switched off."""

import importlib
import itertools
from collections import Counter

import numpy as np
import onnx
import pytest
from support.gradient_graphs import assert_close, cotangents_of, gradients_of, nodes_of, run
from support.rewrite_models import CONV, EACH, EACH_ROWS, IMAGE, LSTM, POOL
from support.rule_cases import VARIANTS
from support.rule_cases.tables import FAMILIES
from support.tiny_graphs import parse

from onnxattr.attributions import GuidedGradCAM, IntegratedGradients, Saliency, VarGrad
from onnxattr.autodiff.rewrites import REWRITES
from onnxattr.compile.gradient import vjp
from onnxattr.errors import ParameterError
from onnxattr.testing import check_vjp

#: The families of rules whose gradients rewrites change; the others are slow tests, as the zoo is.
FAST = ("conv", "pool", "activation")
ROWS = [
    pytest.param(row, id=str(row), marks=() if family in FAST else pytest.mark.slow)
    for family in FAMILIES
    for row in importlib.import_module(f"support.rule_cases.{family}").CASES
]

# What the gradient with all rewrites holds: how many nodes of an operator.
LEFT_OUT = {
    "a border before a convolution": (
        "g (float[N,3,8,8] x, float[8,3,3,3] w) => (float[N,8,6,6] y) <int64[8] p = {0,0,0,1,0,0,0,-1}>"
        ' { q = Tanh(x) r = Pad(q, p) y = Conv<auto_pad="VALID">(r, w) }',
        ("Pad", 2),
    ),
    "a border before a convolution, left out": (
        "g (float[N,3,8,8] x, float[8,3,3,3] w) => (float[N,8,7,8] y) <int64[8] p = {0,0,0,1,0,0,1,1}>"
        " { r = Pad(x, p) y = Conv(r, w) }",
        ("Pad", 1),
    ),
    "a border before a strided convolution": (
        "g (float[N,3,8,8] x, float[8,3,3,3] w) => (float[N,8,4,4] y) <int64[8] p = {0,0,0,0,0,0,1,1}>"
        " { r = Pad(x, p) y = Conv<strides=[2,2]>(r, w) }",
        ("Pad", 1),
    ),
    "a border before a strided depthwise convolution": (
        "g (float[N,3,8,8] x, float[3,1,3,3] w) => (float[N,3,4,4] y) <int64[8] p = {0,0,0,0,0,0,1,1}>"
        " { r = Pad(x, p) y = Conv<strides=[2,2], group=3>(r, w) }",
        ("Pad", 1),
    ),
    "a border wider than the pads": (
        "g (float[N,9,6,6] x, float[9,9,2,2] w) => (float[N,9,9,11] y) <int64[8] p = {0,0,1,2,0,0,3,4}>"
        " { r = Pad(x, p) y = Conv(r, w) }",
        ("Pad", 2),
    ),
    "a border wider than the pads of a depthwise convolution": (
        "g (float[N,3,6,6] x, float[3,1,3,3] w) => (float[N,3,8,7] y) <int64[8] p = {0,0,0,3,0,0,4,0}>"
        " { r = Pad(x, p) y = Conv<group=3>(r, w) }",
        ("Pad", 2),
    ),
    "a border used twice": (
        "g (float[N,3,8,8] x, float[8,3,3,3] w) => (float[N,8,7,7] y, float[N,3,9,9] z)"
        " <int64[8] p = {0,0,0,0,0,0,1,1}> { r = Pad(x, p) y = Conv(r, w) z = Tanh(r) }",
        ("Pad", 2),
    ),
    "a ReLU before a max-pool": (f"{IMAGE} {{ r = Relu(x) {POOL}", ("HardSigmoid", 1)),
    "a ReLU with a ceiling before a max-pool": (
        f"{IMAGE} <float a = {{0.0}}, float b = {{6.0}}> {{ r = Clip(x, a, b) {POOL}",
        ("HardSigmoid", 2),
    ),
    "a ReLU before a max-pool and more": (
        f"{IMAGE.replace('y)', 'y, float[N,2,6,6] z)')} {{ r = Relu(x) z = Tanh(r) {POOL}",
        ("HardSigmoid", 1),
    ),
}


def shape_of(model: onnx.ModelProto) -> Counter:
    """The nodes of a model by operator and by what their inputs are computed with."""
    made = {name: node.op_type for node in nodes_of(model.graph) for name in node.output}
    return Counter((n.op_type, *(made.get(name, "") for name in n.input)) for n in nodes_of(model.graph))


def feeds_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Distinct values far from 0, so that no difference crosses a kink."""
    rng, feeds = np.random.default_rng(0), {}
    for value in model.graph.input:
        shape = [dim.dim_value or {"N": 2}.get(dim.dim_param, 5) for dim in value.type.tensor_type.shape.dim]
        array = (rng.permutation(np.prod(shape)) - np.prod(shape) / 2 + 0.3).reshape(shape) / 30
        feeds[value.name] = array.astype(
            onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        )
    return feeds


def assert_same_gradients(plain: onnx.ModelProto, cheap: onnx.ModelProto, feeds: dict, what: str) -> None:
    expected, found = (gradients_of(run(model, feeds)) for model in (plain, cheap))
    for name, array in expected.items():
        assert_close(found[name], array, f"{name}, {what}")


@pytest.mark.parametrize("row", ROWS)
def test_rules_give_the_same_with_and_without(row):
    for variant in (VARIANTS[0], VARIANTS[-1 if row.dynamic else 1]):
        plain = vjp(row.model(variant), row.wrt(), rewrites=(), verify=False)
        cheap = row.gradient(variant)
        if shape_of(plain) != shape_of(cheap):
            feeds = row.feeds() | cotangents_of(plain, row.primal())
            assert_same_gradients(plain, cheap, feeds, variant)


@pytest.mark.parametrize(("name", "text", "fits"), EACH_ROWS)
def test_each_alone(name, text, fits):
    model = parse(text)
    plain, cheap = (vjp(model, "x", rewrites=names) for names in ([], [name]))
    onnx.checker.check_model(cheap, full_check=True)
    assert (shape_of(plain) != shape_of(cheap)) == fits
    feeds = feeds_of(model)
    feeds |= cotangents_of(plain, run(model, feeds))
    for value in plain.graph.input:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        feeds[value.name] = feeds[value.name].astype(dtype)
    assert_same_gradients(plain, cheap, feeds, name)


@pytest.mark.parametrize("strides", [(2, 2), (3, 2), (2, 1)])
@pytest.mark.parametrize("dilations", [(1, 1), (2, 1)])
def test_no_transposed_convolution_has_uneven_pads(strides, dilations):
    """ONNX Runtime has no kernel for them on CUDA."""
    for pads in itertools.product(range(3), repeat=4):
        given = (
            f"strides=[{strides[0]},{strides[1]}], dilations=[{dilations[0]},{dilations[1]}], pads={[*pads]}"
        )
        model = parse(f"{CONV} {{ y = Conv<{given}>(x, w) }}")
        plain, cheap = (vjp(model, "x", rewrites=names, verify=False) for names in ([], None))
        for node in cheap.graph.node:
            found = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}.get("pads", [])
            assert node.op_type != "ConvTranspose" or found[:2] == found[2:]
        feeds = feeds_of(model)
        feeds |= cotangents_of(plain, run(model, feeds))
        assert_same_gradients(plain, cheap, feeds, str(pads))


def test_each_has_models_that_it_fits_and_does_not_fit():
    assert set(EACH) == set(REWRITES)
    assert all({fits for _, fits in rows} == {True, False} for rows in EACH.values())


@pytest.mark.parametrize("name", REWRITES)
def test_each_says_why_and_what_it_gains(name):
    found = REWRITES[name]
    assert found.why.endswith(".")
    assert found.gains
    assert "->" in found.replacement.__doc__


@pytest.mark.parametrize("name", LEFT_OUT)
def test_work_is_left_out(name):
    text, (operator, count) = LEFT_OUT[name]
    model = parse(text)
    assert check_vjp(model, feeds_of(model), wrt=["x"]) < 1e-6
    gradient = vjp(model, "x").graph
    assert sum(node.op_type == operator for node in gradient.node) == count


def test_the_mask_of_a_relu_before_a_max_pool_is_as_small_as_the_pool():
    masks = [
        node.input[0]
        for name in ("a ReLU before a max-pool", "a ReLU before a max-pool and more")
        for node in vjp(parse(LEFT_OUT[name][0])).graph.node
        if node.op_type == "HardSigmoid"
    ]
    assert masks == ["y", "r"]


@pytest.mark.parametrize("method", [Saliency, IntegratedGradients, GuidedGradCAM, VarGrad])
def test_methods_give_the_same_with_and_without(method):
    x = np.random.default_rng(0).normal(size=(3, 3, 8, 8)).astype(np.float32)
    kernel = ",".join(f"{v:.3f}" for v in np.random.default_rng(1).normal(size=27))
    model = parse(
        f"g (float[N,3,8,8] x) => (float[N,3] s) <float[3,1,3,3] w = {{{kernel}}}>"
        " { c = Conv<group=3, strides=[2,2], pads=[1,1,1,1]>(x, w) r = Relu(c)"
        " p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r) a = GlobalAveragePool(p) s = Flatten(a) }"
    )
    maps = [method(model, rewrites=names).explain(x, [0, 1, 2]) for names in ([], ["mask_by_steps"], None)]
    assert_close(maps[1], maps[0], "one")
    assert_close(maps[2], maps[0], "all")


@pytest.mark.parametrize("names", [["fast"], "ones", ["ones", "fast"]])
def test_unknown_names_are_refused(names):
    with pytest.raises(ParameterError, match="expected None for all rewrites, or a list of some of"):
        vjp(parse(LSTM), rewrites=names)


@pytest.mark.parametrize(
    "text",
    [
        "g (float[N,2,6,6] x, bool c) => (float[N,2,3,3] y) { t = Tanh(x) y = If<"
        "then_branch = a () => (float[N,2,3,3] p) { r = Relu(t) p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r) },"
        " else_branch = b () => (float[N,2,3,3] q) { s = AveragePool<kernel_shape=[2,2], strides=[2,2]>(t)"
        " q = Relu(s) }>(c) }",
        "g (float[N,2,6,6] x) => (float[N,2,6,6] y) <int64 n = {2}, bool go = {1}> { y = Loop<body = b"
        " (int64 i, bool d, float[N,2,6,6] s) => (bool e, float[N,2,6,6] o) { e = Identity(d) r = Relu(s)"
        " p = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(r) o = Sub(p, s) }>(n, go, x) }",
    ],
    ids=["If", "Loop"],
)
def test_bodies_are_rewritten(text):
    model = parse(text)
    plain, cheap = (vjp(model, "x", rewrites=names) for names in ([], None))
    masks = [node.op_type for node in nodes_of(cheap.graph)].count("HardSigmoid")
    assert masks == (2 if "If" in text else 1)
    for taken in (True, False):
        x = np.random.default_rng(0).normal(size=(2, 2, 6, 6)).astype(np.float32)
        feeds = {"x": x} | ({"c": np.array(taken)} if "If" in text else {})
        feeds |= cotangents_of(plain, run(model, feeds))
        assert_same_gradients(plain, cheap, feeds, str(taken))
