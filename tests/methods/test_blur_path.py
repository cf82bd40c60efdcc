"""Blur Integrated Gradients: against its formula with SciPy's blurs in float64, and as the authors' code adds it up."""

from functools import partial

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from support.small_models import SMALL, build, elementwise, mlp, node, rows
from support.tiny_graphs import parse

import onnxattr
from onnxattr import BlurIG, IntegratedGradients, NoiseTunnel
from onnxattr.errors import ParameterError

IMAGE, SERIES = (9, 8, 3), (12, 2)
SPACE = {IMAGE: (1, 2), SERIES: (1,)}
X = {shape: rows(5, *shape).astype(np.float64) for shape in SPACE}
LARGEST, STEPS = 3.1, 7


def blurred(x, sigma, truncate=8):
    space = SPACE[x.shape[1:]]
    return gaussian_filter(
        x, [sigma if axis in space else 0 for axis in range(x.ndim)], mode="constant", truncate=truncate
    )


def slope(x, sigma, step=1e-4):
    return (blurred(x, sigma + step) - blurred(x, max(sigma - step, 0))) / (step + min(step, sigma))


def of_cubes(x, steps=STEPS):
    """For f = x^3, by the trapezoid rule."""
    sigmas = np.linspace(LARGEST, 0, steps)
    values = np.stack([-3 * blurred(x, sigma) ** 2 * slope(x, sigma) for sigma in sigmas])
    return LARGEST / (steps - 1) * (values.sum(0) - (values[0] + values[-1]) / 2)


def by_the_authors(x, steps=STEPS, grad_step=1e-4, truncate=8):
    """The loop of their published code, where the step is 0.01 and kernels end at 4 sigma."""
    sigmas = [i * LARGEST / steps for i in range(steps + 1)]
    total = np.zeros_like(x)
    for i in range(steps):
        copy = blurred(x, sigmas[i], truncate)
        gradient = (blurred(x, sigmas[i] + grad_step, truncate) - copy) / grad_step
        total += (sigmas[i + 1] - sigmas[i]) * gradient * 3 * copy**2
    return -total


def close(found, expected, tolerance=1e-4):
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("shape", SPACE)
def test_formula_in_every_rendering(shape, tmp_path):
    x, ones = X[shape], np.ones((3, *shape))
    expected = of_cubes(x)
    gap = (expected - (x**3 - blurred(x, LARGEST) ** 3)).reshape(3, -1).sum(1)
    assert np.abs(gap).min() > 0.01
    for size in (1, 4, None):
        method = BlurIG(elementwise(shape), steps=STEPS, max_sigma=LARGEST, reducer=None, batch_size=size)
        close(method.explain(x, ones), expected)
        np.testing.assert_allclose(method.convergence_delta(x, ones), gap, rtol=0, atol=1e-3)
        if size is not None:
            method.export(tmp_path / "e.onnx", "loop")
            close(onnxattr.load(tmp_path / "e.onnx").explain(x, ones), expected)
    method.export(tmp_path / "e.onnx", "batch")
    loaded = onnxattr.load(tmp_path / "e.onnx")
    close(loaded.explain(x, ones), expected)
    np.testing.assert_allclose(loaded.convergence_delta(x, ones), gap, rtol=0, atol=1e-3)


@pytest.mark.parametrize("shape", SPACE)
def test_the_authors_sum(shape):
    method = BlurIG(
        elementwise(shape), steps=STEPS, max_sigma=LARGEST, reducer=None, quadrature="riemann_right"
    )
    close(method.explain(X[shape], np.ones((3, *shape))), by_the_authors(X[shape]), 2e-4)
    close(method.explain(X[shape], np.ones((3, *shape))), by_the_authors(X[shape], STEPS, 0.01, 4), 2e-2)


