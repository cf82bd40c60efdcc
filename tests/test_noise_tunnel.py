"""NoiseTunnel against the statistics of a method's own explanations of noisy copies, in every rendering."""

import warnings
from functools import cache

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto
from support.explained import close
from support.small_models import (
    SMALL,
    Small,
    build,
    cnn_nchw,
    cnn_nhwc,
    embedding,
    mlp,
    node,
    random,
    rows,
    series,
)

import onnxattr
from onnxattr import attributions
from onnxattr.attributions.base import Attribution
from onnxattr.compile.method import Method, first_moment
from onnxattr.compile.noise import draw_noise
from onnxattr.errors import OnnxAttrError, ParameterError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

KINDS = {
    "mean": lambda maps: maps.mean(axis=0),
    "square": lambda maps: np.square(maps).mean(axis=0),
    "variance": lambda maps: maps.var(axis=0, ddof=1),
}
NOISY = {"mean": "SmoothGrad", "square": "SquareGrad", "variance": "VarGrad"}
DRAWS, NOISE, SEED = 4, 0.3, 5
LABELS = np.array([1, -1, 0])


class Gradient(Attribution):
    """g itself."""

    def _method(self):
        return Method(first_moment)


def tunnel(method, kind="mean", **options):
    return attributions.NoiseTunnel(method, DRAWS, NOISE, kind, **{"seed": SEED, "progress": False} | options)


def dict_of(given):
    return given if isinstance(given, dict) else {"x": given}


def maps_of(result):
    """The maps of all explained values in one array (N, ...)."""
    found = list(result.values()) if isinstance(result, dict) else [result]
    return np.concatenate([array.reshape(len(array), -1) for array in found], axis=1)


def explicit(method, given, kind, noise=NOISE, draws=DRAWS, seed=SEED, labels=LABELS):
    """The statistic in float64, from explanations of copies that get the same noise; the class is that of x."""
    arrays = dict_of(given)
    drawn = [
        draw_noise(seed, array.shape, draws, position=position)
        for position, array in enumerate(arrays.values())
    ]
    predicted = method.predict(given).argmax(axis=1)
    targets = np.where(labels < 0, predicted, labels)
    maps = []
    for draw in range(draws):
        noisy = {
            name: array + np.float32(noise) * e[draw]
            for (name, array), e in zip(arrays.items(), drawn, strict=True)
        }
        maps.append(maps_of(method.explain(noisy if isinstance(given, dict) else noisy["x"], targets)))
    return KINDS[kind](np.stack(maps).astype(np.float64))


def agrees(found, expected, tolerance):
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def everywhere(make, given, expected, tolerance, folder, labels=LABELS):
    """A tunnel driven at several bounds, and exported in both renderings."""
    for batch_size in (1, 3, None):
        made = make(batch_size)
        agrees(maps_of(made.explain(given, labels)), expected, tolerance)
        for rendering in ("batch", "loop") if batch_size == 3 else ():
            made.export(folder / "tunnel.onnx", rendering)
            loaded = onnxattr.load(folder / "tunnel.onnx", seed=SEED)
            agrees(maps_of(loaded.explain(given, labels)), expected, tolerance)
            close(loaded.predict(given), made.predict(given))


# Around a gradient it is SmoothGrad, SquareGrad and VarGrad


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


# Around any method


METHODS = {
    "Saliency": {},
    "IntegratedGradients": {"steps": 5, "baseline_value": 0.2},
    "GuidedBackprop": {},
    "GradCAM": {},
    "GradCAMPP": {"variant": "paper"},
    "LayerCAM": {"upsampling": None},
    "GuidedGradCAM": {"reducer": "max"},
}
MODELS = {"nchw": cnn_nchw, "nhwc": cnn_nhwc, "series": series}


@cache
def small(name) -> Small:
    return MODELS[name]()


