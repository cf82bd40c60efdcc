"""Explained values inside a model whose batch is not their first axis, as (T, N, C) in XLNet: maps are (N, T, C)."""

import numpy as np
import onnxruntime
import pytest
from support.row_models import model
from support.tiny_graphs import parse

from onnxattr import attributions

TEXT = """g (float[N,T,3] x) => (float[N,3] y) <int64[1] zero = {0}> {
    h = Transpose<perm = [1, 0, 2]>(x) s = Mul(h, h) y = ReduceSum<keepdims = 0>(s, zero) }"""
#: Whose first axis is the batch is lost by shape inference behind a Reshape.
LOST = """g (float[N,4,3] x) => (float[N,3] y) <int64[1] zero = {0}, int64[3] shape = {-1, 4, 3}> {
    r = Reshape(x, shape) h = Transpose<perm = [1, 0, 2]>(r) s = Mul(h, h) y = ReduceSum<keepdims = 0>(s, zero) }"""
LAST = """g (float[N,T,3] x) => (float[N,3] y) <int64[1] zero = {0}> {
    h = Transpose<perm = [1, 2, 0]>(x) s = Mul(h, h) r = ReduceSum<keepdims = 0>(s, zero)
    y = Transpose<perm = [1, 0]>(r) }"""


@pytest.mark.parametrize(
    ("text", "steps"),
    [(TEXT, 4), (TEXT, 32), (LAST, 4), (LOST, 4)],
    ids=["second", "as many", "last", "lost"],
)
@pytest.mark.parametrize("batch_size", [1, 3, 32])
@pytest.mark.parametrize("method", ["GradientInput", "IntegratedGradients"])
def test_maps_have_the_batch_first(method, batch_size, text, steps, tmp_path):
    """The score is quadratic, for which the trapezoidal rule is exact: x^2 for the path, 2 x^2 for x times gradient."""
    x = np.random.default_rng(0).normal(size=(5, steps, 3)).astype(np.float32)
    own = {"steps": 7} if method == "IntegratedGradients" else {}
    explainer = getattr(attributions, method)(
        parse(text), wrt="h", batch_size=batch_size, reducer=None, **own
    )
    expected = np.zeros_like(x)
    expected[:, :, 1] = x[:, :, 1] ** 2 * (1 if own else 2)
    np.testing.assert_allclose(explainer.explain(x, np.ones(5, int)), expected, atol=1e-5)
    for rendering in ("batch", "loop") if own else ("batch",):
        explainer.export(tmp_path / "e.onnx", rendering)
        session = onnxruntime.InferenceSession(tmp_path / "e.onnx")
        found = session.run(["attribution"], {"x": x, "target": np.ones(5, np.int64)})[0]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_steps_of_a_recurrence():
    """Each row alone is each row among others, though the explained value has the time first."""
    x = np.random.default_rng(0).normal(size=(4, 5, 2)).astype(np.float32)
    target = np.ones((4, 1), np.float32)
    for method, own in (("GradientInput", {}), ("IntegratedGradients", {"steps": 5})):
        explainer = getattr(attributions, method)(model("time first, inside"), wrt="t", reducer=None, **own)
        outer = getattr(attributions, method)(model("time first, inside"), wrt="x", reducer=None, **own)
        maps = explainer.explain(x, target)
        np.testing.assert_allclose(maps, outer.explain(x, target), rtol=1e-4, atol=1e-6)
        for k in range(4):
            np.testing.assert_allclose(
                explainer.explain(x[k : k + 1], target[:1])[0], maps[k], rtol=1e-4, atol=1e-6
            )
