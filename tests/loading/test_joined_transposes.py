"""Transposes that take the last axis away and back are one; results stay the same to the bit."""

import keras
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnxattr.converters.keras import to_onnx
from support.tiny_graphs import parse, run

from onnxattr import vjp
from onnxattr.autodiff.standard import STANDARD
from onnxattr.graph.subgraphs import nodes_of
from onnxattr.loading.load import clean_part, load
from onnxattr.loading.passes.transposes import join_transposes
from onnxattr.testing import check_vjp

RNG = np.random.default_rng(0)
CONSTANTS = """<int64[1] two = {2}, int64[1] first = {0}, int64[3] three = {-1, 4, 5}, int64[4] split = {-1, 2, 2, 5},
    int64[3] turned = {-1, 5, 4}, int64[3] torn = {-1, 2, 10}, int64[3] whole = {-1, 20, 3}, int64[2] flat = {-1, 4}>"""
AWAY = "a = Transpose<perm = [0, 2, 3, 1]>(x)"
LAST = "a = Transpose<perm = [0, 1, 3, 2]>(x)"

#: Nodes from x, (N, 3, 5, 4), to y, and how many Transposes they become.
CHAINS = {
    "attention": (f"{LAST} b = Reshape(a, three) y = Transpose<perm = [0, 2, 1]>(b)", 1),
    "einsum": (
        "u = Unsqueeze(x, two) a = Transpose<perm = [0, 1, 2, 4, 3]>(u) b = Reshape(a, three) "
        "y = Transpose<perm = [0, 2, 1]>(b)",
        1,
    ),
    "axes that are split": (
        f"{LAST} b = Reshape(a, split) y = Transpose<perm = [0, 3, 1, 2]>(b)",
        1,
    ),
    "axes that become one": (
        "a = Transpose<perm = [0, 2, 3, 1]>(x) b = Reshape(a, whole) y = Transpose<perm = [0, 2, 1]>(b)",
        1,
    ),
    "nothing between": (f"{LAST} y = Transpose<perm = [1, 0, 3, 2]>(a)", 1),
    "through more operators": (
        f"{LAST} b = Identity(a) c = Unsqueeze(b, two) d = Squeeze(c, two) y = Transpose<perm = [0, 1, 3, 2]>(d)",
        1,
    ),
    "the reverse order of axes": ("a = Transpose(x) y = Transpose(a)", 1),
    # The second Transpose alone moves the last axis: a runtime reads its operand the other way round instead.
    "the last axis stays at first": (
        "a = Transpose<perm = [0, 2, 1, 3]>(x) y = Transpose<perm = [0, 1, 3, 2]>(a)",
        2,
    ),
    "the last axis stays away": (f"{AWAY} y = Transpose<perm = [0, 2, 1, 3]>(a)", 2),
    "an axis that is torn apart": (f"{LAST} b = Reshape(a, torn) y = Transpose<perm = [0, 2, 1]>(b)", 2),
    "lengths in another order": (f"{LAST} b = Reshape(a, turned) y = Transpose<perm = [0, 2, 1]>(b)", 2),
    "read by others": (f"{LAST} b = Reshape(a, three) c = Transpose<perm = [0, 2, 1]>(b) s = ReduceSum(b) "
                       "y = Mul(c, s)", 2),
    "arithmetic between": (f"{LAST} b = Neg(a) y = Transpose<perm = [0, 1, 3, 2]>(b)", 2),
}  # fmt: skip


def model_of(nodes: str) -> onnx.ModelProto:
    """The nodes before a product, so that the result of the last is no output."""
    model = parse(f"g (float[N,3,5,4] x) => (float z) {CONSTANTS} {{ {nodes} z = Mul(y, y) }}")
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return model


def transposes_in(model: ir.Model) -> int:
    return sum(node.op_type == "Transpose" for node in nodes_of(model.graph))


@pytest.mark.parametrize("name", CHAINS)
def test_chains(name):
    nodes, count = CHAINS[name]
    model, x = model_of(nodes), RNG.normal(size=(2, 3, 5, 4)).astype(np.float32)
    loaded = load(model)
    assert join_transposes(loaded, []) == (count == 1)
    assert transposes_in(loaded) == count
    found = ir.serde.serialize_model(loaded)
    for rows in (0, 1, 2):
        np.testing.assert_array_equal(run(found, x=x[:rows])["z"], run(model, x=x[:rows])["z"])
    check_vjp(model, {"x": x})


