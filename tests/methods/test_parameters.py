"""Parameters of a method: reducer, channel axis, baseline, progress, ReLU policy; and what a method warns about."""

import copy
import io
import json
import warnings

import numpy as np
import pytest
from onnx import helper
from support.explained import LABELS, close, make
from support.methods import ON_ANY_MODEL
from support.small_models import build, cnn_nchw, cnn_nhwc, elementwise, mlp, node, random, rows
from support.tiny_graphs import parse

import onnxattr.attributions as attributions
from onnxattr.attributions import DeconvNet, IntegratedGradients, NoiseTunnel, Saliency, SmoothGrad
from onnxattr.metrics import Deletion, MuFidelity

MLP, NHWC, NCHW = mlp(), cnn_nhwc(), cnn_nchw()


# Reducers and channels

REDUCERS = {"min": np.min, "mean": np.mean, "max": np.max, "sum": np.sum}


@pytest.mark.parametrize("reducer", REDUCERS)
@pytest.mark.parametrize("method", ON_ANY_MODEL)
@pytest.mark.parametrize(("case", "axis"), [(NHWC, 3), (NCHW, 1)], ids=["channels last", "channels first"])
def test_reducers(case, axis, method, reducer):
    plain = make(method, case.model, reducer=None).explain(case.given, LABELS)
    assert plain.shape == case.given.shape
    maps = make(method, case.model, reducer=reducer).explain(case.given, LABELS)
    close(maps, REDUCERS[reducer](plain, axis=axis, keepdims=True), 3e-6)


@pytest.mark.parametrize("size", [1e-30, 1e-24, 1e20])
@pytest.mark.parametrize(
    ("reducer", "expected"), {"l2": np.linalg.norm, "euclidean_norm": np.linalg.norm, "std": np.std}.items()
)
def test_reducers_of_small_and_large_gradients(reducer, expected, size):
    """Their squares are outside float32; channels that are all 0 stay 0."""
    weights = size * np.eye(5, dtype=np.float32)[LABELS]
    plain = Saliency(NCHW.model, reducer=None).explain(NCHW.given, weights) / size
    maps = Saliency(NCHW.model, reducer=reducer).explain(NCHW.given, weights) / size
    close(maps, expected(plain.astype(np.float64), axis=1, keepdims=True), 3e-6)
    zeros = Saliency(NCHW.model, reducer=reducer).explain(NCHW.given, 0 * weights)
    assert not zeros.any()


DEFAULTS = {"Saliency": np.max, "GradientInput": None, "DeconvNet": None}


@pytest.mark.parametrize("method", ON_ANY_MODEL)
def test_default_reducers(method):
    plain = make(method, NHWC.model, reducer=None).explain(NHWC.given, LABELS)
    reducer = DEFAULTS.get(method, np.mean)
    expected = plain if reducer is None else reducer(plain, axis=3, keepdims=True)
    close(make(method, NHWC.model).explain(NHWC.given, LABELS), expected, 3e-6)


@pytest.mark.parametrize("given", [1, 2, 3, -1, -2, -3])
def test_channel_axis_can_be_said(given):
    plain = Saliency(NCHW.model, reducer=None).explain(NCHW.given, LABELS)
    maps = Saliency(NCHW.model, channel_axis=given).explain(NCHW.given, LABELS)
    close(maps, plain.max(axis=given, keepdims=True))


def image_model(first, shape, channels_first):
    """An image that goes through ``first`` and a convolution."""
    perm = [] if channels_first else [node("Transpose", ["a"], ["t"], perm=[0, 3, 1, 2])]
    size = 2
    nodes = [
        node(first, ["image"], ["a"]), *perm,
        node("Conv", ["a" if channels_first else "t", "k"], ["c"]),
        node("GlobalAveragePool", ["c"], ["g"]), node("Flatten", ["g"], ["y"]),
    ]  # fmt: skip
    channels = shape[0] if channels_first else shape[-1]
    weights = {"k": random(1, size, channels, 2, 2)}
    return build(nodes, {"image": ["N", *shape]}, {"y": ["N", size]}, weights)


