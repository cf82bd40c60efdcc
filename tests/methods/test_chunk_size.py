"""Rows of a run on a CPU: as many as its cache holds, and the same numbers whatever they are."""

import numpy as np
import pytest
from support.tiny_graphs import parse

from onnxattr import IntegratedGradients
from onnxattr.loading.prepared import prepare
from onnxattr.running import chunk_size
from onnxattr.session import Session

CUBE = "m (float[N,3] x) => (float[N,3] y) { s = Mul(x, x) y = Mul(s, x) }"
#: A model, the shape of what it is fed, and the rows that a cache of 96 bytes holds, on as many threads as fill it.
CASES = {
    "the input is the widest": (CUBE, (5, 3), 8),
    "a value inside is the widest": (
        "m (float[N,3] x) => (float[N,3] y) { w = Concat<axis=1>(x, x) y, z = Split<axis=1, num_outputs=2>(w) }",
        (5, 3),
        4,
    ),
    "other types have other sizes": (CUBE.replace("float[", "double["), (5, 3), 4),
    "dynamic axes are as long as those fed": (
        "m (float[N,T] x) => (float[N,T] y) { y = Relu(x) }",
        (5, 12),
        2,
    ),
    "one row is more than it holds": (CUBE.replace("3]", "99]"), (5, 99), 1),
    "of heavy weights few rows are not worth it": (
        f"m (float[N,64] x) => (float[N,64] y) <float[64,64] w = {{{','.join(['1'] * 64**2)}}}> {{ y = MatMul(x, w) }}",
        (5, 64),
        6,
    ),
    "weights used at many positions cost nothing": (
        f"m (float[N,4,64] x) => (float[N,4,64] y) <float[64,64] w = {{{','.join(['1'] * 64**2)}}}> "
        "{ y = MatMul(x, w) }",
        (5, 4, 64),
        1,
    ),
    "weights of a convolution at one position cost what those of a product do": (
        f"m (float[N,64,1] x) => (float[N,64,1] y) <float[64,64,1] w = {{{','.join(['1'] * 64**2)}}}> "
        "{ y = Conv(x, w) }",
        (5, 64, 1),
        6,
    ),
    "a recurrent cell reads its weights at each step": (
        f"m (float[N,1,16] x) => (float[N,16] y) <float[1,16,16] w = {{{','.join(['1'] * 16**2)}}}, "
        "int64[1] a = {0}> { t = Transpose<perm=[1,0,2]>(x) s, h = RNN<hidden_size=16>(t, w, w) y = Squeeze(h, a) }",
        (5, 1, 16),
        3,
    ),
    "a batch that shape inference names anew": (
        "m (float[N,3] x) => (float[N,6] y) <float[1,5] e = {1,1,1,1,1}, int64[2] z = {0,0}, int64[1] one = {1}> "
        "{ s = Shape(x) t = Gather<axis=0>(s, one) l = Concat<axis=0>(one, t) k = Slice(e, z, l) a = Add(x, k) "
        "y = Concat<axis=1>(a, a) }",
        (5, 3),
        4,
    ),
    "axes of unknown size say nothing": (
        "m (float[N,3] x) => (float[N,k] y) { i = NonZero(x) y = MatMul(x, x) }",
        (3, 3),
        8,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_rows_in_cache(case, monkeypatch):
    monkeypatch.setattr(chunk_size, "_CACHE_BYTES", 96)
    monkeypatch.setattr(chunk_size, "threads", lambda: 1)
    text, shape, expected = CASES[case]
    assert chunk_size.rows_in_cache(prepare(parse(text)), {"x": shape}) == expected


@pytest.mark.parametrize(("count", "expected"), [(1, 2), (2, 4), (3, 6), (4, 8), (40, 8)])
def test_threads_have_a_part_of_it_each(count, expected, monkeypatch):
    monkeypatch.setattr(chunk_size, "_CACHE_BYTES", 96)
    monkeypatch.setattr(chunk_size, "_CACHE_BYTES_OF_THREAD", 24)
    monkeypatch.setenv("OMP_NUM_THREADS", str(count))
    assert chunk_size.rows_in_cache(prepare(parse(CUBE)), {"x": (5, 3)}) == expected
    assert chunk_size.rows_in_cache(prepare(parse(CUBE)), {"x": (5, 3)}, once=True) == 8


def test_each_thread_has_a_row_if_the_cache_holds_them(monkeypatch):
    monkeypatch.setattr(chunk_size, "_CACHE_BYTES", 36)
    monkeypatch.setattr(chunk_size, "_CACHE_BYTES_OF_THREAD", 9)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert chunk_size.rows_in_cache(prepare(parse(CUBE)), {"x": (5, 3)}) == 2


@pytest.mark.parametrize(("batch_size", "expected"), [(32, 4), (None, 4), (3, 3)])
def test_runs_hold_what_fits_and_no_more_than_asked_for(monkeypatch, batch_size, expected):
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    options = {"steps": 6, "batch_size": batch_size}
    whole, sizes, run = (
        IntegratedGradients(parse(CUBE), **options).explain(x, np.ones((5, 3))),
        [],
        Session.run,
    )

    def recorded(session, feeds):
        sizes.append(len(feeds.get("onnxattr/row", [])))
        return run(session, feeds)

    monkeypatch.setattr(chunk_size, "_CACHE_BYTES", 48)
    monkeypatch.setattr(Session, "run", recorded)
    found = IntegratedGradients(parse(CUBE), **options).explain(x, np.ones((5, 3)))
    np.testing.assert_allclose(found, whole, rtol=1e-5)
    assert max(sizes) == expected
    assert sum(sizes) == 5 * 6