@pytest.mark.parametrize(("name", "method", "kind"), [
    *(("nchw", method, "mean") for method in METHODS), ("series", "GradCAM", "mean"), ("nhwc", "GradCAM", "square"),
    ("nhwc", "GradCAM", "variance"), ("nhwc", "IntegratedGradients", "variance"),
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


# Parameters


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


# What passes through


def test_convergence_delta(tmp_path):
    """The mean of the draws' deltas; around a method without a path there is none."""
    case = mlp()
    inner = attributions.IntegratedGradients(case.model, steps=4, batch_size=3)
    made = tunnel(inner)
    targets = np.where(LABELS < 0, inner.predict(case.given).argmax(axis=1), LABELS)
    noisy = case.given + np.float32(NOISE) * draw_noise(SEED, case.given.shape, DRAWS)
    expected = np.mean([inner.convergence_delta(x, targets) for x in noisy], axis=0)
    np.testing.assert_allclose(made.convergence_delta(case.given, LABELS), expected, atol=2e-6)
    for rendering in ("batch", "loop"):
        made.export(tmp_path / "tunnel.onnx", rendering)
        loaded = onnxattr.load(tmp_path / "tunnel.onnx", seed=SEED)
        np.testing.assert_allclose(loaded.convergence_delta(case.given, LABELS), expected, atol=2e-6)
    for explanation in (made(case.given, LABELS), loaded(case.given, LABELS)):
        np.testing.assert_allclose(explanation.delta, expected, atol=2e-6)
        assert explanation.relative_gap is None
        assert explanation.baseline_scores is None
    square = tunnel(inner, "square")
    np.testing.assert_array_equal(
        square.convergence_delta(case.given, LABELS), inner.convergence_delta(case.given, LABELS)
    )
    with pytest.raises(ParameterError, match="Saliency has no path"):
        tunnel(attributions.Saliency(case.model)).convergence_delta(case.given, LABELS)


def test_the_file_says_what_it_is(tmp_path):
    made = tunnel(
        attributions.GradCAM(cnn_nchw().model, upsampling="bilinear"), "variance", noise_kind="relative"
    )
    made.export(tmp_path / "tunnel.onnx")
    about = onnxattr.load(tmp_path / "tunnel.onnx").metadata
    assert about["method"] == "NoiseTunnel"
    inner = about["parameters"].pop("method")
    assert about["parameters"] == {
        "nb_samples": DRAWS, "noise": NOISE, "kind": "variance", "noise_kind": "relative", "seed": SEED,
    }  # fmt: skip
    assert inner["method"] == "GradCAM"
    assert inner["parameters"]["upsampling"] == "bilinear"
    assert list(about["explained"]) == ["c2"]
    assert made.explained == ("c2",)


def test_sizes_that_are_free(tmp_path):
    """A convolution on images of any size: the loop starts from zeros of a shape that the run tells."""
    nodes = [
        node("Conv", ["x", "k1"], ["c1"], pads=[1] * 4, strides=[2, 2]), node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "k2"], ["c2"], pads=[1] * 4), node("Tanh", ["c2"], ["t"]),
        node("GlobalAveragePool", ["t"], ["g"]), node("Flatten", ["g"], ["y"]),
    ]  # fmt: skip
    weights = {"k1": 2 * random(1, 4, 2, 3, 3), "k2": 2 * random(2, 3, 4, 3, 3)}
    model = build(nodes, {"x": ["N", 2, "H", "W"]}, {"y": ["N", 3]}, weights)
    for method, kind in (("GradCAM", "mean"), ("Saliency", "variance")):
        x = rows(4, 2, 7, 9)

        def make(batch_size, method=method, kind=kind):
            return tunnel(getattr(attributions, method)(model, batch_size=batch_size), kind)

        everywhere(make, x, explicit(make(None).method, x, kind), 2e-5, tmp_path)


