"""Attributions whose values are known without any other implementation, on graphs of a few nodes."""

import warnings

import numpy as np
import onnx
import pytest
from onnx import helper
from support.small_models import build

import onnxattr
import onnxattr.attributions as attributions
from onnxattr.compile.noise import draw_noise

# A linear model has no ReLU to override, of which DeconvNet and GuidedBackprop warn.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

RNG = np.random.default_rng(20)
X = RNG.normal(size=(3, 6)).astype(np.float32)
A = RNG.normal(size=6).astype(np.float32)
W = RNG.normal(size=(6, 4)).astype(np.float32)
HIDDEN = RNG.normal(size=(6, 10)).astype(np.float32), RNG.normal(size=(10, 4)).astype(np.float32)
LABELS = np.array([2, 0, 3])
ONE = np.ones((3, 1), np.float32)

IMAGE = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
POINTS = np.array([[5, 0, -5, 10]], np.float32)
ALL_POINTS = np.ones((1, 4), np.float32)


def graph(nodes, input_shape, output_shape, **constants):
    """A model x -> y of nodes ("Op", inputs, output, attributes), with a free batch."""
    made = [
        helper.make_node(op, inputs.split(), [output], name=f"{op}_{index}", **attributes)
        for index, (op, inputs, output, attributes) in enumerate(nodes)
    ]
    model = build(made, {"x": ["N", *input_shape]}, {"y": ["N", *output_shape]}, constants, opset=17)
    onnx.checker.check_model(model, full_check=True)
    return model


def hand_network():
    """Two 3x3 filters of ones on a 4x4 image, biases -50 and -75, ReLU, eight to four, ReLU."""
    weights = np.repeat(np.array([[1], [-1]], np.float32), (5, 3), axis=0) * np.ones((1, 4), np.float32)
    nodes = [
        ("Conv", "x filters biases", "pre", {"kernel_shape": [3, 3]}),
        ("Relu", "pre", "post", {}),
        ("Flatten", "post", "flat", {"axis": 1}),
        ("MatMul", "flat weights", "scores", {}),
        ("Relu", "scores", "y", {}),
    ]
    filters, biases = np.ones((2, 1, 3, 3), np.float32), np.array([-50, -75], np.float32)
    return graph(nodes, [1, 4, 4], [4], filters=filters, biases=biases, weights=weights)


def quadratic():
    """f = sum(a x^2)."""
    nodes = [
        ("Mul", "x x", "squares", {}),
        ("Mul", "squares a", "terms", {}),
        ("ReduceSum", "terms axis", "y", {}),
    ]
    return graph(nodes, [6], [1], a=A, axis=np.array([-1]))


def cubic():
    """f = sum(x^3)."""
    nodes = [
        ("Mul", "x x", "squares", {}),
        ("Mul", "squares x", "cubes", {}),
        ("ReduceSum", "cubes axis", "y", {}),
    ]
    return graph(nodes, [6], [1], axis=np.array([-1]))


def linear():
    """f = x W + 1."""
    nodes = [("MatMul", "x w", "product", {}), ("Add", "product one", "y", {})]
    return graph(nodes, [6], [4], w=W, one=np.float32(1))


def homogeneous():
    """f = relu(x V) W: without biases f(t x) = t f(x), t > 0, so the gradient is constant along the path."""
    nodes = [
        ("MatMul", "x v", "pre", {}),
        ("Relu", "pre", "post", {}),
        ("MatMul", "post w", "y", {}),
    ]
    return graph(nodes, [6], [4], v=HIDDEN[0], w=HIDDEN[1])


def rectified(relu, *then):
    """A ReLU, then something elementwise; four features in, four outputs."""
    constants = {"zero": np.float32(0), "three": np.float32(3), "ten": np.float32(10)}
    nodes = [(*relu, "r", {}), *((op, inputs, output, {}) for op, inputs, output in then)]
    used = {name for _, inputs, _, _ in nodes for name in inputs.split()}
    return graph(nodes, [4], [4], **{name: value for name, value in constants.items() if name in used})


def explain(model, method, inputs, targets, **options):
    """The method's maps without a reducer."""
    explainer = getattr(attributions, method)(model, reducer=None, progress=False, **options)
    return explainer.explain(inputs, targets)


HAND_GRADIENT = [[0, 1, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]]
HAND_DECONVNET = [[2, 3, 3, 1], [3, 5, 5, 2], [3, 5, 5, 2], [1, 2, 2, 1]]
HAND_GUIDED = [[0, 1, 1, 1], [1, 3, 3, 2], [1, 3, 3, 2], [1, 2, 2, 1]]