CHANNELS = {
    "three rows, channels last": (image_model("Neg", (3, 5, 6), False), (3, 5, 6), 3),
    "three columns, channels first": (image_model("Tanh", (6, 5, 3), True), (6, 5, 3), 1),
    "grey, channels first": (image_model("Relu", (1, 5, 6), True), (1, 5, 6), 1),
    "no convolution, three planes": (elementwise([3, 5, 6]), (3, 5, 6), 1),
    "no convolution, three channels": (elementwise([5, 6, 3]), (5, 6, 3), 3),
}


@pytest.mark.parametrize("case", CHANNELS)
def test_channel_axis_is_found(case):
    model, shape, axis = CHANNELS[case]
    targets = rows(1, *shape) if "no convolution" in case else np.array([0, 1, 0])
    maps = Saliency(model).explain(rows(2, *shape), targets)
    assert maps.shape == tuple(1 if i == axis else n for i, n in enumerate((3, *shape)))


@pytest.mark.parametrize("given", [None, 1])
@pytest.mark.parametrize(
    ("model", "said"),
    [
        (elementwise([5, 6, 9]), True),
        (elementwise([3, 5, 3]), True),
        (parse("g (float[2, 5, 6, 9] x) => (float[2, 5, 6, 9] y) { y = Tanh(x) }"), True),
        (elementwise([3, 5, 6]), False),
        (elementwise([5, 6, 3]), False),
        (elementwise([1, 5, 1]), False),
        (image_model("Neg", (5, 6, 9), False), False),
        (image_model("Neg", (5, 6, 9), True), False),
    ],
    ids=[
        "no size of channels",
        "two sizes",
        "one sample",
        "planes",
        "channels",
        "grey",
        "transposed",
        "convolution",
    ],
)
def test_a_channel_axis_that_nothing_says_is_said_to_be_a_guess(model, said, given):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        Saliency(model, channel_axis=given)
    told = [each for each in found if "holds channels: axis 3 is taken" in str(each.message)]
    assert [each.filename for each in told] == ([__file__] if said and given is None else [])


# Baselines

