"""Where paths start: every kind of baseline, in every rendering, against closed forms in float64."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from support.baseline_kinds import IMAGE, OTHER, SERIES, SIGMA, SPACE, X, blurred, close, cubic, make
from support.small_models import SMALL, build, elementwise, node, rows, series

import onnxattr
from onnxattr import IntegratedGradients
from onnxattr.errors import ParameterError


def mean(x):
    return x.mean(SPACE[x.shape[1:]], keepdims=True) + 0 * x


#: By name: what is given for x, and the baseline that is meant, which broadcasts to x.
KINDS = {
    "number": lambda x: (0.5, 0.5),
    "list of numbers": lambda x: ([0.5] * x.shape[-1], 0.5),
    "one sample": lambda x: (OTHER[x.shape[1:]][0], OTHER[x.shape[1:]][:1]),
    "last axis": lambda x: (OTHER[x.shape[1:]][0].reshape(-1, x.shape[-1])[0],) * 2,
    "axes of 1": lambda x: (OTHER[x.shape[1:]][0][..., :1],) * 2,
    "row for each sample": lambda x: (OTHER[x.shape[1:]],) * 2,
    "one row": lambda x: (OTHER[x.shape[1:]][:1],) * 2,
    "rows with axes of 1": lambda x: (OTHER[x.shape[1:]].sum(tuple(range(1, x.ndim)), keepdims=True),) * 2,
    "blur": lambda x: ("blur", blurred(x)),
    "mean": lambda x: ("mean", mean(x)),
    "function": lambda x: (lambda given: np.flip(given, 1), np.flip(x, 1)),
    "function to one sample": lambda x: (lambda given: given.mean(0), x.mean(0)),
    "function to a number": lambda x: (lambda given: 0.25, 0.25),
    "tuple": lambda x: ((OTHER[x.shape[1:]],), OTHER[x.shape[1:]]),
    "dict": lambda x: ({"x": "mean"}, mean(x)),
}
IN_THE_FILE = {
    "number",
    "list of numbers",
    "one sample",
    "last axis",
    "axes of 1",
    "one row",
    "blur",
    "mean",
    "dict",
}
SHAPED = [(kind, shape) for kind in KINDS for shape in X]


@pytest.mark.parametrize(("kind", "shape"), SHAPED)
def test_every_kind_is_where_paths_start(kind, shape):
    x = X[shape]
    given, b = KINDS[kind](x)
    for size in (1, 4, None):
        close(make(shape, baseline_value=given, batch_size=size).explain(x, np.ones_like(x)), cubic(x, b))
    method = make(shape)
    expected = cubic(x, b)
    close(method.explain(x, np.ones_like(x), baselines=given), expected)
    delta = method.convergence_delta(x, np.ones_like(x), baselines=given)
    gap = (expected - (x**3 - b**3)).reshape(3, -1).sum(1)
    np.testing.assert_allclose(delta, gap, rtol=0, atol=1e-5 * np.abs(expected).sum())
    close(method.explain(x, np.ones_like(x)), cubic(x, 0.0))  # for that call alone


@pytest.mark.parametrize("rendering", ["batch", "loop"])
@pytest.mark.parametrize(("kind", "shape"), SHAPED)
def test_every_kind_in_files(kind, shape, rendering, tmp_path):
    x, path = X[shape], tmp_path / "e.onnx"
    given, b = KINDS[kind](x)
    method = make(shape, baseline_value=given, batch_size=4)
    if kind in IN_THE_FILE:
        method.export(path, rendering, target="weights")
        close(onnxattr.load(path).explain(x, np.ones_like(x)), cubic(x, b))
        return
    with pytest.raises(ParameterError, match="baseline_input=True"):
        method.export(path, rendering, target="weights")
    method.export(path, rendering, target="weights", baseline_input=True)
    if not callable(given):
        close(onnxattr.load(path, baseline=given).explain(x, np.ones_like(x)), cubic(x, b))
        close(onnxattr.load(path).explain(x, np.ones_like(x), baselines=given), cubic(x, b))


UNIFORM = build([node("Add", ["x", "x"], ["y"])], {"x": ["N", *IMAGE]}, {"y": ["N", *IMAGE]})


def drawn(x, **options):
    """The baseline, from f = 2 x, whose attribution is 2 (x - b)."""
    method = IntegratedGradients(UNIFORM, steps=2, reducer=None, baseline_value="uniform", **options)
    return x - method.explain(x, np.ones_like(x)) / 2


def test_uniform_noise_has_the_range_of_its_sample():
    x = (
        np.concatenate([rows(seed, *IMAGE) for seed in range(40)])
        * np.linspace(1, 50, 120)[:, None, None, None]
    )
    low, high = (edge(x, axis=(1, 2, 3), keepdims=True) for edge in (np.min, np.max))
    share = (drawn(x, seed=3) - low) / (high - low)
    assert -1e-4 < share.min() < 1e-3 < 1 - 1e-3 < share.max() < 1 + 1e-4
    counts, _ = np.histogram(share, 10, (0, 1))
    assert np.abs(counts - share.size / 10).max() < 5 * np.sqrt(share.size / 10)
    per_sample = share.reshape(len(x), -1)
    assert np.abs(np.corrcoef(per_sample)[~np.eye(len(x), dtype=bool)]).max() < 0.5  # samples are drawn apart


def test_uniform_noise_is_the_seed_s_in_every_rendering(tmp_path):
    x = rows(1, *IMAGE)
    expected = drawn(x, seed=7)
    assert np.abs(drawn(x, seed=8) - expected).max() > 0.1
    for size in (1, 4, None):
        np.testing.assert_allclose(drawn(x, seed=7, batch_size=size), expected, atol=1e-5)
    parts = IntegratedGradients(UNIFORM, steps=2, reducer=None, baseline_value="uniform", seed=7)
    dataset = [(x[:1], np.ones_like(x[:1])), (x[1:], np.ones_like(x[1:]))]
    np.testing.assert_allclose(x - parts.explain(iter(dataset)) / 2, expected, atol=1e-5)
    for rendering in ("batch", "loop"):
        parts.export(tmp_path / "e.onnx", rendering)
        found = onnxattr.load(tmp_path / "e.onnx", seed=7).explain(x, np.ones_like(x))
        np.testing.assert_allclose(x - found / 2, expected, atol=1e-5)


SMALLS = {"series": series, "channels first": SMALL["cnn_nchw"], "two inputs": SMALL["two_inputs"]}


def scipy_blur(name, x, sigma):
    """SciPy's blur along the axes of space of each input."""
    space = {"series": (1,), "image": (2, 3), "features": (1,)}[name]
    return gaussian_filter(x.astype(np.float64), [sigma if axis in space else 0 for axis in range(x.ndim)])


