"""Targets of Reshapes that a model computes: written down where the shapes decide them, and left elsewhere."""

import re

import keras
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnxattr.converters.keras import to_onnx
from support.tiny_graphs import parse

from onnxattr import IntegratedGradients, vjp
from onnxattr.loading.load import clean_part, load
from onnxattr.loading.passes.reshapes import write_targets_down

CONSTANTS = """
    <int64[1] zero = {0}, int64[1] first = {1}, int64[1] second = {2}, int64[1] three = {3}, int64[1] rest = {-1},
     int64[1] four = {4}, int64[1] six = {6}, int64[2] front = {0, 1}, int64[2] ends = {0, 2}, int32[1] few = {4},
     int64[2] pair = {2, 3}, int64[2, 2] square = {1, 2, 3, 4}>
"""
SHAPE = "s = Shape(x)"
BATCH = f"{SHAPE} n = Gather(s, zero)"


@pytest.mark.parametrize(
    ("given", "nodes", "target"),
    [
        # Keras: through 32-bit integers and slices.
        (
            "N,2,6",
            f"{SHAPE} i = Cast<to = 6>(s) n = Slice(i, zero, first) j = Concat<axis = 0>(n, few, few_too) "
            "t = Cast<to = 7>(j)",
            None,
        ),
        (
            "N,2,8",
            f"{SHAPE} i = Cast<to = 6>(s) n = Slice(i, zero, first) j = Concat<axis = 0>(n, few, few) "
            "t = Cast<to = 7>(j)",
            [-1, 4, 4],
        ),
        # tf2onnx's Einsum: the product of the first axes, and the one axis that is left.
        (
            "N,4,6,3",
            f"{SHAPE} b = Gather(s, front) p = ReduceProd(b) t = Concat<axis = 0>(p, rest, three)",
            [-1, 6, 3],
        ),
        (
            "N,4,6,3",
            f"{SHAPE} b = Gather(s, front) c = Max(b, b) t = Concat<axis = 0>(c, three, six)",
            [-1, 4, 3, 6],
        ),
        # PyTorch: two free axes that stay, and one that is split.
        (
            "N,T,12",
            f"{SHAPE} b = Slice(s, zero, second) t = Concat<axis = 0>(b, three, four)",
            [0, 0, 3, 4],
        ),
        ("N,T,3,4", f"{SHAPE} b = Gather(s, front) t = Concat<axis = 0>(b, rest)", [0, 0, 12]),
        (
            "N,3,4",
            f"{BATCH} w = Gather(s, first) v = Gather(s, second) u = Mul(w, v) t = Concat<axis = 0>(n, u)",
            [-1, 12],
        ),
        # Two free axes that become one, in the place of none of them: known as a product alone.
        ("N,T,12", f"{SHAPE} b = Gather(s, front) p = ReduceProd(b) t = Concat<axis = 0>(p, six, second)", [-1, 6, 2]),
        # Two free axes that change their places, and one that a run decides.
        ("N,T,12", f"{SHAPE} b = Gather(s, front) n = Gather(s, zero) m = Gather(s, first) "
         "t = Concat<axis = 0>(m, n, three, four)", None),
        ("N,T,12", f"{SHAPE} b = Gather(s, front) t = Add(b, b)", None),
        # A row of a table is no element of a vector.
        ("N,12", "i = Squeeze(first) r = Gather(square, i) t = Concat<axis = 0>(rest, r)", [-1, 3, 4]),
    ],
)  # fmt: skip
def test_targets(given, nodes, target):
    fed = ", int32[1] few_too" if "few_too" in nodes else ""
    model = parse(
        f"g (float[{given}] x{fed}) => (float[?,?,?,?] y) {CONSTANTS} {{ {nodes} y = Reshape(x, t) }}"
    )
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    loaded = load(model)
    write_targets_down(loaded)
    (reshape,) = [node for node in loaded.graph if node.op_type == "Reshape"]
    held = reshape.inputs[1].const_value
    assert (None if held is None else held.numpy().tolist()) == target
    if target is not None:
        assert [node.op_type for node in loaded.graph] == ["Reshape"]
        x = np.arange(2 * 5 * 4 * 6 * 3, dtype=np.float32)
        sizes = [2 if d == "N" else 5 if d == "T" else int(d) for d in given.split(",")]
        x = x[: int(np.prod(sizes))].reshape(sizes)
        want, got = (_run(m, x) for m in (model, ir.serde.serialize_model(loaded)))
        np.testing.assert_array_equal(want, got)
        assert want.ndim == len(target)