@pytest.mark.parametrize("target", range(4))
@pytest.mark.parametrize(
    ("method", "image", "expected"),
    [
        ("Saliency", IMAGE, HAND_GRADIENT),
        ("GradientInput", IMAGE, IMAGE[0, 0] * HAND_GRADIENT),
        ("DeconvNet", IMAGE, HAND_DECONVNET),
        ("DeconvNet", IMAGE + 1, HAND_DECONVNET),
        ("GuidedBackprop", IMAGE, HAND_GUIDED),
    ],
)
def test_hand_network(method, image, expected, target):
    maps = explain(hand_network(), method, image, [target])
    np.testing.assert_array_equal(maps, np.reshape(expected, (1, 1, 4, 4)))


TIMES_TEN = ("Mul", "r ten", "y")
SQUARED = ("Mul", "r r", "y")
MINUS_SQUARED = [("Mul", "r r", "s"), ("Neg", "s", "y")]
RELUS = {"Relu": ("Relu", "x"), "Clip": ("Clip", "x zero"), "Max": ("Max", "x zero")}
CAPPED = ("Clip", "x zero three")


@pytest.mark.parametrize("relu", RELUS.values(), ids=RELUS)
@pytest.mark.parametrize(
    ("then", "method", "expected"),
    [
        ([TIMES_TEN], "DeconvNet", [10, 10, 10, 10]),
        ([TIMES_TEN], "GuidedBackprop", [10, 0, 0, 10]),
        ([SQUARED], "DeconvNet", [10, 0, 0, 20]),
        ([SQUARED], "GuidedBackprop", [10, 0, 0, 20]),
        (MINUS_SQUARED, "DeconvNet", [0, 0, 0, 0]),
        (MINUS_SQUARED, "GuidedBackprop", [0, 0, 0, 0]),
    ],
)
def test_overrides_of_every_form_of_relu(relu, then, method, expected):
    maps = explain(rectified(relu, *then), method, POINTS, ALL_POINTS)
    np.testing.assert_array_equal(maps, [expected])


@pytest.mark.parametrize(
    ("then", "expected"),
    [([TIMES_TEN], [50, 0, 0, 100]), ([SQUARED], [50, 0, 0, 200]), (MINUS_SQUARED, [-50, 0, 0, -200])],
)
def test_plain_gradient_of_relu_times_input(then, expected):
    maps = explain(rectified(RELUS["Relu"], *then), "GradientInput", POINTS, ALL_POINTS)
    np.testing.assert_array_equal(maps, [expected])


@pytest.mark.parametrize(
    ("method", "expected"),
    [("Saliency", [0, 0, 0, 0]), ("DeconvNet", [6, 0, 0, 6]), ("GuidedBackprop", [6, 0, 0, 6])],
)
def test_cap_does_not_gate_the_overrides(method, expected):
    maps = explain(rectified(CAPPED, SQUARED), method, POINTS, ALL_POINTS)
    np.testing.assert_array_equal(maps, [expected])


BASE = 0.75
DRAWS = 0.2 * draw_noise(3, X.shape, 40)
NOISY = {"nb_samples": 40, "noise": 0.2, "seed": 3}
NOISY_GRADIENTS = 2 * A * (X + DRAWS)
PATH = {"baseline_value": BASE}
COLUMN = W.T[LABELS]


def homogeneous_gradient():
    """Gradient of output LABELS[n] at X[n], by hand."""
    hidden, outputs = HIDDEN
    return ((X @ hidden > 0) * outputs.T[LABELS]) @ hidden.T