def test_random_chains():
    """Whatever the axes, the elements are in their places."""
    joined = 0
    for _ in range(300):
        given = RNG.choice([1, 2, 2, 3, 4, 6], RNG.integers(2, 5)).tolist()
        first = RNG.permutation(len(given) - 1).tolist()
        first.insert(-1, len(given) - 1)
        between = [given[axis] for axis in first]
        behind = list(between)
        for _ in range(2):
            at = int(RNG.integers(len(behind)))
            if RNG.random() < 0.5 and at:
                behind[at - 1 : at + 1] = [behind[at - 1] * behind[at]]
            elif behind[at] % 2 == 0:
                behind[at : at + 1] = [2, behind[at] // 2] if RNG.random() < 0.5 else [behind[at] // 2, 2]
            elif RNG.random() < 0.3:
                behind.insert(at, 1)
        second = RNG.permutation(len(behind)).tolist()
        if RNG.random() < 0.5 and len(behind) > 1:
            second = [*range(len(behind) - 2), len(behind) - 1, len(behind) - 2]
        free = ["N", *map(str, given[1:])] if RNG.random() < 0.5 else map(str, given)
        target = [
            -1 if size == max(behind) and behind.count(size) == 1 and RNG.random() < 0.5 else size
            for size in behind
        ]
        model = parse(
            f"g (float[{','.join(free)}] x) => (float z) <int64[{len(behind)}] t = {{{','.join(map(str, target))}}}> "
            f"{{ a = Transpose<perm = {first}>(x) b = Reshape(a, t) y = Transpose<perm = {second}>(b) z = Neg(y) }}"
        )
        model.graph.output[0].type.tensor_type.ClearField("shape")
        loaded = load(model)
        joined += join_transposes(loaded, [])
        x = np.arange(np.prod(given), dtype=np.float32).reshape(given)
        found = run(ir.serde.serialize_model(loaded), x=x)["z"]
        np.testing.assert_array_equal(found, -x.transpose(first).reshape(behind).transpose(second))
    assert joined > 20


@pytest.mark.parametrize("name", ["a", "b", "y"])
def test_values_that_are_asked_for_stay(name):
    model = model_of(CHAINS["attention"][0])
    x = RNG.normal(size=(2, 3, 5, 4)).astype(np.float32)
    gradient = vjp(model, wrt=["x", name])
    assert {value.name for value in gradient.graph.output} >= {"x_gradient", f"{name}_gradient"}
    found = run(gradient, x=x, z_cotangent=np.ones((6, 5, 4), np.float32))
    assert found["x_gradient"].shape == x.shape
    np.testing.assert_array_equal(found["x_gradient"], 2 * x)
    assert transposes_in(_cleaned(model, name)) == 2


def _cleaned(model: onnx.ModelProto, kept: str) -> ir.Model:
    loaded = load(model)
    clean_part(loaded, [value for node in loaded.graph for value in node.outputs if value.name == kept])
    return loaded


def test_outputs_and_overrides_stay():
    model = model_of(CHAINS["attention"][0])
    override = STANDARD | {"Reshape": lambda op, node, ct: STANDARD["Reshape"](op, node, ct)}
    assert not join_transposes(load(model), [], override)
    for name in "aby":
        shown = onnx.ModelProto.FromString(model.SerializeToString())
        shown.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
        assert not join_transposes(load(shown), [])


def test_inside_a_branch():
    nodes = CHAINS["attention"][0].replace("(x)", "(w)")
    branches = (
        f"then_branch = p () => (float[M,5,4] o) {{ {nodes} o = Mul(y, y) }}, "
        "else_branch = q () => (float[M,5,4] o2) { o2 = Reshape(w, turned) }"
    )
    model = parse(
        f"g (float[N,3,5,4] x, bool c) => (float[M,5,4] z) {CONSTANTS} {{ w = Neg(x) z = If<{branches}>(c) }}"
    )
    loaded = load(model)
    assert join_transposes(loaded, [])
    x = RNG.normal(size=(2, 3, 5, 4)).astype(np.float32)
    for c in (True, False):
        feeds = {"x": x, "c": np.array(c)}
        np.testing.assert_array_equal(
            run(ir.serde.serialize_model(loaded), **feeds)["z"], run(model, **feeds)["z"]
        )
        check_vjp(model, feeds, wrt=["x"])


def test_attention_of_keras():
    """Values that MultiHeadAttention's Einsum takes apart by elements are copied by rows."""
    keras.utils.set_random_seed(0)
    tokens = keras.Input((6, 8))
    model = to_onnx(keras.Model(tokens, keras.layers.MultiHeadAttention(2, 4)(tokens, tokens)))
    loaded = load(model)
    before = transposes_in(loaded)
    clean_part(loaded, [])
    assert transposes_in(loaded) == before - 1
    x = {model.graph.input[0].name: RNG.normal(size=(3, 6, 8)).astype(np.float32)}
    (found,), (expected,) = run(ir.serde.serialize_model(loaded), **x).values(), run(model, **x).values()
    np.testing.assert_array_equal(found, expected)
