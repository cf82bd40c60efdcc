"""Resizes of some axes are written for all: ONNX Runtime takes them for others next to a Transpose."""

import numpy as np
import pytest
from support.tiny_graphs import parse, run

from onnxattr.compile.gradient import vjp
from onnxattr.graph.subgraphs import nodes_in
from onnxattr.loading.load import load

X = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
NEAREST = 'mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"'
CROP = 'mode = "nearest", coordinate_transformation_mode = "tf_crop_and_resize", nearest_mode = "floor"'

#: A Resize of x as (2, 5, 3, 4) between Transposes, of the integers p and floats q of a run, with its result of x.
RESIZED = {
    "sizes": (f"Resize<{NEAREST}, axes = [2, 3]>(t, , , sizes)", lambda x: doubled(doubled(x, 1), 2)),
    "scales": (f"Resize<{NEAREST}, axes = [2, 3]>(t, , twice)", lambda x: doubled(doubled(x, 1), 2)),
    "sizes of a run": (f"Resize<{NEAREST}, axes = [-1]>(t, , , p)", lambda x: doubled(x, 2)),
    "scales of a run": (f"Resize<{NEAREST}, axes = [-1]>(t, , q)", lambda x: doubled(x, 2)),
    "axes in another order": (f"Resize<{NEAREST}, axes = [3, 1]>(t, , , other)", lambda x: doubled(x, 2)),
    "a region": (f"Resize<{CROP}, axes = [3, 2]>(t, region, , back)", lambda x: x[:, :, 1:3]),
}


def doubled(x, axis):
    return np.repeat(x, 2, axis)


def model_of(node, batch):
    """x (N, H, W, C) put channels first, resized and put back."""
    return parse(
        f"""g (float[{batch},3,4,5] x, int64[1] p, float[1] q) => (float[?,?,?,?] y)
        <int64[2] sizes = {{6, 8}}, float[2] twice = {{2, 2}}, int64[2] other = {{8, 5}}, int64[2] back = {{2, 3}},
         float[4] region = {{0.34, 0, 0.67, 1}}>
        {{ t = Transpose<perm = [0, 3, 1, 2]>(x) u = {node} y = Transpose<perm = [0, 2, 3, 1]>(u) }}"""
    )


@pytest.mark.parametrize("batch", ["2", "N"])
@pytest.mark.parametrize("name", RESIZED)
def test_resized(name, batch):
    node, expected = RESIZED[name]
    gradient = vjp(model_of(node, batch), ["x"])
    resizes = [n for n in nodes_in(gradient.graph) if n.op_type == "Resize"]
    assert not any(attribute.name == "axes" for n in resizes for attribute in n.attribute)
    cotangent = np.random.default_rng(1).normal(size=expected(X).shape).astype(np.float32)
    feeds = {"x": X, "p": np.array([8]), "q": np.array([2], np.float32)}
    results = run(gradient, **feeds, y_cotangent=cotangent)
    np.testing.assert_array_equal(results["y"], expected(X))
    places = expected(np.arange(X.size).reshape(X.shape))
    sums = np.bincount(places.ravel(), cotangent.ravel(), X.size).reshape(X.shape)
    np.testing.assert_allclose(results["x_gradient"], sums, atol=1e-6)


def test_proportions_are_of_the_named_axes():
    node = f'Resize<{NEAREST}, axes = [2, 3], keep_aspect_ratio_policy = "not_larger">(x, , , sizes)'
    model = parse(f"g (float[2,3,4,4] x) => (float[?,?,?,?] y) <int64[2] sizes = {{6, 8}}> {{ y = {node} }}")
    (resize,) = load(model).graph
    assert resize.attributes["axes"].as_ints() == (2, 3)
