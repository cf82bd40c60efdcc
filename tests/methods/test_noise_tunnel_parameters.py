"""Parameters of a NoiseTunnel: noise, seeds, nested tunnels, small variances, and errors."""

import numpy as np
import pytest
from support.explained import close
from support.noisy_copies import (
    DRAWS,
    KINDS,
    LABELS,
    METHODS,
    NOISE,
    SEED,
    Gradient,
    agrees,
    everywhere,
    explicit,
    maps_of,
    small,
    tunnel,
)
from support.small_models import build, mlp, node, rows

import onnxattr
from onnxattr import attributions
from onnxattr.compile.noise import draw_noise
from onnxattr.errors import OnnxAttrError, ParameterError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.mark.parametrize("kind", KINDS)
def test_relative_noise_is_a_share_of_each_samples_range(kind, tmp_path):
    case = small("nhwc")
    given = case.given * np.array([1, 3, 0.2], np.float32).reshape(3, 1, 1, 1)
    spread = np.ptp(given, axis=(1, 2, 3), keepdims=True)

    def make(batch_size):
        inner = attributions.GradientInput(case.model, batch_size=batch_size, progress=False)
        return tunnel(inner, kind, noise_kind="relative")

    expected = explicit(make(None).method, given, kind, noise=NOISE * spread)
    everywhere(make, given, expected, 2e-5 if kind == "variance" else 2e-6, tmp_path)


def test_without_noise_every_draw_is_x(tmp_path):
    case = small("nchw")
    for method in ("GradCAM", "IntegratedGradients"):
        inner = getattr(attributions, method)(case.model, batch_size=8, **METHODS[method])
        expected = inner.explain(case.given, LABELS)
        for kind, of in (("mean", expected), ("square", expected**2), ("variance", 0 * expected)):
            still = attributions.NoiseTunnel(inner, DRAWS, 0, kind)
            np.testing.assert_allclose(
                still.explain(case.given, LABELS), of, rtol=1e-6, atol=1e-7 * np.abs(of).max()
            )
            still.export(tmp_path / "tunnel.onnx")
            found = onnxattr.load(tmp_path / "tunnel.onnx").explain(case.given, LABELS)
            np.testing.assert_allclose(found, of, rtol=1e-6, atol=1e-7 * np.abs(of).max())


@pytest.mark.parametrize("inner", ["SmoothGrad", "VarGrad", "NoiseTunnel"])
def test_noise_inside_noise(inner, tmp_path):
    """Other draws inside than outside, the same at any bound: the mean tends to that with the noise of both."""
    case = mlp()

    def make(batch_size, draws=DRAWS, own=3):
        if inner == "NoiseTunnel":
            method = attributions.NoiseTunnel(Gradient(case.model, batch_size=batch_size), own, 0.1)
        else:
            method = getattr(attributions, inner)(
                case.model, batch_size=batch_size, nb_samples=own, noise=0.1
            )
        return attributions.NoiseTunnel(method, draws, NOISE, seed=SEED)

    reference = make(None)
    expected = maps_of(reference.explain(case.given, LABELS))
    if inner == "VarGrad":
        agrees(maps_of(make(1).explain(case.given, LABELS)), expected, 5e-6)
    else:
        everywhere(make, case.given, expected, 5e-6, tmp_path)
    close(maps_of(reference.explain(case.given, LABELS)), expected)
    assert not np.allclose(maps_of(make(None, 2 * DRAWS).explain(case.given, LABELS)), expected)
    if inner == "VarGrad":
        return
    many = make(None, 40, 40).explain(case.given, LABELS)
    both = attributions.SmoothGrad(case.model, nb_samples=1600, noise=np.hypot(NOISE, 0.1), batch_size=None)
    wanted = both.explain(case.given, LABELS)
    assert np.abs(many - wanted).max() < 0.25 * np.abs(wanted).max()


def test_a_seed_gives_the_same_and_another_does_not():
    case = small("nchw")
    made = [
        tunnel(attributions.GradCAM(case.model), seed=seed).explain(case.given, LABELS) for seed in (5, 5, 6)
    ]
    np.testing.assert_array_equal(made[0], made[1])
    assert not np.allclose(made[0], made[2])
    own = attributions.NoiseTunnel(attributions.GradCAM(case.model, seed=5), DRAWS, NOISE)
    np.testing.assert_array_equal(own.explain(case.given, LABELS), made[0])
    part = tunnel(attributions.GradCAM(case.model)).explain(
        batch for batch in (case.given[:1], case.given[1:])
    )
    whole = tunnel(attributions.GradCAM(case.model)).explain(case.given)
    close(part, whole)


def test_a_small_variance_around_a_large_attribution():
    """f = sum(1000 x + 0.005 x^2): the gradient is 1000 + 0.01 x, its variance under noise 0.3 is 9e-6."""
    nodes = [
        node("Mul", ["x", "x"], ["square"]), node("Mul", ["square", "a"], ["bent"]),
        node("Mul", ["x", "b"], ["line"]),
        node("Add", ["bent", "line"], ["both"]), node("ReduceSum", ["both", "axis"], ["y"], keepdims=1),
    ]  # fmt: skip
    model = build(
        nodes,
        {"x": ["N", 4]},
        {"y": ["N", 1]},
        {"a": np.float32(0.005), "b": np.float32(1000), "axis": np.array([1])},
    )
    x = rows(3, 4)
    found = tunnel(Gradient(model), "variance").explain(x, np.ones((3, 1)))
    gradients = 1000 + 0.01 * (x + np.float32(NOISE) * draw_noise(SEED, x.shape, DRAWS))
    np.testing.assert_allclose(
        found, gradients.astype(np.float32).astype(np.float64).var(axis=0, ddof=1), rtol=0.1
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "median"}, "kind='median': expected one of"),
        ({"noise_kind": "percent"}, "noise_kind='percent': expected one of"),
        ({"nb_samples": 0}, "nb_samples=0: expected an integer from 1 on"),
        ({"nb_samples": 1, "kind": "variance"}, "nb_samples=1: expected an integer from 2 on"),
        ({"nb_samples": 2.5}, "nb_samples=2.5"),
        ({"noise": -1}, "noise=-1"),
        ({"noise": np.nan}, "noise=nan"),
        ({"noise": "much"}, "noise='much'"),
        ({"noise": True}, "noise=True"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_bad_parameters(options, message):
    method = attributions.Saliency(mlp().model)
    with pytest.raises(ParameterError, match=message):
        attributions.NoiseTunnel(method, **options)


def test_what_is_no_method():
    for given in ("model.onnx", attributions.Saliency, None):
        with pytest.raises(OnnxAttrError, match="expected a method on a model"):
            attributions.NoiseTunnel(given)
    with pytest.raises(ParameterError, match="noise=0: the tunnel would add no noise to that of SmoothGrad"):
        attributions.NoiseTunnel(attributions.SmoothGrad(mlp().model), noise=0)
