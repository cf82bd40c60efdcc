"""The noise of a seed: normal, independent in every direction, and the same however the work is cut."""

import numpy as np
import pytest
from scipy import stats
from support.small_models import SMALL, build, elementwise, node, rows

from onnxattr.attributions import SmoothGrad, SquareGrad, VarGrad
from onnxattr.compile.noise import SEEDS, draw_noise

METHODS = [SmoothGrad, SquareGrad, VarGrad]
SHAPE, DRAWS = (16, 63, 65), 16  # odd sizes: the generator makes pairs
SEED = 7
#: A statistic further from its expectation than this many standard errors would be a defect.
ERRORS = 5


@pytest.fixture(scope="module")
def noise():
    return draw_noise(SEED, SHAPE, DRAWS).astype(np.float64)


SEEDED = [SEED, 0, 1, 12345, SEEDS - 1]
STATISTICS = {
    "mean": (np.mean, 0, 1),
    "variance": (np.var, 1, 2),
    "skewness": (stats.skew, 0, 6),
    "excess kurtosis": (stats.kurtosis, 0, 24),
}


@pytest.mark.parametrize("seed", SEEDED)
@pytest.mark.parametrize("statistic", STATISTICS)
def test_moments(statistic, seed):
    function, expected, variance = STATISTICS[statistic]
    values = draw_noise(seed, SHAPE, DRAWS).astype(np.float64).ravel()
    assert abs(function(values) - expected) <= ERRORS * np.sqrt(variance / values.size)


@pytest.mark.parametrize("seed", SEEDED)
def test_distribution_is_normal(seed):
    values = draw_noise(seed, SHAPE, DRAWS).ravel()
    assert stats.kstest(values[: 2**18], "norm").pvalue > 1e-3
    assert 4.5 < np.abs(values).max() < 6.7


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_each_draw_row_line_and_column_has_mean_0_and_variance_1(noise, axis):
    others = tuple(i for i in range(4) if i != axis)
    count = noise.size // noise.shape[axis]
    assert np.abs(noise.mean(axis=others)).max() <= ERRORS / np.sqrt(count)
    assert np.abs(noise.var(axis=others) - 1).max() <= ERRORS * np.sqrt(2 / count)


def flat(noise):
    return noise.reshape(DRAWS, SHAPE[0], -1)


HALF = (np.prod(SHAPE[1:]) + 1) // 2  # elements this far apart share one pair of uniforms
PAIRS = {
    **{
        f"elements {lag} apart": lambda n, lag=lag: (flat(n)[..., lag:], flat(n)[..., :-lag])
        for lag in (1, 2, 3, SHAPE[2], HALF - 1, HALF, HALF + 1)
    },
    "next draw": lambda n: (n[1:], n[:-1]),
    "next row": lambda n: (n[:, 1:], n[:, :-1]),
    "next draw of the next row": lambda n: (n[1:, 1:], n[:-1, :-1]),
    "next draw, next element": lambda n: (flat(n)[1:, :, 1:], flat(n)[:-1, :, :-1]),
    "draw and row exchanged": lambda n: (n, n.swapaxes(0, 1)),
    "next seed": lambda n: (n, draw_noise(SEED + 1, SHAPE, DRAWS)),
    "next seed, next draw": lambda n: (n[1:], draw_noise(SEED + 1, SHAPE, DRAWS)[:-1]),
    "next seed, next row": lambda n: (n[:, 1:], draw_noise(SEED + 1, SHAPE, DRAWS)[:, :-1]),
    "other input": lambda n: (n, draw_noise(SEED, SHAPE, DRAWS, position=1)),
    "other input, next seed": lambda n: (n, draw_noise(SEED + 1, SHAPE, DRAWS, position=1)),
    "other input, seed before": lambda n: (n, draw_noise(SEED - 1, SHAPE, DRAWS, position=1)),
}


@pytest.mark.parametrize("power", [1, 2], ids=["values", "squares"])
@pytest.mark.parametrize("pair", PAIRS)
def test_independence(noise, pair, power):
    a, b = (np.asarray(part, np.float64) for part in PAIRS[pair](noise))
    same = a == b  # the diagonal where draws and rows change places
    a, b = a[~same] ** power, b[~same] ** power
    assert a.size > 0.4 * noise.size
    assert abs(np.corrcoef(a, b)[0, 1]) <= ERRORS / np.sqrt(a.size)


