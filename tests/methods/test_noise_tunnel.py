"""NoiseTunnel against the statistics of a method's own explanations of noisy copies, in every rendering."""

import numpy as np
import onnx
import pytest
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
from support.small_models import SMALL, build, embedding, mlp, rows

import onnxattr
from onnxattr import attributions
from onnxattr.compile.noise import draw_noise
from onnxattr.errors import ParameterError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
NOISY = {"mean": "SmoothGrad", "square": "SquareGrad", "variance": "VarGrad"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["cnn_nhwc", "mlp", "two_inputs"])
def test_around_a_gradient(name, kind, tmp_path):
    """To the last bit at the same bound; at others to rounding."""
    case = SMALL[name]()
    for batch_size in (1, 7):
        options = {"reducer": None, "batch_size": batch_size}
        own = getattr(attributions, NOISY[kind])(
            case.model, nb_samples=DRAWS, noise=NOISE, seed=SEED, **options
        )
        made = tunnel(Gradient(case.model, **options), kind)
        found, expected = (maps_of(method.explain(case.given, LABELS)) for method in (made, own))
        np.testing.assert_array_equal(found, expected)
        for rendering in ("batch", "loop") if (batch_size, name) == (7, "cnn_nhwc") else ():
            for method, path in ((made, "tunnel.onnx"), (own, "own.onnx")):
                method.export(tmp_path / path, rendering)
            found, expected = (
                maps_of(onnxattr.load(tmp_path / path, seed=SEED).explain(case.given, LABELS))
                for path in ("tunnel.onnx", "own.onnx")
            )
            agrees(found, expected, 1e-6)


@pytest.mark.parametrize(("name", "method", "kind"), [
    *(("nchw", method, "mean") for method in METHODS), ("series", "GradCAM", "mean"), ("nhwc", "GradCAM", "square"),
    ("nhwc", "GradCAM", "variance"), ("nhwc", "IntegratedGradients", "variance"),
    ("last state", "Saliency", "mean"), ("last state", "Saliency", "variance"),
])  # fmt: skip
def test_around_any_method(name, method, kind, tmp_path):
    case = small(name)

    def make(batch_size):
        inner = getattr(attributions, method)(
            case.model, batch_size=batch_size, progress=False, **METHODS[method]
        )
        return tunnel(inner, kind)

    expected = explicit(make(None).method, case.given, kind)
    assert np.abs(expected).max() > 0
    everywhere(make, case.given, expected, 2e-5 if kind == "variance" else 2e-6, tmp_path)


def test_several_inputs_get_noise_each(tmp_path):
    case = SMALL["two_inputs"]()

    def make(batch_size):
        return tunnel(
            attributions.IntegratedGradients(case.model, steps=3, reducer=None, batch_size=batch_size)
        )

    everywhere(make, case.given, explicit(make(None).method, case.given, "mean"), 2e-6, tmp_path)
    only = tunnel(Gradient(case.model, wrt="image", reducer=None))
    own = attributions.SmoothGrad(
        case.model, wrt="image", reducer=None, nb_samples=DRAWS, noise=NOISE, seed=SEED
    )
    np.testing.assert_array_equal(only.explain(case.given, LABELS), own.explain(case.given, LABELS))


def test_a_cam_of_two_inputs_gets_noise_at_the_inputs_before_the_layer(tmp_path):
    case = SMALL["two_inputs"]()
    image, features = case.inputs.values()
    expected = []
    method = attributions.GradCAM(case.model)
    for e in draw_noise(SEED, image.shape, DRAWS):
        noisy = {"image": image + np.float32(NOISE) * e, "features": features}
        expected.append(method.explain(noisy, [1, 2, 0]))
    everywhere(
        lambda batch_size: tunnel(attributions.GradCAM(case.model, batch_size=batch_size)),
        case.given, maps_of(np.mean(expected, axis=0)), 2e-6, tmp_path, np.array([1, 2, 0]),
    )  # fmt: skip


def test_a_value_inside_the_model_gets_noise_before_it(tmp_path):
    """At the input where that is of floats."""
    case = mlp()

    def make(batch_size):
        return tunnel(
            attributions.IntegratedGradients(case.model, wrt="active", steps=4, batch_size=batch_size)
        )

    everywhere(make, case.given, explicit(make(None).method, case.given, "mean"), 2e-6, tmp_path)


