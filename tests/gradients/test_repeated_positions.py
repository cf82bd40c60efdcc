"""Gradients that are added up at positions which repeat, by several threads at once."""

import numpy as np
import onnxruntime
import pytest
from support.tiny_graphs import parse

from onnxattr import vjp
from onnxattr.autodiff.standard import STANDARD

GATHERED = parse("g (float[K, 64] x, int64[M] i) => (float[M, 64] y) { y = Gather(x, i) }")
ROWS, PLACES = 60_000, np.random.default_rng(0).integers(0, 4, 60_000)
COUNTS = np.bincount(PLACES, minlength=4)[:, None] * np.ones((4, 64))


def on_threads(model):
    """A session of the gradient of a model, on several threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(vjp(model, ["x"]).SerializeToString(), options)


def test_no_addition_is_lost_among_threads():
    """ONNX Runtime's ScatterND adds slices to one place without waiting: microsoft/onnxruntime#23396."""
    session = on_threads(GATHERED)
    feeds = {"x": np.zeros((4, 64), "f"), "i": PLACES, "y_cotangent": np.ones((ROWS, 64), "f")}
    for _ in range(20):
        np.testing.assert_array_equal(session.run(["x_gradient"], feeds)[0], COUNTS)


def test_no_addition_of_the_model_is_lost_either():
    model = parse(
        """g (float[4, 64] x, int64[M, 1] i, float[M, 64] u) => (float[4, 64] y)
        { y = ScatterND <reduction = "add"> (x, i, u) }"""
    )
    session = on_threads(model)
    feeds = {"x": np.zeros((4, 64), "f"), "i": PLACES[:, None], "u": np.ones((ROWS, 64), "f")}
    for _ in range(20):
        np.testing.assert_array_equal(session.run(["y"], feeds | {"y_cotangent": feeds["x"]})[0], COUNTS)


def test_what_a_caller_has_a_rule_for_stays():
    rules = STANDARD | {"ScatterND": lambda op, node, ct: (ct, None, None)}
    kinds = [node.op_type for node in vjp(FOLDED["mul"], ["x"], rules=rules).graph.node]
    assert "ScatterND" in kinds
    assert "ScatterElements" not in kinds


STEP = 'y = ScatterND <reduction = "{}"> (x, i, u)'
FOLDED = {
    "gathered": GATHERED,
    **{
        reduction: parse(
            f"g (float[4, 3] x, int64[M, 1] i, float[M, 3] u) => (float[4, 3] y) {{ {STEP.format(reduction)} }}"
        )
        for reduction in ("mul", "max", "min")
    },
    "frames": parse(
        """g (float[N, T, 1] x, float[4] w) => (float[N, F, 3, 2] y) <int64 step = {2}, int64 length = {4}>
        { y = STFT(x, step, w, length) }"""
    ),
}


@pytest.mark.parametrize("case", FOLDED)
def test_slices_are_folded_only_where_positions_differ(case):
    nodes = [node for node in vjp(FOLDED[case]).graph.node if node.op_type == "ScatterND"]
    assert not [node.name for node in nodes if any(entry.name == "reduction" for entry in node.attribute)]


def test_known_different_slices_are_added_as_slices():
    model = parse("g (float[5, 3] x) => (float[3, 3] y) <int64[3] i = {4, 0, 2}> { y = Gather(x, i) }")
    gradient = vjp(model)
    session = onnxruntime.InferenceSession(gradient.SerializeToString())
    ct = np.arange(9, dtype="f").reshape(3, 3)
    found = session.run(["x_gradient"], {"x": np.ones((5, 3), "f"), "y_cotangent": ct})[0]
    np.testing.assert_array_equal(found, [ct[1], [0] * 3, ct[2], [0] * 3, ct[0]])
    assert "ScatterND" in [node.op_type for node in gradient.graph.node]


def test_overlapping_windows_that_are_unpooled_count_once():
    """One element is the maximum of all four windows; y = it at its place, so its derivative is 1 and not 4."""
    model = parse(
        """g (float[1, 1, 3, 3] x) => (float[1, 1, 4, 4] y) {
        m, i = MaxPool <kernel_shape = [2, 2]> (x)
        y = MaxUnpool <kernel_shape = [2, 2], strides = [2, 2]> (m, i) }"""
    )
    x = np.zeros((1, 1, 3, 3), "f")
    x[0, 0, 1, 1] = 5
    session = onnxruntime.InferenceSession(vjp(model).SerializeToString())
    names = ["y", "x_gradient"]
    y, found = session.run(names, {"x": x, "y_cotangent": np.ones((1, 1, 4, 4), "f")})
    assert y.sum() == 5
    np.testing.assert_array_equal(found.ravel(), [0, 0, 0, 0, 1, 0, 0, 0, 0])