def test_rows_that_are_one_sample(tmp_path):
    """Rows that are compared with their mean: one sample, the tunnel around it too."""
    nodes = [
        node("ReduceMean", ["x", "first"], ["m"]), node("Sub", ["x", "m"], ["d"]), node("Mul", ["d", "d"], ["s"]),
        node("MatMul", ["s", "w"], ["y"]),
    ]  # fmt: skip
    model = build(nodes, {"x": ["N", 4]}, {"y": ["N", 2]}, {"first": np.array([0]), "w": random(1, 4, 2)})
    x, weights = rows(3, 4), random(2, 3, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = tunnel(attributions.IntegratedGradients(model, steps=3))
        assert made.one_sample
        noisy = [x + np.float32(NOISE) * e[0] for e in draw_noise(SEED, (1, 3, 4), DRAWS)]
        expected = [made.method.explain(copied, weights) for copied in noisy]
        close(made.explain(x, weights), np.mean(expected, axis=0), 2e-6)
        made.export(tmp_path / "tunnel.onnx")
        close(
            onnxattr.load(tmp_path / "tunnel.onnx", seed=SEED).explain(x, weights),
            np.mean(expected, axis=0),
            2e-6,
        )


def test_rows_that_are_compared_before_the_first_run():
    """Where it is open whether rows are apart, the tunnel follows what its method finds out."""
    nodes = [
        node("Reshape", ["x", "shape"], ["r"]), node("MatMul", ["r", "w"], ["m"]), node("Tanh", ["m"], ["y"]),
    ]  # fmt: skip
    shape = {"shape": np.array([-1, 4])}
    model = build(nodes, {"x": ["N", "M"]}, {"y": ["P", 2]}, shape | {"w": random(1, 4, 2)})
    x = rows(3, 4)
    method = Gradient(model)
    made = tunnel(method)
    expected = [
        method.explain(x + np.float32(NOISE) * e, [1, 0, 1]) for e in draw_noise(SEED, x.shape, DRAWS)
    ]
    close(made.explain(x, [1, 0, 1]), np.mean(expected, axis=0), 2e-6)


def test_scores_and_cuts_pass_through(tmp_path):
    case = mlp(head="Softmax")
    inner = Gradient(case.model, output_layer="logits", operator=lambda f, x, y: 2 * (f(x) * y).sum(axis=-1))
    expected = tunnel(Gradient(mlp().model)).explain(case.given, LABELS)
    close(tunnel(inner).explain(case.given, LABELS), 2 * expected, 2e-6)
    tunnel(inner).export(tmp_path / "tunnel.onnx")
    close(onnxattr.load(tmp_path / "tunnel.onnx", seed=SEED).explain(case.given, LABELS), 2 * expected, 2e-6)


def test_weights_are_in_the_file_once(tmp_path):
    """Around a path in a loop in a loop, too."""
    arrays = {"w1": random(1, 400, 300), "w2": random(2, 300, 3)}
    nodes = [
        node("MatMul", ["x", "w1"], ["h"]),
        node("Tanh", ["h"], ["t"]),
        node("MatMul", ["t", "w2"], ["y"]),
    ]
    model = build(nodes, {"x": ["N", 400]}, {"y": ["N", 3]}, arrays)
    made = tunnel(attributions.IntegratedGradients(model, steps=8, batch_size=3))
    made.export(tmp_path / "tunnel.onnx", "loop")
    file = onnx.load(tmp_path / "tunnel.onnx")
    assert file.ByteSize() < 1.02 * model.ByteSize() + 30_000
    kinds = [n.op_type for n in file.graph.node]
    assert kinds.count("Loop") == 1
    (loop,) = (n for n in file.graph.node if n.op_type == "Loop")
    assert [n.op_type for n in loop.attribute[0].g.node].count("Loop") == 1
    onnx.checker.check_model(file, full_check=True)
    session = onnxruntime.InferenceSession(str(tmp_path / "tunnel.onnx"))
    assert {v.name: v.type for v in session.get_inputs()} == {
        "x": "tensor(float)", "target": "tensor(int64)", "seed": "tensor(int64)",
    }  # fmt: skip


def test_half_precision():
    case = mlp(np.float16)
    expected = tunnel(attributions.IntegratedGradients(mlp().model, steps=4)).explain(mlp().given, LABELS)
    close(
        tunnel(attributions.IntegratedGradients(case.model, steps=4)).explain(case.given, LABELS),
        expected,
        2e-2,
    )


def test_bytes_before_a_layer_get_no_noise():
    """No float input leads to the layer, so that the layer's own value gets the noise."""
    nodes = [
        node("Cast", ["x"], ["real"], to=TensorProto.FLOAT), node("Conv", ["real", "k"], ["c"]),
        node("Tanh", ["c"], ["t"]), node("GlobalAveragePool", ["t"], ["g"]), node("Flatten", ["g"], ["y"]),
    ]  # fmt: skip
    model = build(
        nodes, {"x": (["N", 1, 5, 5], TensorProto.UINT8)}, {"y": ["N", 3]}, {"k": random(1, 3, 1, 3, 3)}
    )
    x = np.random.default_rng(0).integers(0, 4, (3, 1, 5, 5)).astype(np.uint8)
    maps = tunnel(attributions.GradCAM(model)).explain(x, LABELS)
    assert maps.shape == (3, 1, 5, 5)
    assert not np.allclose(maps, attributions.GradCAM(model).explain(x, LABELS))
