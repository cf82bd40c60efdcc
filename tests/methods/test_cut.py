"""Where a model is cut, so that what is before the cut is computed once for each sample."""

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper
from support.affine_starts import MODELS, both, largest_difference, weights
from support.small_models import build, node
from support.tiny_graphs import parse

from onnxattr import IntegratedGradients
from onnxattr.graph.affine import is_affine


@pytest.mark.parametrize(
    ("text", "frontier"),
    [
        ("h = MatMul(x, w) y = Relu(h)", ["h"]),
        ("h = Add(x, far) y = Relu(h)", None),  # sums with numbers near the end of float32 may overflow
        ("h = Add(x, endless) y = Relu(h)", None),
        ("h = Mul(x, x) y = Relu(h)", None),
        ("h = Relu(x) y = MatMul(h, w)", None),
        ("y = MatMul(x, w)", None),  # the score itself is no cut
        (
            "h = Transpose<perm = [1, 0]>(x) g = Relu(h) y = Transpose<perm = [1, 0]>(g)",
            None,
        ),  # no rows there
    ],
)
def test_where_a_model_is_cut(text, frontier):
    constants = (
        "float[4,4] w = {1,2,3,4,5,6,7,8,1,2,3,4,5,6,7,8}, float far = {-3.4e38}, float endless = {-inf}"
    )
    if "endless" in text:
        constants = constants.replace(", float endless = {-inf}", "")
    model = parse(f"m (float[N,4] x) => (float[N,4] y) <{constants}> {{ {text} }}")
    if "endless" in text:
        model.graph.initializer.append(helper.make_tensor("endless", TensorProto.FLOAT, [], [-np.inf]))
    _, shared = both(model)
    tail = shared._plan.request.tail
    assert (None if tail is None else list(tail.cut.frontier)) == frontier


def test_a_cut_is_made_where_it_pays():
    wide = build(
        [node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"], ["r"]), node("MatMul", ["r", "v"], ["y"])],
        {"x": ["N", 5000]},
        {"y": ["N", 2]},
        {"w": weights(5000, 64), "v": weights(64, 2)},
    )
    narrow = MODELS["MatMul and Add"][0]()
    decided = [IntegratedGradients(m, steps=200)._plan.request.tail is not None for m in (wide, narrow)]
    assert decided == [True, False]


@pytest.mark.parametrize(
    ("op_type", "varying", "attributes", "expected"),
    [
        ("Gemm", [0], {}, True),
        ("Gemm", [0, 2], {}, True),
        ("Gemm", [0, 1], {}, False),
        ("Mul", [1], {}, True),
        ("Mul", [0, 1], {}, False),
        ("Div", [0], {}, True),
        ("Div", [1], {}, False),
        ("Where", [1, 2], {}, True),
        ("Where", [0], {}, False),
        ("Concat", [0, 1, 2], {}, True),
        ("BatchNormalization", [0], {}, True),
        ("BatchNormalization", [0], {"training_mode": 1}, False),
        ("Relu", [0], {}, False),
        ("Cast", [0], {}, False),
    ],
)
def test_operators(op_type, varying, attributes, expected):
    values = [ir.Value(name=f"v{i}") for i in range(5)]
    assert is_affine(ir.node(op_type, values, attributes), varying) == expected


def test_random_numbers_are_drawn_at_each_point():
    nodes = [
        node("RandomUniformLike", ["z"], ["r"]),
        node("MatMul", ["x", "w"], ["h"]),
        node("Mul", ["h", "r"], ["q"]),
        node("Relu", ["q"], ["y"]),
    ]
    model = build(nodes, {"x": ["N", 6], "z": ["N", 8]}, {"y": ["N", 8]}, {"w": weights(6, 8)})
    assert IntegratedGradients(model, wrt="x", share=True)._plan.request.tail is None


@pytest.mark.parametrize(
    ("op_type", "outputs", "gates"),
    [
        ("LSTM", ["", "last"], 4),
        ("LSTM", ["", "", "last"], 4),
        ("GRU", ["", "last"], 3),
        ("RNN", ["", "last"], 1),
    ],
)
def test_beside_a_recurrence_whose_other_outputs_are_left_out(op_type, outputs, gates):
    """The recurrence reads an input that is not explained, so that it is computed once for each sample."""
    nodes = [
        node("Transpose", ["steps"], ["turned"], perm=[1, 0, 2]),
        node(op_type, ["turned", "into", "again"], outputs, hidden_size=8),
        node("Reshape", ["last", "shape"], ["text"]),
        node("MatMul", ["x", "w"], ["h"]),
        node("Tanh", ["h"], ["t"]),
        node("Mul", ["t", "text"], ["j"]),
        node("MatMul", ["j", "v"], ["y"]),
    ]
    tensors = {"w": weights(6, 8), "v": weights(8, 3), "shape": np.array([-1, 8])}
    recurrent = {"into": weights(1, gates * 8, 4), "again": weights(1, gates * 8, 8)}
    model = build(nodes, {"x": ["N", 6], "steps": ["N", 5, 4]}, {"y": ["N", 3]}, tensors | recurrent)
    plain, shared = both(model, wrt="x")
    assert shared._plan.request.tail.cut.given == ("text",)
    given = {"x": weights(2, 6), "steps": weights(2, 5, 4)}
    found, expected = (method.explain(given, [0, 1]) for method in (shared, plain))
    assert largest_difference(found, expected) <= 2e-6
