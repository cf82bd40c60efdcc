"""Factors, solutions and determinants of small matrices in Keras models, beside TensorFlow's tape in float64."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")

from onnxattr.converters.keras import to_onnx  # noqa: E402
from support.converted import run  # noqa: E402

from onnxattr import GradientInput  # noqa: E402
from onnxattr.errors import ConversionError  # noqa: E402

L, linalg = keras.layers, tf.linalg
pytestmark = pytest.mark.usefixtures("fresh_keras")


def definite(z):
    return tf.matmul(z, z, transpose_b=True) + tf.eye(z.shape[-1], dtype=z.dtype) * 2


def regular(z):
    return z + 3 * tf.eye(z.shape[-1], dtype=z.dtype)


def triangular(lower, adjoint):
    return lambda z: linalg.triangular_solve(regular(z), z[..., :2], lower=lower, adjoint=adjoint)


def log_normal(z):
    """The logarithm of a normal density of covariance z z^T + 2, up to a constant."""
    factor = linalg.cholesky(definite(z))
    white = linalg.triangular_solve(factor, z[:, 0, :, None])
    return -tf.reduce_sum(white**2, [1, 2]) / 2 - tf.reduce_sum(tf.math.log(linalg.diag_part(factor)), -1)


#: Functions of matrices, and their rows' shape.
FUNCTIONS = {
    "inverse": (linalg.inv, (8, 8)),
    "inverse of one number": (linalg.inv, (1, 1)),
    "inverse of the transposed": (lambda z: linalg.inv(z, adjoint=True), (3, 3)),
    "inverses in a row": (linalg.inv, (2, 3, 3)),
    "inverse with zeros on its diagonal": (lambda z: linalg.inv(linalg.set_diag(z, z[:, 0] * 0)), (3, 3)),
    "cholesky": (lambda z: linalg.cholesky(definite(z)), (8, 8)),
    "cholesky of a matrix beside its transposed": (
        lambda z: linalg.cholesky(z + linalg.matrix_transpose(z) + 9 * tf.eye(3, dtype=z.dtype)), (3, 3)
    ),
    "solve": (lambda z: linalg.solve(z, z[..., :2] ** 2), (5, 5)),
    "solve, transposed": (lambda z: linalg.solve(z, z[..., :2] ** 2, adjoint=True), (5, 5)),
    "cholesky_solve": (lambda z: linalg.cholesky_solve(linalg.cholesky(definite(z)), z[..., :1]), (4, 4)),
    "lstsq": (lambda z: linalg.lstsq(z, z[..., :1] * z[..., 1:2]), (5, 3)),
    "slogdet": (lambda z: linalg.slogdet(z)[1] * (2 + linalg.slogdet(z)[0]), (8, 8)),
    "slogdet of small numbers": (lambda z: linalg.slogdet(z * 2.0**-23)[1], (8, 8)),
    "logdet": (lambda z: linalg.logdet(definite(z)), (5, 5)),
    "density": (log_normal, (4, 4)),
    **{
        f"triangular, lower={lower}, adjoint={adjoint}": (triangular(lower, adjoint), (4, 4))
        for lower in (True, False)
        for adjoint in (True, False)
    },
    "triangular, one right side": (
        lambda z: linalg.triangular_solve(regular(z), tf.eye(3, dtype=z.dtype)), (3, 3)
    ),
}  # fmt: skip


CASES = [
    *((name, 17) for name in FUNCTIONS),
    *((name, opset) for name in ("slogdet", "solve", "cholesky") for opset in (13, 18)),
]


@pytest.mark.parametrize(("name", "opset"), CASES)
def test_function(name, opset):
    function, shape = FUNCTIONS[name]
    x = keras.Input(shape)
    model = keras.Model(x, L.Lambda(function)(x))
    rows = np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32)
    with tf.GradientTape() as tape:
        given = tf.constant(rows, tf.float64)
        tape.watch(given)
        outputs = function(given)
        weights = np.random.default_rng(1).normal(size=outputs.shape)
        score = tf.reduce_sum(outputs * weights)
    expected = rows * tape.gradient(score, given).numpy()
    converted = to_onnx(model, opset=opset)
    np.testing.assert_allclose(
        run(converted, rows)[0], outputs, atol=1e-6 * np.abs(outputs).max(), err_msg="prediction"
    )
    maps = GradientInput(converted, reducer=None)(rows, weights.astype(np.float32))
    np.testing.assert_allclose(maps, expected, atol=1e-6 * np.abs(expected).max())


def test_larger_matrices_are_refused():
    x = keras.Input((17, 17))
    model = keras.Model(x, L.Lambda(linalg.inv)(x))
    with pytest.raises(ConversionError, match="MatrixInverse"):
        to_onnx(model)
