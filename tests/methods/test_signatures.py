"""Constructors as users, IDEs and help() see them: names, order and defaults; hints for wrong names."""

import inspect
import re
import subprocess
import sys

import numpy as np
import pytest
from support.linear_score import LINEAR, ONES, X
from support.small_models import mlp

import onnxattr
from onnxattr import attributions, metrics
from onnxattr.errors import ParameterError

MODEL_FILE = mlp().model
MODEL = "model, output_layer=None, batch_size={size}, operator=None"
SHARED = (
    "wrt=None, output=None, providers=None, seed=0, relu_policy='all', channel_axis=None, neuron=None, "
    "feature_mask=None, progress=None, precision='model', check_finite='warn', verify='auto', sample=None, "
    "rewrites=None, preprocess=None, attributions_at=None, labels=None, share='auto', units=None, sampling_rate=None, "
    "vocabulary=None, output_kind=None"
)
LAYER = "conv_layer=None, upsampling='bicubic'"
SEEDLESS = SHARED.replace("seed=0, ", "")
INPUTS = "model, inputs, targets=None, batch_size=64"


def method(own="", keywords="", reducer="'mean'", size=32):
    parts = [MODEL.format(size=size), reducer and f"reducer={reducer}", own, "*", keywords, SHARED]
    return f"({', '.join(filter(None, parts))})"


def metric(own="", keywords=""):
    """Xplique has the score's parameters behind those of the metric."""
    shared = [keywords, "output_layer=None", SHARED]
    parts = [INPUTS, own, "operator=None, activation=None", "*", *shared]
    return f"({', '.join(filter(None, parts))})"


SIGNATURES = {
    "Saliency": method(reducer="'max'"),
    "GradientInput": method(reducer="None", size=64),
    "DeconvNet": method(reducer="None"),
    "GuidedBackprop": method(),
    "SmoothGrad": method("nb_samples=50, noise=0.2"),
    "SquareGrad": method("nb_samples=50, noise=0.2"),
    "VarGrad": method("nb_samples=50, noise=0.2"),
    "IntegratedGradients": method(
        "steps=50, baseline_value=0.0",
        "quadrature='trapezoid', points='uniform', tolerance=None, max_steps=None, sigma=10.0, background=None",
    ),
    "BlurIG": method("steps=50, max_sigma=50.0", "quadrature='trapezoid'"),
    "ExpectedGradients": method("nb_samples=50", "background=None"),
    "GradientShap": method("nb_samples=50, noise=0.0", "background=None"),
    "GradCAM": method(LAYER, reducer=""),
    "GradCAMPP": method(f"{LAYER}, variant='xplique'", reducer=""),
    "LayerCAM": method(LAYER, reducer=""),
    "GuidedGradCAM": method(LAYER),
    "NoiseTunnel": (
        "(method, nb_samples=50, noise=0.2, kind='mean', *, noise_kind='absolute', seed=None, progress=None)"
    ),
    "AverageDropMetric": metric(),
    "AverageGainMetric": metric(),
    "AverageIncreaseMetric": metric(),
    "AverageStability": metric("radius=0.1, distance='l2', nb_samples=20"),
    "MaxSensitivity": metric("radius=0.02, nb_samples=10, norm=2, perturbation=None"),
    "Deletion": metric("baseline_mode=0.0, steps=10, max_percentage_perturbed=1.0"),
    "Insertion": metric("baseline_mode=0.0, steps=10, max_percentage_perturbed=1.0"),
    "MuFidelity": metric("grid_size=9, subset_percent=0.2, baseline_mode=0.0, nb_samples=200", "masks=None"),
    "Infidelity": metric(
        "perturbation='subset', noise=0.1, grid_size=9, subset_percent=0.2, baseline_mode=0.0, nb_samples=100, "
        "normalize=False",
        "masks=None",
    ),
    "ModelRandomizationMetric": (
        "(model, inputs, targets=None, randomization_strategy=None, batch_size=64, activation=None, seed=42, "
        f"similarity='spearman', *, operator=None, output_layer=None, {SEEDLESS})"
    ),
    "RandomLogitMetric": (
        f"({INPUTS}, activation=None, seed=42, similarity='ssim', *, classes=None, operator=None, output_layer=None, "
        f"{SEEDLESS})"
    ),
    "ModelRandomizationStrategy": "()",
    "ProgressiveLayerRandomization": "(stop_layer, reverse=True, draw='shuffle')",
    "Sparseness": "(batch_size=32, *, channel_axis=None)",
    "Complexity": "(batch_size=32, *, channel_axis=None)",
}


