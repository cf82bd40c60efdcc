"""Points of a path placed where they are needed: exported files and bad parameters."""

import numpy as np
import pytest
from support.path_with_kinks import LABELS, X, as_list, exact, kinks, method, mixed
from support.small_models import SMALL

from onnxattr import IntegratedGradients, NoiseTunnel, load
from onnxattr.errors import ParameterError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


EXPORTED = {
    "chunks of 32": (kinks, {}, np.float32),
    "chunks of 1": (kinks, {"batch_size": 1}, np.float32),
    "no chunks": (kinks, {"batch_size": None}, np.float32),
    "a fixed batch": (lambda: kinks(batch=1), {}, np.float32),
    "float16": (lambda: kinks(np.float16), {"tolerance": 0.05}, np.float16),
    "one sample": (mixed, {}, np.float32),
    "mean": (kinks, {"baseline_value": "mean"}, np.float32),
    "uniform": (kinks, {"baseline_value": "uniform", "seed": 3}, np.float32),
    "two inputs": (lambda: SMALL["two_inputs"]().model, {"tolerance": 0.05}, np.float32),
    "a coarse tolerance": (kinks, {"tolerance": 0.1}, np.float32),
    "several points at once": (kinks, {"tolerance": 0.0101}, np.float32),
    "images": (lambda: SMALL["cnn_nchw"]().model, {}, np.float32),
}


@pytest.mark.parametrize("name", EXPORTED)
def test_exported_adaptive_points(name, tmp_path):
    """A file takes the same points as ``explain``, for each row until it is within the tolerance."""
    build_model, options, dtype = EXPORTED[name]
    tolerance = options.get("tolerance", 0.02)
    options = {"points": "adaptive", "tolerance": 0.02, "max_steps": 300, "progress": False} | options
    refined = IntegratedGradients(build_model(), **options)
    x, target = X.astype(dtype), LABELS
    if name in ("two inputs", "images"):
        x, target = SMALL["two_inputs" if name == "two inputs" else "cnn_nchw"]().given, np.array([1, 0, 1])
    if name == "one sample":
        x, target = X[:3], np.ones((3, 4), np.float32)
    if name == "a fixed batch":
        x, target = X[:1], LABELS[:1]
    refined.export(tmp_path / "e.onnx")
    file = load(tmp_path / "e.onnx", seed=options.get("seed", 0))
    found, expected = as_list(file.explain(x, target)), as_list(refined.explain(x, target))
    assert (file.gaps <= tolerance * 1.01).all()
    np.testing.assert_array_equal(file.spent_steps, refined.spent_steps)
    assert (file.spent_steps < 300).all()
    for a, b in zip(found, expected, strict=True):
        assert np.abs(a - b).max() <= (1e-3 if name == "float16" else 1e-5) * np.abs(b).max()


def test_exported_rows_are_apart_and_bounded(tmp_path):
    """A row's points do not depend on the others; none takes more than ``max_steps``."""
    method(points="adaptive", tolerance=1e-6, max_steps=31).export(tmp_path / "e.onnx")
    file = load(tmp_path / "e.onnx", check_finite="ignore")
    maps, spent = file.explain(X, LABELS), file.spent_steps
    assert spent.max() == 31
    np.testing.assert_array_equal(file(X, LABELS).spent_steps, spent)
    for row in (0, 3, 6):
        np.testing.assert_allclose(
            file.explain(X[row : row + 1], LABELS[row : row + 1])[0], maps[row], rtol=1e-6
        )
    fixed = method(points="adaptive", steps=30)
    fixed.export(tmp_path / "fixed.onnx")
    file = load(tmp_path / "fixed.onnx")
    np.testing.assert_allclose(
        file.explain(X, LABELS), exact(X, LABELS), rtol=0, atol=0.05 * np.abs(maps).max()
    )
    np.testing.assert_array_equal(file.spent_steps, 30)


@pytest.mark.parametrize(
    ("options", "rendering", "words"),
    [
        ({"points": "adaptive"}, "batch", "adaptive points follow from those before them"),
        ({"tolerance": 0.1}, "auto", "adds points while explain"),
    ],
)
def test_what_cannot_be_exported(options, rendering, words, tmp_path):
    with pytest.raises(ParameterError, match=words):
        method(**options).export(tmp_path / "e.onnx", rendering)
    assert not (tmp_path / "e.onnx").exists()


@pytest.mark.parametrize("options", [{"points": "adaptive"}, {"tolerance": 0.1}])
def test_no_background(options):
    with pytest.raises(ParameterError, match="all members have paths with the same points"):
        method(background=X[:3], **options)


def test_a_tunnel_around_it():
    """Adaptive points are placed at every noisy copy; uniform ones with a tolerance cannot be, in a graph."""
    tunnel = NoiseTunnel(method(points="adaptive", tolerance=0.01), nb_samples=4, noise=0.1, seed=5)
    fine = NoiseTunnel(method(steps=400), nb_samples=4, noise=0.1, seed=5)
    expected = fine.explain(X, LABELS)
    np.testing.assert_allclose(tunnel.explain(X, LABELS), expected, rtol=0, atol=0.1 * np.abs(expected).max())
    with pytest.raises(ParameterError, match="a fixed number of steps"):
        NoiseTunnel(method(tolerance=0.1))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"points": "random"}, r"points='random': expected one of \('uniform', 'adaptive'\)"),
        ({"tolerance": 0}, "tolerance=0: expected a share"),
        ({"tolerance": -0.1}, "tolerance=-0.1"),
        ({"tolerance": "1%"}, "tolerance='1%'"),
        ({"tolerance": True}, "tolerance=True"),
        ({"tolerance": float("nan")}, "tolerance=nan"),
        ({"max_steps": 100}, "max_steps=100 limits the points that tolerance= adds"),
        ({"max_steps": 40, "tolerance": 0.1}, "max_steps=40: expected an integer from 50 on"),
        (
            {"max_steps": 1, "tolerance": 0.1, "points": "adaptive"},
            "max_steps=1: expected an integer from 2 on",
        ),
        ({"max_steps": 9.5, "tolerance": 0.1}, "max_steps=9.5"),
        ({"points": "adaptive", "quadrature": "gauss_legendre"}, "adaptive points need 'trapezoid'"),
    ],
)
def test_bad_parameters(options, words):
    with pytest.raises(ParameterError, match=words):
        method(**options)
