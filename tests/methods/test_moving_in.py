"""What users of other libraries write: models of frameworks given as they are, names and arguments that differ."""

import inspect
import os
import re
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest
import tensorflow as tf
from onnxattr.converters import keras as keras_converter
from onnxattr.converters import objects
from onnxattr.converters import sklearn as sklearn_converter
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import onnxattr
from onnxattr import attributions, metrics
from onnxattr.attributions import GradientInput, IntegratedGradients, Saliency, elsewhere
from onnxattr.attributions.options import Options
from onnxattr.errors import ConversionError, OnnxAttrError, ParameterError

X, Y = load_breast_cancer(return_X_y=True)
X = X[:, :5].astype(np.float32)


def keras_model(last="relu"):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [layers.Input((5,)), layers.Dense(4, activation=last, name="hidden"), layers.Dense(3)]
    )


@pytest.fixture
def conversions(monkeypatch):
    """Counts the conversions of both converters that are at hand; they go on converting."""
    counted = []
    for module in (keras_converter, sklearn_converter):
        real = module.to_onnx
        monkeypatch.setattr(
            module, "to_onnx", lambda *a, real=real, **k: counted.append(real.__module__) or real(*a, **k)
        )
    objects._kept.clear()
    return counted


def numeric(function, x, step=1e-3):
    """The gradient of a function of (rows, features) in float64."""
    x = x.astype(np.float64)
    slopes = [(function(x + step * e) - function(x - step * e)) / (2 * step) for e in np.eye(x.shape[1])]
    return np.stack(slopes, axis=1)


def test_an_estimator_is_explained_as_it_is():
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
    maps = Saliency(model, output_layer="logisticregression/logits", sample=X[:5], reducer=None).explain(
        X[:7], 1
    )
    np.testing.assert_allclose(maps, np.abs(numeric(model.decision_function, X[:7])), rtol=1e-4)


def test_an_estimator_needs_rows():
    with pytest.raises(ConversionError, match=r"LogisticRegression.*sample=<a few rows"):
        Saliency(LogisticRegression().fit(X, Y))
    with pytest.raises(ConversionError, match=r"sample="):
        onnxattr.vjp(LogisticRegression().fit(X, Y))
    with pytest.raises(ConversionError, match="sample is missing"):
        sklearn_converter.to_onnx(LogisticRegression().fit(X, Y))


def test_metrics_convert_with_their_inputs():
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
    maps = GradientInput(model, sample=X[:5]).explain(X[:7])
    given = metrics.Deletion(model, X[:7], None, steps=5)(maps)
    converted = metrics.Deletion(sklearn_converter.to_onnx(model, X[:5]), X[:7], None, steps=5)(maps)
    assert given == converted


def test_methods_share_a_conversion(conversions):
    model = keras_model()
    first = Saliency(model).explain(X[:3])
    for method in (GradientInput, IntegratedGradients, Saliency):
        method(model)
    assert len(conversions) == 1
    np.testing.assert_array_equal(Saliency(model).explain(X[:3]), first)


def retrained(model):
    model.layers[0].kernel.assign(2 * model.layers[0].kernel)


def other_activation(model):
    model.layers[0].activation = keras.activations.tanh


def own_call(model):
    """What Xplique does to the layers of its copies."""
    layer = model.layers[0]
    layer.call = lambda x, own=layer.call, **others: 2 * own(x)


@pytest.mark.parametrize("change", [retrained, other_activation, own_call])
def test_a_changed_keras_model_is_converted_again(conversions, change):
    model = keras_model()
    Saliency(model)
    change(model)
    found = Saliency(model, reducer=None).explain(X[:3], 0)
    assert len(conversions) == 2
    x = tf.constant(X[:3])
    with tf.GradientTape() as tape:
        tape.watch(x)
        score = model(x)[:, 0]
    np.testing.assert_allclose(found, np.abs(tape.gradient(score, x)), rtol=1e-5, atol=1e-7)