def _run(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def _cleaned(model):
    loaded = load(model)
    clean_part(loaded, [])
    return ir.serde.serialize_model(loaded)


@pytest.mark.parametrize(
    ("wrt", "outputs", "slopes"),
    [
        (["b"], ["y"], {"b_gradient": np.zeros}),
        (["b", "x"], ["y"], {"b_gradient": np.zeros, "x_gradient": np.ones}),
        (["x"], ["b"], {"x_gradient": np.ones}),
        (["x"], ["y", "b"], {"x_gradient": lambda shape: np.full(shape, 2.0)}),
    ],
)
def test_a_value_that_a_caller_names_stays_though_only_a_target_read_it(wrt, outputs, slopes):
    model = parse(
        f"g (float[N,12] x) => (float[N,3,4] y) {CONSTANTS} {{ a = Identity(x) b = Identity(x) s = Shape(b) "
        "n = Gather(s, zero) t = Concat<axis = 0>(n, three, four) y = Reshape(a, t) }"
    )
    gradient = vjp(model, wrt=wrt, outputs=outputs)
    session = onnxruntime.InferenceSession(gradient.SerializeToString(), providers=["CPUExecutionProvider"])
    ones = {"x": (2, 12), "b_cotangent": (2, 12), "y_cotangent": (2, 3, 4)}
    feeds = {value.name: np.ones(ones[value.name], np.float32) for value in session.get_inputs()}
    for name, expected in slopes.items():
        np.testing.assert_array_equal(session.run([name], feeds)[0], expected((2, 12)))


def test_a_target_that_allows_zeros_is_written_down_with_them():
    """Where `allowzero` is set, a size of 0 is itself; symbols are sizes of the input, whatever they are."""
    model = parse(
        f"g (float[N,T,12] x) => (float[N,T,3,4] y) {CONSTANTS} {{ {SHAPE} b = Slice(s, zero, second) "
        "t = Concat<axis = 0>(b, three, four) y = Reshape<allowzero = 1>(x, t) }"
    )
    proto = _cleaned(model)
    assert [node.op_type for node in proto.graph.node] == ["Reshape"]
    for sizes in ((2, 5, 12), (0, 5, 12), (2, 0, 12)):
        x = np.ones(sizes, np.float32)
        assert _run(proto, x).shape == _run(model, x).shape == (*sizes[:2], 3, 4)


def test_an_axis_of_no_elements_says_nothing_of_the_others():
    model = parse(
        f"g (float[N,0,3] x) => (float[?,?,?] y) {CONSTANTS} {{ {BATCH} t = Concat<axis = 0>(n, zero, four) "
        "y = Reshape<allowzero = 1>(x, t) }"
    )
    assert [node.op_type for node in _cleaned(model).graph.node] == ["Shape", "Gather", "Concat", "Reshape"]


def test_a_stated_size_that_no_node_shows_is_not_computed_with():
    """The output of an operator that nobody knows is of the declared size, which may be wrong."""
    model = parse(
        "g (float[2,12] x) => (float[?,?] y) <float[2,12] k, int64[1] zero = {0}, int64[1] rest = {-1}> "
        "{ k = com.example.Odd(x) s = Shape(k) n = Gather(s, zero) t = Concat<axis = 0>(n, rest) y = Reshape(k, t) }",
        domains="com.example",
    )
    loaded = load(model)
    assert not write_targets_down(loaded)


@pytest.fixture(scope="module")
def transformer():
    keras.utils.set_random_seed(0)
    x = tokens = keras.Input((12, 8))
    normal = keras.layers.LayerNormalization()(x)
    x = x + keras.layers.MultiHeadAttention(2, 4)(normal, normal)
    x = x + keras.layers.Dense(8)(
        keras.layers.Dense(16, activation="gelu")(keras.layers.LayerNormalization()(x))
    )
    return keras.Model(tokens, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling1D()(x)))


def _open_names(graph: onnx.GraphProto) -> set[str]:
    values = [*graph.value_info, *graph.output, *graph.input]
    dims = {d.dim_param for v in values for d in v.type.tensor_type.shape.dim if d.dim_param}
    inner = [a.g for node in graph.node for a in node.attribute if a.HasField("g")]
    return {d for d in dims if re.fullmatch(r"unk__\d+", d)}.union(*(_open_names(body) for body in inner))


@pytest.mark.parametrize("rendering", ["batch", "loop"])
def test_an_exported_transformer_has_no_open_sizes(transformer, rendering, tmp_path):
    """Nor a ReduceProd, whose int64 kernel GPUs lack."""
    path = tmp_path / "transformer.onnx"
    IntegratedGradients(transformer, steps=3).export(path, rendering=rendering)
    exported = onnx.load(path)
    nodes = list(ir.serde.deserialize_model(exported).graph.all_nodes())
    assert "ReduceProd" not in {node.op_type for node in nodes}
    assert not _open_names(exported.graph)


def test_the_gradient_of_a_transformer_asks_for_no_sizes(transformer):
    """It sums over no axes that a run would find, and looks at sizes for means alone, which it spreads."""
    nodes = vjp(to_onnx(transformer)).graph.node
    kinds = {node.op_type for node in nodes}
    assert not kinds & {"ReduceProd", "NonZero", "Gather", "Concat", "Max"}
    read = {name for node in nodes if node.op_type == "Expand" for name in node.input}
    assert {node.output[0] for node in nodes if node.op_type == "Shape"} <= read
