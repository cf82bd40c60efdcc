"""Gradients of deployed models and of the onnx wheel's architectures: central differences, and their own frameworks."""

import importlib.util

import light_models
import numpy as np
import onnx_ir as ir
import pytest
import real_models_sources as sources
from real_models import MODELS, STEP

from onnxattr.attributions import Saliency
from onnxattr.loading.load import load
from onnxattr.testing import check_vjp

pytestmark = pytest.mark.slow


def check(model, inputs, outputs=None):
    """The gradient of the model as it is loaded: upgraded to the opset that gradients are written in."""
    upgraded = ir.serde.serialize_model(load(model))
    check_vjp(upgraded, inputs, outputs=outputs, directions=1, step=STEP, tolerance=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_deployed_model(name):
    real = MODELS[name]
    if not real.installed:
        pytest.skip(f"{real.package} is not installed: make real-models")
    check(real.load(), real.inputs(np.random.default_rng(0)), real.outputs)


@pytest.mark.parametrize("name", sources.SOURCES)
def test_deployed_model_in_its_framework(name):
    if missing := sources.SOURCES[name].missing:
        pytest.skip(f"{', '.join(missing)} not installed: make real-models")
    prediction, gradient = sources.compare(name)
    assert prediction < 1e-5
    assert gradient < 1e-5


@pytest.mark.parametrize("name", light_models.NAMES)
def test_architecture(name):
    model = light_models.load(name)
    image = np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)
    check(model, {model.graph.input[0].name: image})


@pytest.mark.parametrize("name", light_models.NAMES)
def test_architecture_in_pytorch(name):
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed: make real-models")
    prediction, gradient = sources.compare_architecture(name)
    assert prediction < 1e-12
    assert gradient < 1e-12


@pytest.mark.parametrize("name", light_models.NAMES)
def test_architecture_with_two_rows(name):
    """The file's batch of 1 is freed, or rows are run one by one; both give each row its own gradient."""
    model = light_models.load(name)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, 3, 224, 224)).astype(np.float32)
    method = Saliency(model, operator="regression")
    weights = rng.normal(size=(2, *method.predict(images[:1]).shape[1:])).astype(np.float32)
    together = method.explain(images, weights)
    for row in range(2):
        alone = method.explain(images[row : row + 1], weights[row : row + 1])
        np.testing.assert_allclose(together[row : row + 1], alone, atol=2e-5 * alone.max())