@pytest.mark.parametrize("name", ["cnn_nhwc", "cnn_nchw", "series"])
def test_networks_add_up(name):
    """To f(x) - f(blurred x), but for the kinks that the points miss."""
    small, gaps = SMALL[name](), []
    for steps in (100, 1600):
        method = BlurIG(small.model, steps=steps, max_sigma=4, reducer=None, batch_size=None)
        gaps.append(np.abs(method.convergence_delta(small.given, [0, 2, 1])).sum())
    assert method.relative_gap(small.given, [0, 2, 1]).max() < 0.02
    assert gaps[1] < 0.2 * gaps[0]


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-4), (np.float16, 3e-2)])
def test_other_dtypes(dtype, tolerance):
    x = X[SERIES].astype(dtype).astype(np.float64)
    method = BlurIG(elementwise(SERIES, dtype), steps=STEPS, max_sigma=LARGEST, reducer=None)
    close(method.explain(x, np.ones((3, *SERIES))), of_cubes(x), tolerance)


def test_in_a_noise_tunnel():
    x, ones = X[SERIES], np.ones((3, *SERIES))
    method = BlurIG(elementwise(SERIES), steps=STEPS, max_sigma=LARGEST, reducer=None)
    close(NoiseTunnel(method, nb_samples=2, noise=1e-6).explain(x, ones), of_cubes(x), 2e-4)


WRONG = {
    "sigma": ({"max_sigma": 0}, ["max_sigma=0", "above 0"]),
    "steps": ({"steps": 1}, ["steps=1"]),
    "quadrature": ({"quadrature": "simpson"}, ["'simpson'", "'trapezoid'"]),
    "baseline": ({"baseline_value": 0.0}, ["baseline_value", "max_sigma"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_parameters(case):
    options, fragments = WRONG[case]
    with pytest.raises(ParameterError) as error:
        BlurIG(elementwise(SERIES), **options)
    assert all(fragment in str(error.value) for fragment in fragments), error.value


def test_tables_are_refused(tmp_path):
    proto = mlp().model
    proto.metadata_props.add(key="onnxattr.features", value='{"x": ["a", "b", "c", "d", "e", "f"]}')
    with pytest.raises(ParameterError, match=r"BlurIG is for images and series.*a table"):
        BlurIG(proto)
    with pytest.raises(ParameterError, match="BlurIG is for images and series"):
        BlurIG(build([node("Add", ["x", "x"], ["y"])], {"x": ["N"]}, {"y": ["N"]}))
    with pytest.raises(ParameterError, match="blurred copy is made there"):
        BlurIG(elementwise(SERIES)).export(tmp_path / "e.onnx", baseline_input=True)


@pytest.mark.parametrize("method", [BlurIG, partial(IntegratedGradients, baseline_value="blur")])
def test_series_whose_convolution_has_two_axes_are_blurred_along_time(method):
    """Behind an Unsqueeze, channels first as without it; once they were blurred across channels."""
    rest = "t = Tanh(c) p = ReduceMean<keepdims=0>(t, a) y = MatMul(p, v) }"
    flat = parse(
        """m (float[N,2,9] x) => (float[N,2] y)
        <float[2,2,2] w = {1, -2, 0.5, 3, -1, 2, 0.25, 1}, float[2,2] v = {1, 2, -1, 0.5}, int64[1] a = {2}>
        { c = Conv(x, w) """
        + rest
    )
    deep = parse(
        """m (float[N,2,9] x) => (float[N,2] y)
        <float[2,2,1,2] w = {1, -2, 0.5, 3, -1, 2, 0.25, 1}, float[2,2] v = {1, 2, -1, 0.5},
         int64[2] a = {2, 3}, int64[1] at = {2}>
        { u = Unsqueeze(x, at) c = Conv(u, w) """
        + rest
    )
    x = np.random.default_rng(0).normal(size=(3, 2, 9)).astype(np.float32)
    expected = method(flat, steps=4).explain(x, 1)
    np.testing.assert_allclose(method(deep, steps=4).explain(x, 1), expected, rtol=1e-4, atol=1e-6)
