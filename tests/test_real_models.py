"""Gradients of deployed models and of the onnx wheel's architectures against central differences."""

import light_models
import numpy as np
import onnx_ir as ir
import pytest
from real_models import MODELS

from onnxattr.attributions import Saliency
from onnxattr.loading.load import load
from onnxattr.testing import check_vjp

pytestmark = pytest.mark.slow

#: Steps so small that hardly a ReLU changes its side, as float64 allows; float32 takes larger ones, across kinks.
FINE = {"step": 1e-7, "tolerance": 1e-5}
COARSE = {"tolerance": 2e-2}


def check(model, inputs, runtime, **options):
    """The gradient of the model as it is loaded: upgraded to the opset that gradients are written in."""
    upgraded = ir.serde.serialize_model(load(model))
    settings = FINE if runtime == "reference" else COARSE
    return check_vjp(upgraded, inputs, runtime=runtime, directions=1, **settings, **options)


@pytest.mark.parametrize("name", MODELS)
def test_deployed_model(name):
    real = MODELS[name]
    if not real.installed:
        pytest.skip(f"{real.package} is not installed: make real-models")
    check(real.load(), real.inputs(np.random.default_rng(0)), real.runtime, outputs=real.outputs)


@pytest.mark.parametrize("name", light_models.NAMES)
def test_architecture(name):
    model = light_models.load(name)
    image = np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)
    runtime = "onnxruntime" if name in light_models.GROUPED else "reference"
    check(model, {model.graph.input[0].name: image}, runtime)


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
