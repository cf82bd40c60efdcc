"""The references agree with each other, and onnxattr agrees with both of them."""

from dataclasses import replace

import numpy as np
import pytest
from support.explained import close

pytest.importorskip("xplique", reason="the comparison needs Xplique and TensorFlow")

from verification import cams
from verification.compare import (
    FAST,
    TOLERANCE,
    VARIANTS,
    compare,
    compare_cam,
    converted,
    draws_for,
    product_maps,
    relative_error,
    tape,
    tape_maps,
    tolerance_of,
    xplique_maps,
)
from verification.generic import is_generic, points_of
from verification.models import BUILDERS, HAPPY, astronaut_face, build_case, one_hot
from verification.report import full_table
from verification.tape import METHODS, NOISY, TapeReference, reduce_channels
from verification.xplique_runner import xplique_explain

from onnxattr.attributions import GradCAM, GradCAMPP, GuidedGradCAM, LayerCAM, NoiseTunnel, Saliency
from onnxattr.compile.noise import draw_noise

pytestmark = [
    pytest.mark.filterwarnings("ignore:The structure of `inputs`:UserWarning"),
    pytest.mark.filterwarnings("ignore:The model ends in probabilities:UserWarning"),
    pytest.mark.filterwarnings("ignore:Even though the `tf.config:UserWarning"),
]

REDUCERS = ("min", "mean", "max", "sum", None)


@pytest.fixture(autouse=True)
def one_by_one(request):
    """TensorFlow runs its operators one by one: tracing functions for a few runs takes longer than these.

    Gradients of the emotion network, when run so, end the process in TensorFlow's own code.
    """
    import tensorflow as tf

    emotion = any(name in request.node.name for name in ("emotion", "saturated_softmax"))
    tf.config.run_functions_eagerly(not emotion)
    yield
    tf.config.run_functions_eagerly(False)


# The references: TensorFlow's tape against Xplique


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "model", [pytest.param(name, marks=[pytest.mark.slow] * (name == "emotion")) for name in BUILDERS]
)
def test_tape_agrees_with_xplique(model, method):
    case = build_case(model)
    draws = draws_for(case, method, FAST)
    for variant in VARIANTS:
        expected = tape_maps(case, method, variant, FAST, draws, relu_policy="xplique")
        maps = xplique_maps(case, method, variant, FAST, draws)
        assert relative_error(maps, expected) <= tolerance_of(method), variant


@pytest.mark.parametrize("batch_size", [None, 1, 7, 32])
@pytest.mark.parametrize("method", [*NOISY, "IntegratedGradients"])
def test_injected_noise_follows_every_batching_of_xplique(method, batch_size):
    case = build_case("dense_tabular")
    draws = draws_for(case, method, FAST)
    expected = tape_maps(case, method, "whole", FAST, draws)
    maps = xplique_maps(case, method, "whole", FAST, draws, batch_size=batch_size)
    assert relative_error(maps, expected) <= TOLERANCE


@pytest.mark.parametrize("reducer", REDUCERS)
def test_tape_reducers_agree_with_xplique(reducer):
    case = build_case("cnn")
    expected = xplique_maps(case, "Saliency", "whole", FAST, None, reducer=reducer)
    maps = reduce_channels(tape_maps(case, "Saliency", "whole", FAST, None), reducer)
    assert maps.shape == expected.shape == (3, 24, 24, 3 if reducer is None else 1)
    assert relative_error(maps, expected) <= TOLERANCE


def test_tape_gradient_agrees_with_central_differences():
    case = build_case("dense_regression")
    reference = tape(case.name, None, "float64", "all")
    analytic = reference.gradient(case.inputs, case.targets)
    model64 = TapeReference(case.model, None, "float64")
    step = 1e-6
    for feature in range(case.inputs.shape[1]):
        shift = np.zeros(case.inputs.shape[1])
        shift[feature] = step
        higher, lower = (model64.score(case.inputs + s, case.targets) for s in (shift, -shift))
        np.testing.assert_allclose(analytic[:, feature], (higher - lower) / (2 * step), rtol=0, atol=1e-8)


def test_a_row_with_a_kink_is_not_in_generic_position():
    """A unit whose input is 0 but for rounding is noticed; the rows of the case itself have none."""
    case = build_case("dense_tabular")
    (weights, bias), row = case.model.layers[0].get_weights(), case.inputs[0].astype(np.float64)
    kinked = row - weights[:, 0] * (row @ weights[:, 0] + bias[0]) / (weights[:, 0] @ weights[:, 0])
    for given, generic in ((row, True), (kinked, False)):
        points = points_of(case, 0, given.astype(np.float32), FAST)
        assert is_generic(case, points, case.targets[0]) == generic


@pytest.mark.parametrize("model", BUILDERS)
def test_rebuilt_model_predicts_as_the_original(model):
    case = build_case(model)
    expected = case.model.predict(case.inputs, verbose=0)
    np.testing.assert_allclose(tape(model, None, "float64", "all").predict(case.inputs), expected, rtol=2e-5)


def test_relu6_of_the_cnn_saturates():
    import keras

    model = build_case("cnn").model
    values = np.asarray(keras.Model(model.inputs, model.get_layer("relu6").output)(build_case("cnn").inputs))
    assert 0.01 < np.mean(values == 6.0) < 0.5
    assert 0.2 < np.mean(values == 0.0) < 0.8


# onnxattr against both