@pytest.mark.parametrize(
    ("build", "method", "options", "expected"),
    [
        (quadratic, "Saliency", {}, np.abs(2 * A * X)),
        (quadratic, "GradientInput", {}, 2 * A * X**2),
        (quadratic, "IntegratedGradients", {"steps": 2, **PATH}, A * (X**2 - BASE**2)),
        (quadratic, "IntegratedGradients", {"steps": 50, **PATH}, A * (X**2 - BASE**2)),
        (quadratic, "SmoothGrad", NOISY, NOISY_GRADIENTS.mean(axis=0)),
        (quadratic, "SquareGrad", NOISY, (NOISY_GRADIENTS**2).mean(axis=0)),
        (quadratic, "VarGrad", NOISY, NOISY_GRADIENTS.var(axis=0, ddof=1)),
        (cubic, "IntegratedGradients", {"steps": 2}, X**3 * 1.5),
        (
            cubic,
            "IntegratedGradients",
            {"steps": 5},
            X**3 * (1 + 1 / 32),
        ),  # trapezoids: 1 + 1 / (2 (steps - 1)^2)
        (cubic, "IntegratedGradients", {"steps": 101}, X**3 * (1 + 1 / 20000)),
        (linear, "Saliency", {}, np.abs(COLUMN)),
        (linear, "GradientInput", {}, X * COLUMN),
        (linear, "IntegratedGradients", {"steps": 7}, X * COLUMN),
        (linear, "IntegratedGradients", {"steps": 7, **PATH}, (X - BASE) * COLUMN),
        (linear, "SmoothGrad", NOISY, COLUMN),
        (linear, "SquareGrad", NOISY, COLUMN**2),
        (linear, "VarGrad", NOISY, 0 * COLUMN),
        (linear, "DeconvNet", {}, COLUMN),
        (linear, "GuidedBackprop", {}, COLUMN),
        (homogeneous, "GradientInput", {}, X * homogeneous_gradient()),
        (homogeneous, "IntegratedGradients", {"steps": 30}, X * homogeneous_gradient()),
    ],
)
def test_closed_form(build, method, options, expected):
    """IG of the homogeneous net loses half a step: its first point is 0 itself, where every ReLU is shut."""
    targets = LABELS if build in (linear, homogeneous) else ONE
    if build is homogeneous and method == "IntegratedGradients":
        steps = options["steps"]
        expected = expected * (steps - 1.5) / (steps - 1)
    maps = explain(build(), method, X, targets, **options)
    np.testing.assert_allclose(maps, expected, rtol=2e-5, atol=2e-6)


def test_integrated_gradients_of_a_homogeneous_net_sum_to_the_output():
    steps = 400
    maps = explain(homogeneous(), "IntegratedGradients", X, LABELS, steps=steps)
    score = (np.maximum(X @ HIDDEN[0], 0) @ HIDDEN[1])[np.arange(3), LABELS]
    np.testing.assert_allclose(maps.sum(axis=1) * (steps - 1) / (steps - 1.5), score, rtol=1e-4)


@pytest.mark.parametrize(
    ("method", "expectation", "deviation"),
    [
        ("SmoothGrad", 2 * A * X, np.abs(2 * A) * 0.2),
        ("SquareGrad", 4 * A**2 * (X**2 + 0.04), 4 * A**2 * np.sqrt(4 * X**2 * 0.04 + 2 * 0.04**2)),
        ("VarGrad", 4 * A**2 * 0.04 + 0 * X, 4 * A**2 * 0.04 * np.sqrt(2)),
    ],
)
def test_noise_has_the_expected_statistics(method, expectation, deviation):
    """Within five standard errors of the expectation over the noise."""
    maps = explain(quadratic(), method, X, ONE, nb_samples=4000, noise=0.2, seed=1)
    assert np.all(np.abs(maps - expectation) <= 5 * deviation / np.sqrt(4000))


@pytest.mark.parametrize(("method", "pool", "same"), [
    ("DeconvNet", False, True), ("DeconvNet", True, False), ("GuidedBackprop", False, False)
])  # fmt: skip
def test_deconvnet_without_pools_does_not_look_at_the_input(method, pool, same):
    """Nothing but max-pools routes its signal by the input; who gets a map for an input is told so."""
    nodes = [("Conv", "x w", "a", {}), ("Relu", "a", "b", {})]
    if pool:
        nodes.append(("MaxPool", "b", "p", {"kernel_shape": [2, 2], "strides": [2, 2]}))
    nodes += [("GlobalAveragePool", "p" if pool else "b", "g", {}), ("Flatten", "g", "y", {})]
    w = np.random.default_rng(0).normal(size=(3, 1, 1, 1)).astype(np.float32)
    model = graph(nodes, [1, 4, 4], [3], w=w)
    x = np.random.default_rng(1).normal(size=(2, 1, 4, 4)).astype(np.float32)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        first, second = explain(model, method, x, [0, 0])
    assert np.array_equal(first, second) == same
    assert any("not on the input" in str(warning.message) for warning in caught) == same


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("Saliency", 1),
        ("GradientInput", 3),
        ("IntegratedGradients", 3),
        ("SmoothGrad", 1),
        ("SquareGrad", 1),
        ("VarGrad", 0),
    ],
)
def test_a_model_whose_output_is_its_input(method, expected, tmp_path):
    """It has no nodes; what a method puts in the place of the input must not take the output with it."""
    model = build([], {"x": ["N", 4]}, {"x": ["N", 4]})
    explainer = getattr(attributions, method)(model)
    x, target = np.full((2, 4), 3, np.float32), [1, 2]
    wanted = np.zeros((2, 4))
    wanted[[0, 1], target] = expected
    np.testing.assert_allclose(explainer.explain(x, target), wanted, atol=1e-5)
    explainer.export(tmp_path / "e.onnx")
    np.testing.assert_allclose(onnxattr.load(tmp_path / "e.onnx").explain(x, target), wanted, atol=1e-5)