@pytest.mark.parametrize("sigma", [0.6, 3, 40])
@pytest.mark.parametrize("case", SMALLS)
def test_blur_is_scipy_s_on_networks(case, sigma):
    """Edges are mirrored, several times where the kernel is longer than the sample."""
    small = SMALLS[case]()
    blur = {name: scipy_blur(name, array, sigma) for name, array in small.inputs.items()}
    method = IntegratedGradients(small.model, steps=5, reducer=None, sigma=sigma)
    found = method.explain(small.inputs, [0, 2, 1], baselines="blur")
    expected = method.explain(small.inputs, [0, 2, 1], baselines=blur)
    for name in found if isinstance(found, dict) else ():
        close(found[name], expected[name])
    if not isinstance(found, dict):
        close(found, expected)


def test_open_sizes(tmp_path):
    """The matrices of a blur are made for the sizes that come."""
    x = rows(1, 9, 4).astype(np.float64)
    proto = elementwise(["T", 4])
    method = IntegratedGradients(
        proto, steps=2, reducer=None, sigma=SIGMA, baseline_value="blur", batch_size=3
    )
    method.export(tmp_path / "e.onnx", "loop")
    for part in (x, x[:, :3], x[:, :2]):
        b = gaussian_filter(part, [0, SIGMA, 0])
        close(method.explain(part, np.ones_like(part)), cubic(part, b))
        close(onnxattr.load(tmp_path / "e.onnx").explain(part, np.ones_like(part)), cubic(part, b))
        close(method.explain(part, np.ones_like(part), baselines=part[0, 0]), cubic(part, part[0, 0]))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float16, 2e-2), (np.float64, 1e-6)])
@pytest.mark.parametrize("kind", ["blur", "mean", "row for each sample", "function"])
def test_other_dtypes(kind, dtype, tolerance):
    x = X[SERIES].astype(dtype).astype(np.float64)
    given, b = KINDS[kind](x)
    method = IntegratedGradients(elementwise(SERIES, dtype), steps=2, sigma=SIGMA)
    close(method.explain(x, np.ones_like(x), baselines=given), cubic(x, b), tolerance)