def test_any_two_rows_of_any_two_draws_are_uncorrelated(noise):
    lines = noise.reshape(DRAWS * SHAPE[0], -1)
    correlations = np.corrcoef(lines)[np.triu_indices(len(lines), 1)]
    assert correlations.size == 32640
    assert np.abs(correlations).max() <= (ERRORS + 0.5) / np.sqrt(lines.shape[1])


@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (3, 2), (1, 7), (2, 3, 5, 1), (1, 2, 3, 2, 2)])
def test_any_shape(shape):
    values = draw_noise(SEED, shape, 5)
    assert values.shape == (5, *shape)
    assert values.dtype == np.float32
    assert len(np.unique(values)) == values.size


def test_a_long_input_looked_at_in_parts():
    whole = draw_noise(SEED, (9, 5), 4)
    parts = [draw_noise(SEED, (3, 5), 4, first_row=start) for start in (0, 3, 6)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


CUBE = elementwise([6])
X = rows(1, 6).repeat(3, axis=0)  # equal rows: their noise must differ
ONES = np.ones_like(X)


def cube(method, given=X, targets=ONES, **options):
    return method(CUBE, nb_samples=8, **options).explain(given, targets)


@pytest.mark.parametrize("method", METHODS)
def test_maps_are_those_of_the_drawn_noise(method):
    gradients = 3 * (X + 0.5 * draw_noise(SEED, X.shape, 8).astype(np.float64)) ** 2
    expected = {
        SmoothGrad: gradients.mean(axis=0),
        SquareGrad: (gradients**2).mean(axis=0),
        VarGrad: gradients.var(axis=0, ddof=1),
    }[method]
    maps = cube(method, seed=SEED, noise=0.5)
    np.testing.assert_allclose(maps, expected, rtol=2e-5, atol=1e-5 * expected.max())
    assert np.abs(maps[0] - maps[1]).max() > 0.01


@pytest.mark.parametrize("batch_size", [1, 2, 7, 8, 9, 71, 72, None])
@pytest.mark.parametrize("method", METHODS)
def test_same_maps_at_any_chunking(method, batch_size):
    expected = cube(method, seed=SEED, batch_size=32)
    maps = cube(method, seed=SEED, batch_size=batch_size)
    np.testing.assert_allclose(maps, expected, rtol=2e-6, atol=1e-6 * expected.max())


@pytest.mark.parametrize("method", METHODS)
def test_same_maps_from_a_stream(method):
    whole = cube(method, seed=SEED)
    stream = ((X[i : i + 4], ONES[i : i + 4]) for i in range(0, 9, 4))
    np.testing.assert_allclose(cube(method, stream, None, seed=SEED), whole, rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", [1, 2, 2**16, SEEDS - 1, np.int64(3)])
def test_a_seed_repeats_and_another_one_differs(method, seed):
    first, again, other = cube(method, seed=seed), cube(method, seed=seed), cube(method)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01 * np.abs(other).max()


def test_inputs_of_one_model_get_noise_of_their_own():
    nodes = [
        node("Mul", ["a", "a"], ["aa"]), node("Mul", ["b", "b"], ["bb"]), node("Add", ["aa", "bb"], ["y"]),
    ]  # fmt: skip
    model = build(nodes, {"a": ["N", 4], "b": ["N", 4]}, {"y": ["N", 4]})
    a = rows(1, 4)
    method = SmoothGrad(model, nb_samples=6, noise=0.5, seed=SEED)
    maps = method.explain({"a": a, "b": a}, np.ones((3, 4)))
    for position, name in enumerate("ab"):
        drawn = draw_noise(SEED, a.shape, 6, position=position).mean(axis=0)
        np.testing.assert_allclose(maps[name], 2 * (a + 0.5 * drawn), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("nb_samples", [2, 50])
@pytest.mark.parametrize(
    ("method", "expected"),
    [(SmoothGrad, 3 * X**2), (SquareGrad, (3 * X**2) ** 2), (VarGrad, np.zeros_like(X))],
)
def test_without_noise_the_statistics_are_those_of_one_gradient(method, expected, nb_samples):
    maps = method(CUBE, nb_samples=nb_samples, noise=0).explain(X, ONES)
    np.testing.assert_allclose(maps, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("method", METHODS)
def test_small_noise_goes_to_the_case_without(method):
    case = SMALL["mlp"]()
    maps = [method(case.model, noise=noise).explain(case.given, [0, 1, 2]) for noise in (0, 1e-6)]
    np.testing.assert_allclose(maps[1], maps[0], rtol=1e-4, atol=1e-5)
