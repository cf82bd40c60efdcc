"""Which ReLUs DeconvNet and GuidedBackprop override: in Xplique 2.0.2, and under both policies of onnxattr."""

import numpy as np
import pytest

pytest.importorskip("xplique", reason="the comparison needs Xplique and TensorFlow")

import keras
import xplique.attributions as xplique
from keras import layers
from onnxattr.converters.keras import to_onnx

import onnxattr.attributions
from verification.compare import relative_error
from verification.models import build_case, randomize_weights
from verification.tape import TapeReference
from verification.xplique_runner import xplique_explain


def backbone_classifier():
    """Only the nested backbone of the case "nested" has ReLUs here."""
    backbone = build_case("nested").model.get_layer("backbone")
    inputs = keras.Input((20, 20, 3))
    outputs = layers.Dense(4, name="logits")(layers.GlobalAveragePooling2D()(backbone(inputs)))
    model = keras.Model(inputs, outputs)
    head = model.get_layer("logits")
    head.set_weights([np.random.default_rng(1).normal(size=(12, 4)), np.zeros(4)])
    return model


class TestNestedRelus:
    """The ReLUs of a nested model keep their plain gradient in Xplique."""

    @pytest.mark.parametrize("method", ["DeconvNet", "GuidedBackprop"])
    def test_xplique_misses_them(self, method):
        case, model = build_case("nested"), backbone_classifier()
        gradient = TapeReference(model).gradient(case.inputs, case.targets)
        maps = xplique_explain(model, method, case.inputs, case.targets, reducer=None)
        np.testing.assert_array_equal(maps, gradient)
        overridden = TapeReference(model, relu_policy="all").explain(method, case.inputs, case.targets)
        assert relative_error(maps, overridden) > 0.1

    @pytest.mark.filterwarnings("ignore:.*the model has none:UserWarning")
    @pytest.mark.parametrize("method", ["DeconvNet", "GuidedBackprop"])
    def test_onnxattr_overrides_them_unless_told_otherwise(self, method):

        case, model = build_case("nested"), backbone_classifier()
        converted = to_onnx(model)
        explainer = getattr(onnxattr.attributions, method)
        for policy in ("all", "xplique"):
            expected = TapeReference(model, relu_policy=policy).explain(method, case.inputs, case.targets)
            maps = explainer(converted, reducer=None, relu_policy=policy).explain(case.inputs, case.targets)
            assert relative_error(maps, expected) <= 1e-5, policy


RELU_LAYERS = {
    "relu_layer": lambda: layers.ReLU(),
    "relu_activation": lambda: layers.Activation("relu"),
    "relu_in_dense": lambda: layers.Dense(10, activation="relu"),
    "max_value_6": lambda: layers.ReLU(max_value=6),
    "max_value_5": lambda: layers.ReLU(max_value=5),
    "threshold": lambda: layers.ReLU(threshold=0.5),
    "relu6_activation": lambda: layers.Activation("relu6"),
    "leaky": lambda: layers.LeakyReLU(negative_slope=0.3),
    "elu": lambda: layers.ELU(),
}


@pytest.mark.parametrize("method", ["DeconvNet", "GuidedBackprop"])
@pytest.mark.parametrize("relu", RELU_LAYERS)
class TestFormsOfRelu:
    """Which layers are overridden, and how, by Xplique and under both policies of onnxattr."""

    @staticmethod
    def case(relu):
        inputs = keras.Input((6,))
        x = RELU_LAYERS[relu]()(layers.Dense(10)(inputs))
        model = keras.Model(inputs, layers.Dense(3)(x))
        randomize_weights(model, np.random.default_rng(8))
        samples = np.random.default_rng(9).normal(scale=4, size=(8, 6)).astype(np.float32)
        return model, samples, np.random.default_rng(10).normal(size=(8, 3)).astype(np.float32)

    def test_xplique_agrees_with_the_tape(self, relu, method):
        case = self.case(relu)
        expected = TapeReference(case[0], relu_policy="xplique").explain(method, *case[1:])
        assert relative_error(xplique_explain(case[0], method, *case[1:]), expected) <= 1e-5

    @pytest.mark.filterwarnings("ignore::UserWarning")  # some have nothing to override
    @pytest.mark.parametrize("policy", ["all", "xplique"])
    def test_onnxattr_agrees_with_the_tape(self, relu, method, policy):

        model, *case = self.case(relu)
        expected = TapeReference(model, relu_policy=policy).explain(method, *case)
        explainer = getattr(onnxattr.attributions, method)(to_onnx(model), reducer=None, relu_policy=policy)
        assert relative_error(explainer.explain(*case), expected) <= 1e-5


class TestNegativeSlope:
    """ReLU(negative_slope=a) loses its slope in Xplique's override, so another model is explained."""

    @staticmethod
    def model():
        inputs = keras.Input((6,))
        x = layers.ReLU(negative_slope=0.3)(layers.Dense(8)(inputs))
        model = keras.Model(inputs, layers.Dense(2)(x))
        randomize_weights(model, np.random.default_rng(3))
        return model, np.random.default_rng(4).normal(size=(4, 6)).astype(np.float32)

    def test_xplique_changes_the_prediction(self):
        model, inputs = self.model()
        explainer = xplique.DeconvNet(model)
        changed, kept = np.asarray(explainer.model(inputs)), np.asarray(model(inputs))
        assert np.abs(changed - kept).max() > 0.1

    def test_onnxattr_keeps_prediction_and_gradient(self):
        model, inputs = self.model()
        targets = np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]
        with pytest.warns(UserWarning, match="equals the plain gradient"):
            maps = onnxattr.attributions.DeconvNet(to_onnx(model)).explain(inputs, targets)
        assert relative_error(maps, TapeReference(model).gradient(inputs, targets)) <= 1e-5