def written(kind):
    """The signature of a class, without annotations."""
    found = inspect.signature(kind)
    plain = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in found.parameters.values()]
    return str(found.replace(parameters=plain, return_annotation=inspect.Signature.empty))


@pytest.mark.parametrize("name", SIGNATURES)
def test_constructors_have_their_names_order_and_defaults(name):
    assert written(getattr(attributions, name, None) or getattr(metrics, name)) == SIGNATURES[name]


def test_every_public_class_is_in_the_table():
    there = set(attributions.__all__)
    there |= {name for name in metrics.__all__ if isinstance(getattr(metrics, name), type)}
    assert there - {"Evaluation"} == set(SIGNATURES)
    assert set(attributions.__all__) <= set(onnxattr.__all__)


#: (class, arguments, what the message says before the parameters that there are)
HINTS = [
    (
        "SmoothGrad",
        {"n_samples": 3},
        "SmoothGrad has no parameters ['n_samples']. Here, for n_samples take nb_samples=.",
    ),
    (
        "SmoothGrad",
        {"stdevs": 0.1, "nb_sample": 3},
        "SmoothGrad has no parameters ['nb_sample', 'stdevs']. Here, for nb_sample take nb_samples=; for stdevs take "
        "noise=.",
    ),
    ("Saliency", {"steps": 3}, "Saliency has no parameters ['steps']."),
    ("GradCAM", {"reducer": "mean"}, "GradCAM has no parameters ['reducer']."),
    (
        "GradCAM",
        {"target_layer": "x"},
        "GradCAM has no parameters ['target_layer']. Here, for target_layer take conv_layer=.",
    ),
    ("BlurIG", {"n_steps": 3}, "BlurIG has no parameters ['n_steps']. Here, for n_steps take steps=."),
    (
        "GuidedBackprop",
        {"forward_func": 3},
        "GuidedBackprop has no parameters ['forward_func']. Here, for forward_func take model, the first argument.",
    ),
    (
        "IntegratedGradients",
        {"baselines": 0, "wr": 3},
        "IntegratedGradients has no parameters ['baselines', 'wr']. Here, for baselines take baseline_value=; for wr "
        "take wrt=.",
    ),
]


@pytest.mark.parametrize(("name", "arguments", "said"), HINTS)
def test_wrong_names_are_told_what_they_may_have_meant(name, arguments, said):
    parameters = re.findall(r"(\w+)=", SIGNATURES[name])
    with pytest.raises(ParameterError) as refused:
        getattr(attributions, name)(MODEL_FILE, **arguments)
    assert str(refused.value) == f"{said} Beside the model it takes {parameters}."


MEASURED = [name for name, signature in SIGNATURES.items() if signature.startswith("(model, inputs")]


@pytest.mark.parametrize("name", [*attributions.METHODS, *MEASURED, "Sparseness", "Complexity"])
def test_docstrings_show_every_parameter(name):
    kind = getattr(attributions, name, None) or getattr(metrics, name)
    documented = re.findall(
        r"^    (\w+): ", kind.__doc__.partition("Args:\n")[2].partition("Raises:\n")[0], re.MULTILINE
    )
    assert documented == list(inspect.signature(kind).parameters)
    assert not re.search(r"see ``Attribution``", kind.__doc__, re.IGNORECASE)
    assert kind.__doc__.count("ParameterError: ") == (name not in ("Sparseness", "Complexity"))


def test_parameters_of_a_subclass_are_its_annotations():
    class Late(attributions.SmoothGrad):
        """Draws from the second on."""

        noise: float = 0.5
        first: int = 1

    expected = written(attributions.SmoothGrad).replace("noise=0.2", "noise=0.5, first=1")
    assert written(Late) == expected
    late = Late(MODEL_FILE, None, 32, None, None, 4, 0.1, 2, seed=3)
    assert (late.nb_samples, late.noise, late.first, late.seed, late.options.seed) == (4, 0.1, 2, 3, 3)


