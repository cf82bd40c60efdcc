"""Rules that look at their neighbours to leave out work: the gradient stays right, and the work is left out."""

import numpy as np
import pytest
from tiny_graphs import parse

from onnxattr.compile.gradient import vjp
from onnxattr.testing import check_vjp

CONV = "float[N,3,8,8] x, float[8,3,3,3] w"
DEPTHWISE = "float[N,3,8,8] x, float[3,1,3,3] w"

# A model, and how often its gradient graph holds the operator that is to be left out or moved.
CASES = {
    "a border before a convolution": (
        f"g ({CONV}) => (float[N,8,6,6] y) <int64[8] p = {{0,0,0,1,0,0,0,-1}}>"
        ' { q = Tanh(x) r = Pad(q, p) y = Conv<auto_pad="VALID">(r, w) }',
        ("Pad", 2),
    ),
    "a border before a convolution, left out": (
        f"g ({CONV}) => (float[N,8,7,8] y) <int64[8] p = {{0,0,0,1,0,0,1,1}}>"
        " { r = Pad(x, p) y = Conv(r, w) }",
        ("Pad", 1),
    ),
    "a border before a strided convolution": (
        f"g ({CONV}) => (float[N,8,4,4] y) <int64[8] p = {{0,0,0,0,0,0,1,1}}>"
        " { r = Pad(x, p) y = Conv<strides=[2,2]>(r, w) }",
        ("Pad", 1),
    ),
    "a border before a strided depthwise convolution": (
        f"g ({DEPTHWISE}) => (float[N,3,4,4] y) <int64[8] p = {{0,0,0,0,0,0,1,1}}>"
        " { r = Pad(x, p) y = Conv<strides=[2,2], group=3>(r, w) }",
        ("Pad", 1),
    ),
    "a border used twice": (
        f"g ({CONV}) => (float[N,8,7,7] y, float[N,3,9,9] z) <int64[8] p = {{0,0,0,0,0,0,1,1}}>"
        " { r = Pad(x, p) y = Conv(r, w) z = Tanh(r) }",
        ("Pad", 2),
    ),
    "a ReLU before a max-pool": (
        "g (float[N,2,6,6] x) => (float[N,2,3,3] y)"
        " { r = Relu(x) y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r) }",
        ("HardSigmoid", 1),
    ),
    "a ReLU before a max-pool and more": (
        "g (float[N,2,6,6] x) => (float[N,2,3,3] y, float[N,2,6,6] z)"
        " { r = Relu(x) y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r) z = Tanh(r) }",
        ("HardSigmoid", 1),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_gradient(name):
    text, (operator, count) = CASES[name]
    model = parse(text)
    rng = np.random.default_rng(0)
    # Distinct values far from 0, so that no difference crosses a kink.
    shapes = {v.name: [d.dim_value or 2 for d in v.type.tensor_type.shape.dim] for v in model.graph.input}
    feeds = {
        name: (rng.permutation(np.prod(shape)) - np.prod(shape) / 2 + 0.3).reshape(shape).astype(np.float32)
        / 30
        for name, shape in shapes.items()
    }
    assert check_vjp(model, feeds, wrt=["x"]) < 1e-6
    gradient = vjp(model, "x").graph
    assert sum(node.op_type == operator for node in gradient.node) == count


def test_the_mask_of_a_relu_before_a_max_pool_is_as_small_as_the_pool():
    model = parse(CASES["a ReLU before a max-pool"][0])
    graph = vjp(model).graph
    (mask,) = [node for node in graph.node if node.op_type == "HardSigmoid"]
    assert mask.input[0] == "y"
    (other,) = [
        n
        for n in vjp(parse(CASES["a ReLU before a max-pool and more"][0])).graph.node
        if n.op_type == "HardSigmoid"
    ]
    assert other.input[0] == "r"
