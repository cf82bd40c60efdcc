"""Keras models that compute in bfloat16, of which ONNX Runtime has few operators: their files compute in float32."""

import contextlib

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnxattr.converters.keras import to_onnx

from onnxattr.attributions import Saliency
from onnxattr.loading.layers import read_layers

keras = pytest.importorskip("keras")
L = keras.layers

MODELS = {
    "convolutions": (
        (8, 8, 3),
        lambda: [L.Conv2D(4, 3, activation="relu", name="first"), L.BatchNormalization(), L.MaxPool2D()],
    ),
    "recurrent": ((5, 3), lambda: [L.LSTM(4, return_sequences=True, name="first"), L.GRU(3)]),
    "normalised": ((8, 8, 3), lambda: [L.DepthwiseConv2D(3, name="first"), L.LayerNormalization()]),
    "grouped": (
        (8, 8, 4),
        lambda: [L.Conv2D(4, 3, groups=2, name="first"), L.UpSampling2D(2), L.Rescaling(2.0)],
    ),
}


@contextlib.contextmanager
def policy_of(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def rounded(array):
    return np.asarray(array).astype(ml_dtypes.bfloat16).astype(np.float32)


def built(name, policy):
    shape, layers = MODELS[name]
    with policy_of(policy):
        keras.utils.set_random_seed(1)
        return keras.Sequential([keras.Input(shape), *layers(), L.Flatten(), L.Dense(3, name="logits")])


@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_those_of_the_float32_model(name):
    model, wide = built(name, "mixed_bfloat16"), built(name, "float32")
    wide.set_weights([rounded(array) for array in model.get_weights()])
    x = np.random.default_rng(0).normal(size=(3, *MODELS[name][0])).astype(np.float32)
    converted = to_onnx(model)
    kinds = {tensor.data_type for tensor in converted.graph.initializer}
    assert onnx.TensorProto.BFLOAT16 not in kinds
    assert "first" in {
        layer.path
        for layer in read_layers({entry.key: entry.value for entry in converted.metadata_props})
        if layer.outputs
    }
    found, expected = (
        Saliency(each, reducer=None).explain(x, [0, 1, 2]) for each in (converted, to_onnx(wide))
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * expected.max())


def test_weights_of_bfloat16():
    """Inputs of bfloat16 are those of the file in float32."""
    with policy_of("bfloat16"):
        model = keras.Sequential(
            [keras.Input((4,), dtype="bfloat16"), L.Dense(5, activation="tanh"), L.Dense(2)]
        )
    x = rounded(np.random.default_rng(0).normal(size=(3, 4)))
    first, second = (
        np.asarray(each, np.float32) for each in (model.get_weights()[0], model.get_weights()[2])
    )
    expected = (1 - np.tanh(x @ first) ** 2)[:, None] * first * second[:, 1] @ np.ones(5)
    found = Saliency(to_onnx(model), reducer=None).explain(x, [1, 1, 1])
    np.testing.assert_allclose(found, np.abs(expected), rtol=0, atol=1e-5 * np.abs(expected).max())
