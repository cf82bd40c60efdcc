"""Keras layers with random weights beside their conversion."""

import collections

import numpy as np
import pytest
from onnx import ModelProto

keras = pytest.importorskip("keras")
L = keras.layers
from support.converted import run  # noqa: E402

FEATURES = 3
TOLERANCE = (
    2e-6  # float32 rounding of a dozen steps; outputs are below 1 in magnitude for bounded activations
)


def randomised(model):
    generator = np.random.default_rng(5)
    for weight in model.weights:
        weight.assign(generator.normal(0, 0.5, weight.shape))
    return model


def sequences(batch, time, seed=0):
    return np.random.default_rng(seed).normal(size=(batch, time, FEATURES)).astype("float32")


def operators(model: ModelProto) -> collections.Counter:
    return collections.Counter(node.op_type for node in model.graph.node)


def assert_same(model, converted, *arrays, tolerance=TOLERANCE):
    expected = model(arrays[0] if len(arrays) == 1 else list(arrays), training=False)
    expected = [np.asarray(y) for y in (expected if isinstance(expected, (list, tuple)) else [expected])]
    actual = run(converted, *arrays)
    assert len(actual) == len(expected)
    for got, want in zip(actual, expected, strict=True):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, atol=tolerance, rtol=tolerance)


# Kept steps of six sequences of six steps: all, right and left padding, holes, one step, none at all.
MASK = np.array(
    [
        [1, 1, 1, 1, 1, 1],
        [1, 1, 1, 0, 0, 0],
        [0, 0, 1, 1, 1, 1],
        [0, 1, 0, 1, 1, 0],
        [0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 0],
    ],
    bool,
)