def test_a_constructor_of_a_subclass_stays():
    class Fixed(attributions.IntegratedGradients):
        def __init__(self, model, **options):
            super().__init__(model, steps=7, **options)

    assert Fixed(MODEL_FILE, seed=3).steps == 7
    with pytest.raises(ParameterError, match=r"Fixed has no parameters \['sed'\]. Here, for sed take seed="):
        Fixed(MODEL_FILE, sed=3)


def test_methods_are_equal_to_themselves_alone():
    first, second = attributions.Saliency(MODEL_FILE), attributions.Saliency(MODEL_FILE)
    assert first != second
    assert len({first, second}) == 2


def test_parameters_of_metrics_are_taken_by_position_as_by_name():
    """Xplique's order, in which the score's parameters stand last."""
    given = ("regression", "sigmoid")
    by_place = metrics.Deletion(LINEAR, X, ONES, 64, 0.5, 4, 0.75, *given)
    by_name = metrics.Deletion(
        LINEAR,
        X,
        ONES,
        activation=given[1],
        operator=given[0],
        max_percentage_perturbed=0.75,
        steps=4,
        baseline_mode=0.5,
    )
    assert (by_place.operator, by_place.activation) == (by_name.operator, by_name.activation) == given
    np.testing.assert_array_equal(by_place.of_samples(X), by_name.of_samples(X))
    strategy = metrics.ProgressiveLayerRandomization(1.0)
    drawn = metrics.ModelRandomizationMetric(LINEAR, X, ONES, strategy, 3, None, 7, "spearman")
    assert (drawn.randomization_strategy, drawn.batch_size, drawn.draw_seed) == (strategy, 3, 7)
    with pytest.raises(TypeError, match="activation"):
        metrics.Deletion(LINEAR, X, ONES, 64, 0.5, 4, 0.75, *given, activation=None)
    with pytest.raises(TypeError, match="positional arguments"):
        metrics.Deletion(LINEAR, X, ONES, 64, 0.5, 4, 0.75, *given, "more")


@pytest.mark.parametrize(("given", "seed"), [({}, 5), ({"seed": 0}, 0), ({"seed": 3}, 3)])
def test_a_metric_of_a_method_has_its_seed_or_one_that_is_given(given, seed):
    assert metrics.MuFidelity(attributions.SmoothGrad(LINEAR, seed=5), X, ONES, **given).seed == seed


CHECKED = """
from onnxattr import GradCAM, IntegratedGradients, Saliency
IntegratedGradients("m.onnx", "layer", 32, None, "mean", 100, 0.0, quadrature="trapezoid", wrt="x").explain([1.0])
IntegratedGradients("m.onnx", n_steps=3)
Saliency("m.onnx", seed="three")
GradCAM("m.onnx", reducer="mean")
Saliency()
from onnxattr.metrics import Deletion, ModelRandomizationMetric
Deletion("m.onnx", [1.0], None, 64, 0.5, 4, operator="regression", wrt="x", seed=3)
Deletion("m.onnx", [1.0], step=3)
ModelRandomizationMetric("m.onnx", [1.0], None, None, similarity=3)
"""


@pytest.mark.slow
def test_type_checkers_see_the_parameters(tmp_path):
    path = tmp_path / "checked.py"
    path.write_text(CHECKED)
    found = subprocess.run([sys.executable, "-m", "mypy", path], capture_output=True, text=True).stdout
    assert re.findall(r"checked.py:(\d+): error: (.*?)  \[", found) == [
        ("4", 'Unexpected keyword argument "n_steps" for "IntegratedGradients"; did you mean "steps"?'),
        ("5", 'Argument "seed" to "Saliency" has incompatible type "str"; expected "int"'),
        ("6", 'Unexpected keyword argument "reducer" for "GradCAM"'),
        ("7", 'Missing positional argument "model" in call to "Saliency"'),
        ("10", 'Unexpected keyword argument "step" for "Deletion"; did you mean "steps"?'),
        (
            "11",
            'Argument "similarity" to "ModelRandomizationMetric" has incompatible type "int"; expected "str"',
        ),
    ]
