"""The defects of Xplique 2.0.2 in docs/differences-from-xplique.md, measured, and what onnxattr does."""

import inspect

import numpy as np
import pytest

pytest.importorskip("xplique", reason="the comparison needs Xplique and TensorFlow")

import keras
import xplique.attributions as xplique
from keras import layers
from onnxattr.converters.keras import to_onnx

import onnxattr.attributions
from onnxattr.attributions import GradientInput, IntegratedGradients, Saliency, SmoothGrad, VarGrad
from onnxattr.compile.noise import draw_noise
from onnxattr.errors import OnnxAttrError, ParameterError, TargetError
from verification.compare import relative_error, tape
from verification.models import build_case, randomize_weights
from verification.tape import METHODS, TapeReference
from verification.xplique_runner import xplique_explain

pytestmark = pytest.mark.filterwarnings("ignore:The model ends in probabilities:UserWarning")


@pytest.fixture
def steep_quadratic():
    """f = sum(1000 x + 0.005 x^2): the gradient is 1000 + 0.01 x, its variance under noise 0.2 is 4e-6."""
    inputs = keras.Input((4,))
    linear, quadratic = layers.Dense(1, name="linear"), layers.Dense(1, name="quadratic")
    score = layers.Add()([linear(inputs), quadratic(layers.Multiply()([inputs, inputs]))])
    model = keras.Model(inputs, score)
    linear.set_weights([np.full((4, 1), 1000.0), np.zeros(1)])
    quadratic.set_weights([np.full((4, 1), 0.005), np.zeros(1)])
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(3, 4)).astype(np.float32)
    draws = rng.standard_normal((50, 3, 4), dtype=np.float32)
    return model, samples, np.ones((3, 1), np.float32), draws


class TestOutputLayer:
    """`output_layer` has no effect in Xplique."""

    @pytest.mark.parametrize("method", ["Saliency", "GradientInput", "IntegratedGradients", "GuidedBackprop"])
    def test_xplique_ignores_it(self, method):
        case = build_case("cnn")
        whole = xplique_explain(case.model, method, case.inputs, case.targets)
        asked = xplique_explain(case.model, method, case.inputs, case.targets, output_layer=-2)
        np.testing.assert_array_equal(asked, whole)
        cut = xplique_explain(case.cut_model, method, case.inputs, case.targets)
        assert relative_error(asked, cut) > 0.5

    def test_onnxattr_cuts(self):

        case = build_case("cnn")
        maps = Saliency(to_onnx(case.model), output_layer=-2).explain(case.inputs, case.targets)
        assert (
            relative_error(maps, xplique_explain(case.cut_model, "Saliency", case.inputs, case.targets))
            <= 1e-5
        )


class TestVarGradCancellation:
    """mean(g^2) - mean(g)^2 in float32 loses a variance of 4e-6 beside a mean of 1000."""

    def test_xplique_loses_the_variance(self, steep_quadratic):
        model, samples, targets, draws = steep_quadratic
        exact = TapeReference(model, dtype="float64").explain("VarGrad", samples, targets, draws=draws)
        np.testing.assert_allclose(exact, 1e-4 * np.var(0.2 * draws, axis=0, ddof=1), rtol=1e-3)
        maps = xplique_explain(model, "VarGrad", samples, targets, draws=draws)
        assert np.abs(maps - exact).max() > 1e3 * exact.max()
        assert maps.min() < 0

    def test_onnxattr_keeps_it(self, steep_quadratic):
        """A gradient of 1000 has roundings of 3e-5 beside a deviation of 2e-3: 1 % of the variance, in any method.

        The variance of the gradients as rounded is exact to float32.
        """

        model, samples, targets, _ = steep_quadratic
        draws = draw_noise(0, samples.shape, 50)
        maps = VarGrad(to_onnx(model), seed=0).explain(samples, targets)
        rounded = TapeReference(model, dtype="float32").explain("VarGrad", samples, targets, draws=draws)
        assert relative_error(maps, rounded) <= 1e-5
        exact = TapeReference(model, dtype="float64").explain("VarGrad", samples, targets, draws=draws)
        np.testing.assert_allclose(maps, exact, rtol=0.02)


