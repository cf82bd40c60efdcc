"""Keras models at singular points: TensorFlow's gradient where it is finite, 0 where it multiplies 0 by infinity."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="the comparison needs TensorFlow")

import keras  # noqa: E402
from keras import ops  # noqa: E402
from onnxattr.converters.keras import to_onnx  # noqa: E402
from support.gradient_graphs import run  # noqa: E402

from onnxattr import IntegratedGradients  # noqa: E402
from onnxattr.compile.gradient import vjp  # noqa: E402

L = keras.layers
#: Two ordinary samples, then zeros, equal elements, and samples with zeros in them.
X = np.concatenate(
    [
        np.random.default_rng(0).normal(size=(2, 6)),
        [[0] * 6, [1] * 6, [0, 0, 0, 1, 2, 3], [1, -1, 0, 0, 2, -2]],
    ]
).astype(np.float32)


def norm(z):
    return ops.norm(z, axis=-1, keepdims=True)


def squares(z):
    return ops.sum(z * z, axis=-1, keepdims=True)


def centred(z):
    return z - ops.mean(z, -1, keepdims=True)


def distance(z):
    return ops.sqrt(ops.sum((z[:, :3] - z[:, 3:]) ** 2, -1, keepdims=True))


#: Heads whose gradient TensorFlow gives for every sample.
FINITE = {
    "UnitNormalization": L.UnitNormalization(),
    "LayerNormalization": L.LayerNormalization(),
    "GroupNormalization": L.GroupNormalization(2),
    "RMSNormalization": L.RMSNormalization(),
    "SpectralNormalization": L.SpectralNormalization(L.Dense(3)),
    "normalize": ops.normalize,
    "normalize of order 1": lambda z: ops.normalize(z, order=1),
    "x / (norm + eps)": lambda z: z / (norm(z) + 1e-6),
    "x / max(norm, eps)": lambda z: z / ops.maximum(norm(z), 1e-6),
    "x / sqrt(squares + eps)": lambda z: z / ops.sqrt(squares(z) + 1e-6),
    "x rsqrt(max(squares, eps))": lambda z: z * ops.rsqrt(ops.maximum(squares(z), 1e-6)),
    "x / (std + eps)": lambda z: centred(z) / (ops.std(z, -1, keepdims=True) + 1e-3),
    "signed sqrt": lambda z: ops.sign(z) * ops.sqrt(ops.abs(z)),
    "cosine": lambda z: ops.sum(ops.normalize(z[:, :3]) * ops.normalize(z[:, 3:]), -1, keepdims=True),
    "cosine with eps": lambda z: (
        ops.sum(z[:, :3] * z[:, 3:], -1, keepdims=True) / (norm(z[:, :3]) * norm(z[:, 3:]) + 1e-6)
    ),
    "log softmax": lambda z: ops.log_softmax(100 * z),
    "entropy": lambda z: (
        -ops.sum(ops.softmax(100 * z) * ops.log(ops.softmax(100 * z) + 1e-7), -1, keepdims=True)
    ),
    "geometric mean": lambda z: ops.exp(ops.mean(ops.log(ops.relu(z) + 1e-7), -1, keepdims=True)),
    "generalised mean": lambda z: ops.power(
        ops.mean(ops.power(ops.maximum(z, 1e-6), 3.0), -1, keepdims=True), 1 / 3
    ),
    "sin(x) / (x + eps)": lambda z: ops.sin(z) / (z + 1e-7),
    "selu of large values": lambda z: ops.selu(100 * z),
}
#: Heads for which TensorFlow gives NaN at some samples: 0 times infinity. 0 is a subgradient there.
NAN = {
    "norm": norm,
    "std": lambda z: ops.std(z, -1, keepdims=True),
    "sqrt(var)": lambda z: ops.sqrt(ops.var(z, -1, keepdims=True)),
    "distance": distance,
    "exp(-distance)": lambda z: ops.exp(-distance(z)),
    "hypot": lambda z: ops.sqrt(z[:, :3] ** 2 + z[:, 3:] ** 2),
    "sqrt(x^2)": lambda z: ops.sqrt(z * z),
    "sqrt(|x|)": lambda z: ops.sqrt(ops.abs(z)),
    "sqrt(relu(x))": lambda z: ops.sqrt(ops.relu(z)),
    "sqrt(relu6(x))": lambda z: ops.sqrt(ops.relu6(z)),
    "sqrt(ReLU(max_value=5))": lambda z: ops.sqrt(L.ReLU(max_value=5.0)(z)),
    "sqrt(hard_sigmoid(x))": lambda z: ops.sqrt(ops.hard_sigmoid(4 * z)),
    "sqrt(max(relu(x)))": lambda z: ops.sqrt(ops.max(ops.relu(z), -1, keepdims=True)),
    "relu(x)^0.5": lambda z: ops.power(ops.relu(z), 0.5),
}


def converted(head, tmp_path):
    """A model of a head and a Dense layer, and its ONNX file."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    model = keras.Model(inputs, L.Dense(2)(head(inputs)))
    to_onnx(model, tmp_path / "model.onnx")
    return model, tmp_path / "model.onnx"


def taped(model, x: np.ndarray, ct: np.ndarray) -> np.ndarray:
    point = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(point)
        y = model(point)
    return tape.gradient(y, point, output_gradients=tf.constant(ct)).numpy()


@pytest.mark.parametrize("name", [*FINITE, *NAN])
def test_gradient_at_singular_points(name, tmp_path):
    """For every sample, and with cotangents of 0 for the singular ones."""
    model, path = converted((FINITE | NAN)[name], tmp_path)
    graph = vjp(path)
    x_name, ct_name = (value.name for value in graph.graph.input)
    ct = np.random.default_rng(1).normal(size=(len(X), 2)).astype(np.float32)
    for used in (len(X), 2):
        ct[used:] = 0
        expected = taped(model, X, ct)
        if used == len(X):
            assert np.isfinite(expected).all() == (name in FINITE)
        found = run(graph, {x_name: X, ct_name: ct})[f"{x_name}_gradient"]
        expected = np.nan_to_num(expected, nan=0.0)
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-5 * np.abs(expected).max() + 1e-6)


@pytest.mark.parametrize(
    "name", ["UnitNormalization", "normalize", "x / (norm + eps)", "x / (std + eps)", "signed sqrt"]
)
def test_path_from_a_baseline_of_zeros(name, tmp_path):
    model, path = converted(FINITE[name], tmp_path)
    x, targets = X[[0, 1, 5]], np.eye(2, dtype=np.float32)[[0, 1, 0]]
    alphas, weights = np.linspace(0, 1, 20), np.r_[0.5, np.ones(18), 0.5] / 19
    points = zip(weights, alphas, strict=True)
    expected = x * sum(w * taped(model, np.float32(a) * x, targets) for w, a in points)
    found = IntegratedGradients(path, steps=20, reducer=None).explain(x, targets)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