def test_own_layers_are_converted_each_time(conversions):
    class Doubled(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    model = keras.Sequential([keras.layers.Input((5,)), Doubled(), keras.layers.Dense(3)])
    Saliency(model)
    Saliency(model)
    assert len(conversions) == 2


def test_a_refitted_estimator_is_converted_again(conversions):
    model = MLPClassifier((4,), max_iter=5, random_state=0).fit(X, Y)
    Saliency(model, sample=X[:5])
    Saliency(model, sample=X[:5])
    assert len(conversions) == 1
    model.coefs_[0] *= 2
    Saliency(model, sample=X[:5])
    assert len(conversions) == 2


def test_conversions_end_with_their_models(conversions):
    model = keras_model()
    Saliency(model)
    assert len(objects._kept) == 1
    for _ in range(6):
        other = MLPClassifier((4,), max_iter=2, random_state=0).fit(X, Y)
        Saliency(other, sample=X[:5])
    assert len(objects._kept) <= 4


@pytest.mark.parametrize(
    ("module", "name", "says"),
    [
        (attributions, "Lime", "needs no gradients"),
        (attributions, "KernelShap", "Xplique, Captum or shap"),
        (onnxattr, "Occlusion", "out of scope"),
        (onnxattr, "InputXGradient", "GradientInput"),
        (onnxattr, "LayerGradCam", "GradCAM"),
        (onnxattr, "TorchWrapper", "sample=<a batch>"),
        (attributions, "DeepLift", "IntegratedGradients"),
    ],
)
def test_names_of_other_libraries_are_explained(module, name, says):
    with pytest.raises(ImportError, match=says):
        exec(f"from {module.__name__} import {name}")


def test_unknown_names_stay_unknown():
    assert not hasattr(onnxattr, "Nothing")
    with pytest.raises(ImportError, match="cannot import name"):
        exec("from onnxattr import Nothing")


MODEL = keras_model()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: IntegratedGradients(MODEL, n_steps=50), "for n_steps take steps="),
        (lambda: IntegratedGradients(MODEL, baselines=0), "for baselines take baseline_value="),
        (lambda: IntegratedGradients(MODEL, step=50), "for step take steps="),
        (lambda: Saliency(MODEL, internal_batch_size=5), "for internal_batch_size take batch_size="),
        (lambda: Saliency(MODEL, layer="hidden"), "for layer take wrt="),
        (lambda: Saliency(MODEL).explain(X, target=1), "for target take targets="),
        (lambda: Saliency(MODEL).explain(X, label=1), r"no \['label'\]"),
        (lambda: IntegratedGradients(MODEL).explain(X, return_convergence_delta=True), "convergence_delta"),
        (lambda: Saliency(MODEL).explain(X, baselines=0), "of the methods that have a baseline"),
    ],
)
def test_arguments_that_are_nearly_right(call, says):
    with pytest.raises(ParameterError, match=says):
        call()


def test_calls_that_are_nearly_right():
    with pytest.raises(AttributeError, match=r"explain\(inputs, targets\)"):
        Saliency(MODEL).attribute(X)
    assert not hasattr(Saliency(MODEL), "nothing")


def test_a_failure_of_converting_is_one_error():
    class Odd(keras.layers.Layer):
        def call(self, x):
            raise RuntimeError("no")

    with pytest.raises(OnnxAttrError):
        Saliency(keras.Sequential([Odd()]))


def rows_of(heading):
    """The rows of the first table below a heading of the document, as lists of cells."""
    text = (Path(__file__).parents[2] / "docs/moving-in.md").read_text().split(f"## {heading}")[1]
    lines = [line for line in text.split("\n## ")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def names_in(cell):
    return re.findall(r"`([A-Za-z]\w*)", cell)


def test_the_document_names_what_is_there():
    for *_, here in rows_of("Methods"):
        if not here.startswith("absent"):
            names = [name for name in names_in(here) if name[0].isupper()]
            assert all(hasattr(onnxattr, name) for name in names), names
    for _, here in rows_of("Metrics and pictures"):
        for module, name in re.findall(r"`(metrics|plots)\.(\w+)", here):
            assert hasattr(getattr(onnxattr, module), name), name


def test_what_the_document_calls_absent_says_so():
    names = {
        name
        for *there, here in rows_of("Methods")
        if here.startswith("absent")
        for name in names_in(" ".join(there))
    }
    assert {"Lime", "KernelShap", "DeepLift", "TreeExplainer", "FEM"} <= names
    for name in names:
        with pytest.raises(ImportError, match="See docs/moving-in"):
            exec(f"from onnxattr.attributions import {name}")


def test_parameters_that_hints_name_are_there():
    methods = [getattr(attributions, name) for name in attributions.__all__]
    known = {name for method in methods for name in inspect.signature(method).parameters}
    known |= set(Options.__dataclass_fields__)
    assert {name for name in elsewhere.PARAMETERS.values() if name.isidentifier()} <= known


@pytest.mark.parametrize("name", [name for name in elsewhere.RENAMED.values() if name.isidentifier()])
def test_renamed_names_are_there(name):
    assert hasattr(onnxattr, name)


class Config:
    """What Hugging Face's models have."""

    def __init__(self, names):
        self.id2label = names


NAMED = {
    "a list": ("class_names", ["ok", "warn", "stop"]),
    "a dict by index": ("names", {1: "warn", 0: "ok", 2: "stop"}),
    "a configuration": ("config", Config({"0": "ok", "2": "stop", "1": "warn"})),
}


@pytest.mark.parametrize("form", NAMED)
def test_names_of_classes_that_a_model_knows(form, conversions):
    """They are targets, and named in results; names that were set later are seen."""
    model = keras_model()
    with pytest.raises(OnnxAttrError, match="no names of classes"):
        Saliency(model).explain(X[:3], "warn")
    setattr(model, *NAMED[form])
    method = Saliency(model)
    assert len(conversions) == 2
    np.testing.assert_array_equal(method.explain(X[:3], "warn"), method.explain(X[:3], 1))
    assert method(X[:3], [0, 2, 1]).target_names == ("ok", "stop", "warn")


@pytest.mark.parametrize(
    "names",
    [["ok", "warn"], {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}, [1, 2, 3], {0: "ok", 5: "x", 6: "y"}],
)
def test_names_that_do_not_fit_are_left_out(names):
    model = keras_model()
    model.config = Config(names)
    assert Saliency(model)(X[:2], [0, 2]).target_names == ("class 0", "class 2")