class TestTargets:
    """Targets of shape (N, 1) are broadcast by Xplique: it explains the sum of all outputs."""

    def test_xplique_broadcasts(self):
        case = build_case("dense_tabular")
        column = np.ones((len(case.inputs), 1), np.float32)
        all_classes = np.ones_like(case.targets)
        broadcast = xplique_explain(case.cut_model, "Saliency", case.inputs, column)
        np.testing.assert_array_equal(
            broadcast, xplique_explain(case.cut_model, "Saliency", case.inputs, all_classes)
        )

    def test_onnxattr_refuses(self):

        case = build_case("dense_tabular")
        with pytest.raises(TargetError):
            Saliency(to_onnx(case.model)).explain(case.inputs, np.ones((len(case.inputs), 1), np.float32))

    def test_onnxattr_takes_labels_and_the_predicted_class(self):

        case = build_case("conv1d_series")
        explainer = Saliency(to_onnx(case.model))
        labels = case.targets.argmax(axis=1)
        expected = explainer.explain(case.inputs, case.targets)
        np.testing.assert_array_equal(explainer.explain(case.inputs, labels), expected)
        predicted = tape(case.name, None, "float32", "all").predict(case.inputs).argmax(axis=1)
        expected = explainer.explain(case.inputs, predicted)
        np.testing.assert_array_equal(explainer.explain(case.inputs), expected)


class TestSteps:
    """One step gives NaN in Xplique."""

    def test_xplique_returns_nan(self):
        case = build_case("dense_tabular")
        maps = xplique_explain(case.model, "IntegratedGradients", case.inputs, case.targets, steps=1)
        assert np.isnan(maps).all()

    def test_onnxattr_refuses(self):

        with pytest.raises(ParameterError):
            IntegratedGradients(to_onnx(build_case("dense_tabular").model), steps=1)


class TestTwoOutputs:
    """Xplique stacks the outputs of a model and explains their sum."""

    @staticmethod
    def model():
        inputs = keras.Input((6,), name="features")
        outputs = [layers.Dense(3, name="first")(inputs), layers.Dense(3, name="second")(inputs)]
        model = keras.Model(inputs, outputs)
        randomize_weights(model, np.random.default_rng(5))
        return (
            model,
            np.random.default_rng(6).normal(size=(3, 6)).astype(np.float32),
            np.eye(3, dtype="float32"),
        )

    def test_xplique_explains_the_sum(self):
        model, inputs, targets = self.model()
        both = xplique_explain(model, "GradientInput", inputs, targets)
        each = [
            TapeReference(model, name).explain("GradientInput", inputs, targets)
            for name in ("first", "second")
        ]
        np.testing.assert_allclose(both, sum(each), rtol=1e-5, atol=1e-6)

    def test_onnxattr_asks_which(self):

        model, inputs, targets = self.model()
        with pytest.raises(OnnxAttrError, match="second"):
            GradientInput(to_onnx(model)).explain(inputs, targets)


class TestNoise:
    """Xplique's noise has no seed and depends on the batch size."""

    def test_xplique_does_not_repeat_itself(self):
        case = build_case("dense_tabular")
        explainer = xplique.SmoothGrad(case.model, nb_samples=10)
        first, second = (explainer.explain(case.inputs, case.targets).numpy() for _ in range(2))
        assert relative_error(first, second) > 0.01

    def test_onnxattr_does_at_any_batch_size(self):

        case = build_case("dense_tabular")
        model = to_onnx(case.model)
        maps = [
            SmoothGrad(model, nb_samples=10, seed=3, batch_size=size).explain(case.inputs, case.targets)
            for size in (None, 1, 7)
        ]
        assert max(relative_error(each, maps[0]) for each in maps) <= 1e-6
        other = SmoothGrad(model, nb_samples=10, seed=4).explain(case.inputs, case.targets)
        assert relative_error(other, maps[0]) > 0.01


def test_default_reducers():
    """Xplique averages GradientInput and DeconvNet over the channels; onnxattr keeps the inputs' shape."""

    defaults = {
        method: tuple(
            inspect.signature(getattr(package, method)).parameters["reducer"].default
            for package in (xplique, onnxattr.attributions)
        )
        for method in METHODS
    }
    assert defaults == {
        "Saliency": ("max", "max"),
        "GradientInput": ("mean", None),
        "IntegratedGradients": ("mean", "mean"),
        "SmoothGrad": ("mean", "mean"),
        "SquareGrad": ("mean", "mean"),
        "VarGrad": ("mean", "mean"),
        "DeconvNet": ("mean", None),
        "GuidedBackprop": ("mean", "mean"),
    }


def test_mean_reducer_divides_completeness_by_the_channels():
    """Integrated Gradients of three channels sum to (f(x) - f(0)) / 3 after the default reducer, in both."""
    case = build_case("cnn")
    raw, mean = (
        xplique_explain(case.model, "IntegratedGradients", case.inputs, case.targets, reducer=reducer)
        for reducer in (None, "mean")
    )
    np.testing.assert_allclose(mean.sum(axis=(1, 2, 3)), raw.sum(axis=(1, 2, 3)) / 3, rtol=1e-3)