@pytest.mark.parametrize("kind", ["mean", "variance"])
def test_an_embedding_gets_noise_itself(kind, tmp_path):
    case = embedding()
    own = getattr(attributions, NOISY[kind])(
        case.model, wrt="embedded", nb_samples=DRAWS, noise=NOISE, seed=SEED, batch_size=None
    )
    expected = maps_of(own.explain(case.given, LABELS))
    everywhere(
        lambda batch_size: tunnel(Gradient(case.model, wrt="embedded", batch_size=batch_size), kind),
        case.given, expected, 2e-6, tmp_path,
    )  # fmt: skip

    if kind == "variance":
        return

    def along(batch_size):
        return tunnel(
            attributions.IntegratedGradients(case.model, wrt="embedded", steps=4, batch_size=batch_size), kind
        )

    table = onnx.numpy_helper.to_array(case.model.graph.initializer[0])
    tail = build(
        list(case.model.graph.node)[1:], {"embedded": ["N", 7, 5]}, {"logits": ["N", 3]},
        {t.name: onnx.numpy_helper.to_array(t) for t in case.model.graph.initializer},
    )  # fmt: skip
    inner = attributions.IntegratedGradients(tail, steps=4)
    everywhere(along, case.given, explicit(inner, table[case.given], kind), 2e-6, tmp_path)


BASELINES = {
    "a row for each sample": lambda x: 0.1 * x[::-1],
    "blurred": lambda x: "blur",
    "a function": lambda x: lambda given: 0.5 * given,
}


@pytest.mark.parametrize("kind", BASELINES)
def test_baselines_of_the_method_inside(kind, tmp_path):
    """Those that are computed are computed at the copies; those that are given, for x itself, belong to its copies."""
    case, x = small("nchw"), small("nchw").given

    asked = BASELINES[kind](x)

    def inner(batch_size, baseline=asked):
        return attributions.IntegratedGradients(
            case.model, steps=3, baseline_value=baseline, batch_size=batch_size, progress=False
        )

    computed = (
        BASELINES["blurred"](x) if kind == "blurred" else {"a function": 0.5 * x}.get(kind, 0.1 * x[::-1])
    )
    expected = explicit(inner(None, computed), x, "variance")
    for batch_size in (2, None):
        agrees(maps_of(tunnel(inner(batch_size), "variance").explain(x, LABELS)), expected, 2e-5)
    if kind == "a function":
        return
    for rendering in ("batch", "loop"):
        tunnel(inner(2), "variance").export(tmp_path / "t.onnx", rendering, baseline_input=kind != "blurred")
        given = {} if kind == "blurred" else {"baseline": computed}
        loaded = onnxattr.load(tmp_path / "t.onnx", seed=SEED, **given)
        agrees(maps_of(loaded.explain(x, LABELS)), expected, 2e-5)


def test_background_sets(tmp_path):
    """Each copy is explained from the whole set; where members are drawn, others for each copy, the same anywhere."""
    case = mlp()
    background = rows(9, 6)

    def turns(batch_size):
        return tunnel(
            attributions.IntegratedGradients(
                case.model, steps=3, background=background, batch_size=batch_size
            )
        )

    everywhere(turns, case.given, explicit(turns(None).method, case.given, "mean"), 2e-6, tmp_path)

    def drawn(batch_size):
        options = {"nb_samples": 5, "background": background, "batch_size": batch_size}
        return tunnel(attributions.ExpectedGradients(case.model, **options))

    everywhere(drawn, case.given, maps_of(drawn(None).explain(case.given, LABELS)), 5e-6, tmp_path)


def test_points_that_are_placed_where_they_are_needed(tmp_path):
    """As the method's own file places them; those that only explain() can add are refused."""
    case = mlp()
    inner = attributions.IntegratedGradients(case.model, steps=6, points="adaptive", batch_size=3)
    inner.export(tmp_path / "inner.onnx")
    everywhere(
        lambda batch_size: tunnel(
            attributions.IntegratedGradients(case.model, steps=6, points="adaptive", batch_size=batch_size)
        ),
        case.given, explicit(onnxattr.load(tmp_path / "inner.onnx"), case.given, "mean"), 1e-5, tmp_path,
    )  # fmt: skip
    with pytest.raises(ParameterError, match=r"a tolerance and points='uniform'.*points='adaptive'"):
        tunnel(attributions.IntegratedGradients(case.model, tolerance=0.01))
