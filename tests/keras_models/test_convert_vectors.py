"""Cross products and places in sorted rows, as Keras and TensorFlow compute them, and gradients beside a tape's."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")

from onnxattr.converters.keras import to_onnx  # noqa: E402
from support.converted import run  # noqa: E402
from support.taped import check_maps  # noqa: E402

L, ops = keras.layers, keras.ops
pytestmark = pytest.mark.usefixtures("fresh_keras")
BOUNDS = np.array([-1, 0, 0, 1.5], np.float32)


def places(z, bounds=BOUNDS, side="left", dtype=tf.float32):
    """How many bounds lie before each number, times the number."""
    row = tf.cast(tf.clip_by_value(tf.reshape(z, [-1]), -100, 100), dtype)
    found = tf.searchsorted(tf.cast(bounds, dtype), row, side=side)
    return z * tf.cast(tf.reshape(found, tf.shape(z)), tf.float32)


def beside_sparse(z, matrix, **turned):
    """A sparse matrix times what has the second axis of z as rows, or as columns."""
    columns = tf.reshape(tf.transpose(z, [1, 0, 2]), [5, -1])
    given = tf.transpose(columns) if turned.get("adjoint_b") else columns
    found = tf.sparse.sparse_dense_matmul(tf.sparse.from_dense(matrix), given, **turned)
    return tf.transpose(tf.reshape(found, [4, -1, 3]), [1, 0, 2])


def segments(z, kind, ids=(2, -1, 0, 2, -3), computed=False):
    """What tf.math.unsorted_segment_... makes of the second axis; segments without rows are 0."""
    places = tf.constant(ids, tf.int32)
    if computed:
        places = places + tf.cast(tf.math.is_nan(z[0, 0, 0]), tf.int32)
    found = getattr(tf.math, f"unsorted_segment_{kind}")(tf.transpose(z, [1, 0, 2]), places, 4)
    return tf.transpose(tf.where(tf.abs(found) < 1e9, found, 0.0), [1, 0, 2])


SPARSE = np.where(np.arange(20).reshape(4, 5) % 3 == 1, np.arange(20).reshape(4, 5), 0).astype(np.float32)

#: Functions of vectors, (rows, 5, 3).
FUNCTIONS = {
    "cross": lambda z: tf.linalg.cross(z, tf.roll(z, 1, -1) * z),
    "ops.cross": lambda z: ops.cross(z, ops.flip(z, -1) + 1),
    "ops.cross with one vector": lambda z: ops.cross(np.array([1, 2, 3], np.float32), z),
    "ops.cross of pairs": lambda z: ops.cross(z[..., :2], ops.flip(z, -1)[..., :2] + 1),
    "ops.cross of pairs and triples": lambda z: ops.cross(z[..., :2], z),
    "broadcast": lambda z: tf.broadcast_to(z[:, :, :1], tf.broadcast_dynamic_shape(tf.shape(z), [3, 1, 1, 3])),
    "searchsorted": places,
    "searchsorted, right": lambda z: places(z, side="right"),
    "ops.searchsorted": lambda z: ops.cast(
        ops.reshape(ops.searchsorted(BOUNDS, ops.reshape(z, (-1,)), side="right"), ops.shape(z)), "float32"
    ) * z,
    **{
        f"searchsorted of {dtype.name}": lambda z, dtype=dtype: places(z, dtype=dtype, side="right")
        for dtype in (tf.float16, tf.float64, tf.int32, tf.int64, tf.int8)
    },
    "sparse": lambda z: beside_sparse(z, SPARSE),
    "sparse, transposed": lambda z: beside_sparse(z, SPARSE.T, adjoint_a=True),
    "beside sparse, transposed": lambda z: beside_sparse(z, SPARSE, adjoint_b=True),
    **{
        f"segments, {kind}": lambda z, kind=kind: segments(z, kind)
        for kind in ("sum", "mean", "sqrt_n", "prod", "max", "min")
    },
    "segments, computed": lambda z: segments(z, "sum", computed=True),
    "segments, all of them": lambda z: segments(z, "max", (1, 1, 0, 3, 0)),
    "ops.segment_sum": lambda z: ops.transpose(
        ops.segment_sum(ops.transpose(z, (1, 0, 2)), np.array([0, 3, -1, 0, 1]), 4), (1, 0, 2)
    ),
    "matrix of zeros": lambda z: tf.matmul(z[:, 0], SPARSE[:3], b_is_sparse=True),
    "matrices of zeros, transposed": lambda z: tf.matmul(
        tf.transpose(z[:, 0]), SPARSE[:, :3], transpose_a=True, transpose_b=True, a_is_sparse=True, b_is_sparse=True
    ),
    "diag": tf.linalg.diag,
    "diag above": lambda z: tf.linalg.diag(z, k=2),
    "diag below, padded": lambda z: tf.linalg.diag(z, k=-1, padding_value=3),
    "diag of fewer columns": lambda z: tf.linalg.diag(z, num_rows=4, num_cols=3),
    "ops.diag": lambda z: ops.vectorized_map(ops.diag, z[:, 0]),
    "set_diag": lambda z: tf.linalg.set_diag(z, z[:, 2] ** 2),
    "set_diag below": lambda z: tf.linalg.set_diag(z, z[:, 2] ** 2, k=-2),
    "set_diag above": lambda z: tf.linalg.set_diag(z, z[:, 2, :2] ** 2, k=1),
    "a row for each sample": lambda z: z[:, 0] * tf.cast(tf.searchsorted(tf.sort(z[:, 1:, 0]), z[:, 0]), tf.float32),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:The score depends on integers", "ignore:The samples of a batch")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name):
    x = keras.Input((5, 3))
    model = keras.Model(x, L.Lambda(FUNCTIONS[name])(x))
    rows = np.random.default_rng(0).normal(size=(3, 5, 3)).astype(np.float32)
    rows[0, 0], rows[1], rows[2] = [0, -1, 1.5], 0, 0.7
    check_maps(model, rows)


#: Eight y, then eight x: on the axes, between them, and on both sides of 45 degrees.
POINTS = np.array([[0, 0, 2, -4, -2, 1, 1, -1, 1, -2, 0, 0, 2, -1, -4, -0.5]], np.float32)
ANGLES = {
    "atan2": lambda z: tf.atan2(z[:, :8], z[:, 8:]),
    "ops.arctan2 with a number": lambda z: ops.arctan2(z, 2.0) + ops.arctan2(-3.0, z),
    "angle": lambda z: tf.math.angle(tf.complex(z[:, 8:], z[:, :8])),
}


@pytest.mark.parametrize("name", ANGLES)
def test_angles_of_points_on_the_axes(name):
    """The rows are moved by 5, so that no gradient is multiplied by 0."""
    x = keras.Input((16,))
    model = keras.Model(x, L.Lambda(lambda z: ANGLES[name](z - 5))(x))
    check_maps(model, POINTS + 5)
    np.testing.assert_allclose(run(to_onnx(model), POINTS + 5)[0], np.asarray(model(POINTS + 5)), rtol=1e-6)


def test_the_angle_of_signed_zeros():
    x = keras.Input((8,))
    model = keras.Model(x, L.Lambda(lambda z: tf.atan2(z[:, :4], z[:, 4:]))(x))
    row = np.array([[0.0, -0.0, 0.0, -0.0, 0.0, 0.0, -0.0, -3.0]], np.float32)
    np.testing.assert_array_equal(run(to_onnx(model), row)[0], np.asarray(model(row)))


@pytest.mark.parametrize("side", ["left", "right"])
def test_numbers_that_are_not_finite(side):
    x = keras.Input((4,))
    model = keras.Model(x, L.Lambda(lambda z: tf.searchsorted(BOUNDS, z[0], side=side)[None])(x))
    row = np.array([[np.nan, np.inf, -np.inf, 0]], np.float32)
    np.testing.assert_array_equal(run(to_onnx(model), row)[0], np.asarray(model(row)))