#: Of the emotion network, which takes seconds for each method; `make verify` runs them all.
FAST_ON_EMOTION = ("DeconvNet", "IntegratedGradients", "SquareGrad")
AGREEING = [
    pytest.param(
        model, method, marks=[pytest.mark.slow] * (model == "emotion" and method not in FAST_ON_EMOTION)
    )
    for model in BUILDERS
    for method in METHODS
]


@pytest.mark.parametrize(("model", "method"), AGREEING)
def test_onnxattr_agrees(model, method):
    rows = [row for variant in VARIANTS for row in compare(build_case(model), method, variant, FAST)]
    assert all(row.ok for row in rows), "\n" + full_table(rows)


@pytest.mark.parametrize("method", METHODS)
def test_onnxattr_reducers_agree_with_xplique(method):
    case = build_case("cnn")
    draws = draws_for(case, method, FAST)
    for reducer in REDUCERS:
        expected = xplique_maps(case, method, "cut", FAST, draws, reducer=reducer)
        maps = product_maps(case, method, "cut", FAST, reducer=reducer)
        assert relative_error(maps, expected) <= tolerance_of(method), reducer


def test_output_layer_by_name_is_output_layer_by_index():

    case = build_case("cnn")
    by_name = Saliency(converted("cnn"), output_layer=case.logits_layer).explain(case.inputs, case.targets)
    by_index = Saliency(converted("cnn"), output_layer=-2).explain(case.inputs, case.targets)
    np.testing.assert_array_equal(by_name, by_index)


@pytest.mark.parametrize("contrast", [0.8, 0.9, 1.0, 1.1])
@pytest.mark.parametrize("variant", VARIANTS)
def test_saturated_softmax_is_as_exact_as_float32_allows(variant, contrast):
    """At p = 0.999 the gradient of the probability holds 1 - p, known in float32 to eps / (1 - p) only."""
    face = (contrast * astronaut_face())[None].astype(np.float32)
    case = replace(build_case("emotion"), inputs=face, targets=one_hot([HAPPY], 7))
    lost = 1.0 - float(tape("emotion", None, "float64", "all").predict(face)[0, HAPPY])
    assert 0.001 < lost < 0.003
    tolerance = np.finfo(np.float32).eps / lost if variant == "whole" else TOLERANCE

    exact = tape_maps(case, "Saliency", variant, FAST, None, exact=True)
    for maps in (
        product_maps(case, "Saliency", variant, FAST),
        xplique_maps(case, "Saliency", variant, FAST, None),
    ):
        assert relative_error(maps, exact) <= tolerance


# Class activation maps


@pytest.mark.parametrize("model", cams.LAYERS)
def test_class_activation_maps_agree(model):
    settings = replace(FAST, batch_sizes=(None, 1))
    wanted = [("GradCAM", "whole"), *((method, "cut") for method in cams.METHODS)]
    rows = [row for each in wanted for row in compare_cam(build_case(model), *each, settings)]
    assert all(row.ok for row in rows), "\n" + full_table(rows)


LAYERS = {"cnn": ("relu_1", "bn_2", 7), "residual": ("concat", "stem"), "grey_images": ("max_pool_2", 0)}


@pytest.mark.parametrize(("model", "layer"), [(m, layer) for m, layers in LAYERS.items() for layer in layers])
def test_any_layer_of_a_map_by_name_and_index(model, layer):
    """A layer's output is Keras', its activation included, whatever layout the graph has it in."""
    case = build_case(model)
    for method in (GradCAM, GradCAMPP):
        found = method(converted(model), conv_layer=layer).explain(case.inputs, case.targets)
        expected = xplique_explain(case.model, method.__name__, case.inputs, case.targets, conv_layer=layer)
        assert relative_error(found, expected) <= 1e-5


def test_map_of_a_layer_inside_a_nested_model():
    case = build_case("nested")
    for name in ("backbone/inner_conv_2", "inner_conv_2"):
        found = LayerCAM(converted("nested"), conv_layer=name).explain(case.inputs, case.targets)
        assert relative_error(found, cams.tape_map(case, "LayerCAM", False)) <= 1e-5


def test_guided_grad_cam():
    case = build_case("cnn")
    found = GuidedGradCAM(converted("cnn"), reducer=None).explain(case.inputs, case.targets)
    guided = tape_maps(case, "GuidedBackprop", "whole", FAST, None)
    assert relative_error(found, guided * cams.tape_map(case, "GradCAM", False)) <= 2e-5


@pytest.mark.parametrize(("kind", "statistic"), [
    ("mean", lambda maps: maps.mean(0)), ("square", lambda maps: (maps**2).mean(0)),
    ("variance", lambda maps: maps.var(0, ddof=1)),
])  # fmt: skip
def test_noise_tunnel_around_a_cam_of_xplique(kind, statistic):
    """Xplique's maps of the same noisy copies."""
    case = build_case("cnn")
    method = GradCAM(converted("cnn"), output_layer=-2)
    found = NoiseTunnel(method, 6, 0.1, kind, seed=3).explain(case.inputs, case.targets)
    noisy = case.inputs + np.float32(0.1) * draw_noise(3, case.inputs.shape, 6)
    copies = noisy.reshape(-1, *case.inputs.shape[1:])
    maps = xplique_explain(case.cut_model, "GradCAM", copies, np.tile(case.targets, (6, 1)))
    expected = statistic(
        maps.reshape(6, *maps.shape[:0], len(case.inputs), *maps.shape[1:]).astype(np.float64)
    )
    close(found, expected, 5e-5 if kind == "variance" else 1e-5)
