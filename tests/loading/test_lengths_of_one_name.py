"""Inputs whose lengths a file calls by one name, though they differ: the numbers of each, in every rendering."""

import numpy as np
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator
from support.tiny_graphs import parse

from onnxattr import attributions, vjp
from onnxattr.graph.values import dims_of
from onnxattr.loading.load import load
from onnxattr.testing import as_double, check_vjp

TEXT = """g (int64[batch,seq] ids, float[batch,seq] mask, int64[batch,seq] dec) => (float[batch,4] y)
    <float[2,4] w = {0.1, 0.2, 0.3, 0.4, 1, 2, 3, 4}, float[2,1] v = {1, 2}, int64[1] one = {1}, int64[1] last = {2}> {
    e = Gather(w, ids) u = Unsqueeze(mask, last) h = Mul(e, u) s = ReduceSum<keepdims = 0>(h, one)
    d = Gather(v, dec) t = ReduceSum<keepdims = 0>(d, one) y = Mul(s, t)
}"""
W = np.array([[0.1, 0.2, 0.3, 0.4], [1, 2, 3, 4]])


def feeds_of(ids: int, mask: int, dec: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "ids": rng.integers(0, 2, (3, ids)),
        "mask": rng.uniform(0.5, 1.5, (3, mask)).astype(np.float32),
        "dec": rng.integers(0, 2, (3, dec)),
    }


def expected(feeds: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The gradients of the score of class 2 with respect to the embedding and the mask."""
    mask = np.broadcast_to(feeds["mask"], feeds["ids"].shape)
    t = (1 + feeds["dec"]).sum(1)
    e, m = np.zeros((*feeds["ids"].shape, 4)), W[feeds["ids"], 2] * t[:, None]
    e[..., 2] = mask * t[:, None]
    return e, m.sum(1, keepdims=True) if feeds["mask"].shape[1] == 1 else m


@pytest.mark.parametrize("lengths", [(9, 9, 3), (3, 3, 9), (9, 1, 3), (1, 1, 9), (5, 5, 5)], ids=str)
@pytest.mark.parametrize("method", ["GradientInput", "IntegratedGradients"])
def test_two_lengths_of_one_name(method, lengths, tmp_path):
    """Both methods are exact here: the score is linear in either value alone."""
    feeds = feeds_of(*lengths)
    for wrt, gradient in zip(("e", "mask"), expected(feeds), strict=True):
        value = W[feeds["ids"]] if wrt == "e" else feeds["mask"]
        own = {"steps": 5} if method == "IntegratedGradients" else {}
        explainer = getattr(attributions, method)(parse(TEXT), wrt=wrt, reducer=None, **own)
        maps = explainer.explain(feeds, np.full(3, 2))
        np.testing.assert_allclose(maps, value * gradient, rtol=1e-4, atol=1e-6)
        for rendering in ("batch", "loop") if own else ("batch",):
            explainer.export(tmp_path / "e.onnx", rendering)
            session = onnxruntime.InferenceSession(tmp_path / "e.onnx")
            found = session.run(["attribution"], feeds | {"target": np.full(3, 2)})[0]
            np.testing.assert_allclose(found, value * gradient, rtol=1e-4, atol=1e-6)


def test_names():
    """The first axis of a name keeps it; what no other axis has stays, and so do lengths called like the batch."""
    text = """g (float[N,T,T] x, float[N,T,T] z, float[N,C,N] c) => (float[N,T,T] y) { y = Tanh(x) }"""
    assert {value.name: dims_of(value) for value in load(parse(text)).graph.inputs} == {
        "x": ["N", "T", "T_of_x"],
        "z": ["N", "T_of_z", "T_of_z_"],
        "c": ["N", "C", "N"],
    }


def test_two_lengths_of_one_input_of_one_name():
    """An image of size by size that is none, explained by a file: the runtime reuses no memory of another size."""
    model = parse(
        """g (float[N,K,K] x) => (float[?,?,?] y) {
          t = Transpose<perm = [0, 2, 1]>(x)
          m = MatMul(x, t)
          y = Mul(m, m)
        }"""
    )
    x = np.random.default_rng(0).normal(size=(3, 3, 4)).astype(np.float32)
    ct = np.ones((3, 3, 3), np.float32)
    method = attributions.IntegratedGradients(model, steps=3, reducer=None)
    session = onnxruntime.InferenceSession(method.explainer("loop", target="weights").SerializeToString())
    (found,) = session.run(["attribution"], {"x": x, "target": ct})
    np.testing.assert_allclose(found, method.explain(x, ct), rtol=1e-4, atol=1e-5)


CROSS = """g (float[seq,N,4] src, float[seq,N,4] tgt) => (float[seq,N,4] y)
    <float[4,4] w = {0.1, -0.2, 0.3, 0.4, -1, 0.2, 0.3, 0.4, 0.1, 0.7, -0.3, 0.4, 0.1, 0.2, 0.3, -0.4}> {
    a = MatMul(tgt, w) b = Tanh(a) c = MatMul(src, w) d = Tanh(c) e = Add(d, src)
    q = Transpose<perm = [1, 0, 2]>(b) k = Transpose<perm = [1, 2, 0]>(e) v = Transpose<perm = [1, 0, 2]>(e)
    m = MatMul(q, k) p = Softmax<axis = -1>(m) o = MatMul(p, v)
    u = Transpose<perm = [1, 0, 2]>(o) s = Add(u, tgt) y = Sigmoid(s)
}"""


@pytest.mark.parametrize("lengths", [(5, 3), (3, 5), (4, 4), (9, 1), (1, 9)], ids=str)
def test_first_axes_of_one_name_that_are_lengths(lengths, tmp_path):
    """Attention from one sequence to another, both (T, N, C): in float64, in the runtime, by a method and its file."""
    rng = np.random.default_rng(0)
    feeds = {
        name: rng.normal(size=(length, 2, 4)).astype(np.float32)
        for name, length in zip(("src", "tgt"), lengths, strict=True)
    }
    check_vjp(parse(CROSS), feeds)
    ct = rng.normal(size=feeds["tgt"].shape).astype(np.float32)
    exact = ReferenceEvaluator(vjp(as_double(parse(CROSS))))
    wide = {name: array.astype(np.float64) for name, array in (feeds | {"y_cotangent": ct}).items()}
    y, *gradients = exact.run(["y", "src_gradient", "tgt_gradient"], wide)
    session = onnxruntime.InferenceSession(vjp(parse(CROSS)).SerializeToString())
    found = session.run(["y", "src_gradient", "tgt_gradient"], feeds | {"y_cotangent": ct})
    for got, wanted in zip(found, (y, *gradients), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)
    method = attributions.GradientInput(parse(CROSS), reducer=None)
    maps = method.explain(feeds, ct)
    method.export(tmp_path / "e.onnx", target="weights")
    exported = onnxruntime.InferenceSession(tmp_path / "e.onnx").run(
        ["attribution_src", "attribution_tgt"], feeds | {"target": ct}
    )
    for name, gradient, of_file in zip(("src", "tgt"), gradients, exported, strict=True):
        np.testing.assert_allclose(maps[name], feeds[name] * gradient, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(of_file, feeds[name] * gradient, rtol=1e-4, atol=1e-6)