BASELINES = [
    0.5,
    1,
    np.float64(-0.25),
    [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
    np.arange(6) % 2,
    np.linspace(-1, 1, 6),
]


@pytest.mark.parametrize("baseline", BASELINES, ids=str)
def test_baselines(baseline):
    """f = x^3: with two points IG is (x - b) (3 x^2 + 3 b^2) / 2."""
    b = np.asarray(baseline, np.float64)
    x = MLP.given.astype(np.float64)
    maps = IntegratedGradients(elementwise([6]), steps=2, baseline_value=baseline).explain(x, np.ones((3, 6)))
    close(maps, ((x - b) * 1.5 * (x**2 + b**2)).astype(np.float32), 2e-6)


def test_image_baseline():
    """The maps add up to f(x) - f(b), but for what the trapezoids lose at the kinks: 3e-3 at 300 steps, 7e-4 here."""
    base = rows(6, 8, 9, 3)[0]
    filled = IntegratedGradients(NHWC.model, steps=2000, batch_size=None, baseline_value=base, reducer=None)
    maps = filled.explain(NHWC.given, LABELS)
    scores = [filled.predict(x)[np.arange(3), LABELS] for x in (NHWC.given, np.stack([base] * 3))]
    np.testing.assert_allclose(maps.sum(axis=(1, 2, 3)), scores[0] - scores[1], atol=1e-3)


# Progress and warnings


@pytest.mark.parametrize(("progress", "shown"), [(True, True), (False, False), (None, False)])
def test_progress_bar(progress, shown, capfd):
    IntegratedGradients(MLP.model, steps=4, progress=progress).explain(MLP.given, LABELS)
    out, err = capfd.readouterr()
    assert out == ""
    assert ("IntegratedGradients" in err and "12" in err) == shown
    assert shown or err == ""


@pytest.mark.parametrize("progress", [True, None])
@pytest.mark.parametrize("output", ["none", "closed"])
def test_no_progress_bar_without_an_error_output(output, progress, monkeypatch):
    """As services and programs without a console have none."""
    method = IntegratedGradients(MLP.model, steps=4, progress=progress)
    expected = method.explain(MLP.given, LABELS)
    stream = None if output == "none" else io.StringIO()
    if stream is not None:
        stream.close()
    monkeypatch.setattr("sys.stderr", stream)
    np.testing.assert_array_equal(method.explain(MLP.given, LABELS), expected)
    deletion = Deletion(method, MLP.given, LABELS, steps=2)
    assert deletion.of_samples(expected).shape == (3,)


HEAD = "To explain the logits, pass output_layer='logits'"
NO_RELU = "the model has none"
PROBABILITIES = {head: mlp(head=head).model for head in ("Softmax", "Sigmoid")}
BESIDE = {
    "p": "q = Sub(one, s) y = Concat<axis = 1>(q, s)",
    "p, stacked": (
        "r = Squeeze(s, last) q = Sub(one, r) a = Unsqueeze(q, last) b = Unsqueeze(r, last) y = Concat<axis = 1>(a, b)"
    ),
    "1 - p": "q = Sub(one, s) y = Concat<axis = 1>(s, q)",
    "another": "n = Neg(logits) t = Mul(n, n) u = Sigmoid(t) q = Sub(one, u) y = Concat<axis = 1>(q, s)",
}
BESIDE = {
    last: parse(
        "g (float[N,3] x) => (float[N,2] y) <float[3,1] w = {1, -1, 2}, float one = {1}, int64[1] last = {1}> "
        f"{{ logits = MatMul(x, w) s = Sigmoid(logits) {end} }}"
    )
    for last, end in BESIDE.items()
}


def of_layers(*values):
    """The classifier with a table of layers, one for each of these values."""
    row = {"class": "Dense", "folded": None}
    table = [row | {"name": v, "path": v, "output": v, "index": place} for place, v in enumerate(values)]
    model = mlp(head="Softmax").model
    helper.set_model_props(model, {"onnxattr.layers": json.dumps({"version": 1, "layers": table})})
    return model


COUNTED = r"output_layer=-2 is 'active', of the shape (N, 10), and not the logits"
INSIDE = of_layers("active", "probabilities")
WARNINGS = {
    "softmax inside the last layer": ("Saliency", INSIDE, {"output_layer": -2}, COUNTED),
    "softmax inside, as a command says it": ("Saliency", INSIDE, {"output_layer": "-2"}, COUNTED),
    "softmax inside, a layer by name": ("Saliency", INSIDE, {"output_layer": "active"}, None),
    "softmax inside, a unit of a layer": ("Saliency", INSIDE, {"output_layer": -2, "neuron": 1}, None),
    "softmax as a layer": ("Saliency", of_layers("logits", "probabilities"), {"output_layer": -2}, None),
    "1 - p beside p": ("Saliency", BESIDE["p"], {}, HEAD),
    "1 - p beside p, stacked": ("Saliency", BESIDE["p, stacked"], {}, HEAD),
    "p beside 1 - p": ("Saliency", BESIDE["1 - p"], {}, None),
    "p beside another": ("Saliency", BESIDE["another"], {}, None),
    "softmax": ("Saliency", PROBABILITIES["Softmax"], {}, HEAD),
    "sigmoid": ("GuidedBackprop", PROBABILITIES["Sigmoid"], {}, HEAD),
    "softmax by counting": (
        "Saliency",
        INSIDE,
        {"output_layer": -1},
        "To explain the logits, pass output_layer=",
    ),
    "softmax by counting, in a command": (
        "Saliency",
        INSIDE,
        {"output_layer": "-1"},
        "To explain the logits",
    ),
    "softmax by name": ("Saliency", PROBABILITIES["Softmax"], {"output_layer": "probabilities"}, None),
    "logits of a softmax": ("Saliency", PROBABILITIES["Softmax"], {"output_layer": "logits"}, None),
    "probabilities on purpose": ("Saliency", PROBABILITIES["Softmax"], {"operator": "classification"}, None),
    "logits": ("Saliency", MLP.model, {}, None),
    "no ReLU": ("DeconvNet", elementwise([6]), {}, NO_RELU),
    "no ReLU, guided": ("GuidedBackprop", elementwise([6]), {}, NO_RELU),
    "no ReLU, plain gradient": ("Saliency", elementwise([6]), {}, None),
    "ReLU": ("DeconvNet", MLP.model, {}, None),
    "ReLU cut off": ("DeconvNet", MLP.model, {"output_layer": "hidden"}, NO_RELU),
}


@pytest.mark.parametrize("case", WARNINGS)
def test_warnings(case):
    method, model, options, expected = WARNINGS[case]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        getattr(attributions, method)(model, **options)
    assert [expected in str(warning.message) for warning in caught] == ([True] if expected else [])
    assert all(warning.filename == __file__ for warning in caught)


# The two ReLU policies on a converted model


@pytest.fixture(scope="module")
def nested_relu():
    """y = 10 relu(x), the ReLU in a nested model, of which Xplique knows nothing."""
    keras = pytest.importorskip("keras")
    from onnxattr.converters.keras import to_onnx

    inner = keras.Sequential([keras.Input((4,)), keras.layers.ReLU(name="r")], name="inner")
    dense = keras.layers.Dense(
        4, use_bias=False, kernel_initializer=keras.initializers.Constant(10 * np.eye(4))
    )
    return to_onnx(keras.Sequential([keras.Input((4,)), inner, dense]))


@pytest.mark.parametrize(("policy", "expected"), [("all", [10, 10, 10, 10]), ("xplique", [10, 0, 0, 10])])
@pytest.mark.filterwarnings("ignore:.*the model has none:UserWarning")
def test_relu_policies_of_a_nested_model(nested_relu, policy, expected):
    points = np.array([[5, 0, -5, 10]])
    maps = DeconvNet(nested_relu, relu_policy=policy).explain(points, np.ones((1, 4)))
    np.testing.assert_array_equal(maps, [expected])


# Parameters of a made object

MADE = {
    "a method": (lambda: IntegratedGradients(MLP.model, steps=3), "steps", 200),
    "what every method has": (lambda: Saliency(MLP.model), "reducer", "sum"),
    "a keyword of every method": (lambda: SmoothGrad(MLP.model, nb_samples=2), "seed", 5),
    "an array": (lambda: IntegratedGradients(MLP.model, steps=3), "baseline_value", 1.0),
    "the size of chunks": (lambda: Saliency(MLP.model), "batch_size", 1),
    "a tunnel": (lambda: NoiseTunnel(Saliency(MLP.model), nb_samples=2), "nb_samples", 9),
    "a metric": (lambda: MuFidelity(MLP.model, MLP.given, [0, 1, 2], nb_samples=4), "nb_samples", 9),
    "a copy": (lambda: copy.copy(IntegratedGradients(MLP.model, steps=3)), "steps", 200),
}


@pytest.mark.parametrize("case", MADE)
def test_parameters_are_fixed_when_an_object_is_made(case):
    """Set later, a parameter would be shown and recorded, and the numbers would still be those of the old one."""
    make_it, name, value = MADE[case]
    made = make_it()
    kept = getattr(made, name)
    said = (
        rf"^{name} of {type(made).__name__} is fixed when it is made. Make another: \w+\(..., {name}=...\)\.$"
    )
    with pytest.raises(AttributeError, match=said):
        setattr(made, name, value)
    assert getattr(made, name) is kept


def test_what_each_call_looks_at_can_be_set():
    method = IntegratedGradients(MLP.model, steps=3)
    method.progress, method.check_finite, method.note = False, "error", "mine"
    assert (method.progress, method.check_finite, method.note) == (False, "error", "mine")
