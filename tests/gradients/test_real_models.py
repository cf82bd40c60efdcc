"""Gradients of deployed models and of the onnx wheel's architectures: central differences, and their own frameworks."""

import functools
import importlib.util

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from real_models import ARCHITECTURES, INTEGERS, MODELS, REFUSED, sources
from support import light_models
from support.tiny_graphs import run

from onnxattr import vjp
from onnxattr.attributions import Saliency
from onnxattr.errors import MissingRuleError
from onnxattr.loading.load import load
from onnxattr.testing import check_vjp

pytestmark = pytest.mark.slow
ALL = MODELS | ARCHITECTURES


@pytest.mark.parametrize("name", ALL)
def test_differences(name):
    real = ALL[name]
    if not real.installed:
        pytest.skip(f"{real.package} is not installed: make real-models")
    # As it is loaded: upgraded to the opset that gradients are written in.
    model = ir.serde.serialize_model(load(real.load()))
    inputs = real.inputs(np.random.default_rng(0))
    check_vjp(model, inputs, outputs=real.outputs, directions=1, step=real.step, tolerance=1e-6)


@pytest.mark.parametrize("name", INTEGERS)
def test_model_in_integers(name):
    """Over steps that noise averages, scores change as the gradient straight through the rounding says."""
    real = INTEGERS[name]
    if not real.installed:
        pytest.skip(f"{real.package} is not installed: make real-models")
    (given,), rng = real.inputs(np.random.default_rng(0)).items(), np.random.default_rng(1)
    name, x = given
    model = vjp(real.load(), name)
    output = model.graph.output[0].name
    y = run(model_of(real), **{name: x})[output]
    ct = rng.normal(size=y.shape).astype(np.float32)
    found = run(model, **{name: x, f"{output}_cotangent": ct})
    np.testing.assert_array_equal(found[output], y)
    direction = found[f"{name}_gradient"] / np.linalg.norm(found[f"{name}_gradient"])
    slope, half = float((found[f"{name}_gradient"] * direction).sum()), np.float32(0.3)
    slopes = []
    for _ in range(20):
        near = x + 0.02 * rng.normal(size=x.shape).astype(np.float32)
        ends = [run(model_of(real), **{name: near + sign * half * direction})[output] for sign in (1, -1)]
        slopes.append(float(((ends[0] - ends[1]) * ct).sum(dtype=np.float64)) / (2 * half))
    # Measured: 178.9, give or take 3.6, where the gradient says 179.7.
    assert np.mean(slopes) == pytest.approx(slope, rel=0.06)


@functools.cache
def model_of(real):
    model = real.load()
    return model if isinstance(model, onnx.ModelProto) else onnx.load(model)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_model(name):
    real = REFUSED[name]
    if not real.installed:
        pytest.skip(f"{real.package} is not installed: make real-models")
    with pytest.raises(MissingRuleError, match=real.note):
        vjp(real.load())


@pytest.mark.parametrize("name", sources.SOURCES)
def test_deployed_model_in_its_framework(name):
    if missing := sources.SOURCES[name].missing:
        pytest.skip(f"{', '.join(missing)} not installed: make real-models")
    prediction, gradient = sources.compare(name)
    assert prediction < 1e-5
    assert gradient < 1e-5


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
