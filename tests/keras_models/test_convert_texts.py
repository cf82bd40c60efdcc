"""Texts read from scores by Keras' `ctc_decode`, beside Keras."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")

from onnxattr.converters.keras import to_onnx  # noqa: E402
from support.converted import run  # noqa: E402

L, ops = keras.layers, keras.ops
pytestmark = [
    pytest.mark.usefixtures("fresh_keras"),
    pytest.mark.filterwarnings("ignore:The model stops gradients"),
]


def rows_of_scores():
    """Three rows of six steps and four characters: of any, of equal scores, and of the first one alone."""
    rows = np.random.default_rng(0).normal(size=(3, 6, 4)).astype(np.float32)
    rows[0, 2], rows[0, 3], rows[1, ::2], rows[2] = rows[0, 1], [1, 2, 2, 0], 0.5, [3, 1, 0, 1]
    return rows


DECODED = {
    "the first is blank": {},
    "the second is blank": {"mask_index": 1},
    "the last is blank": {"mask_index": 3},
    "blank from the end": {"mask_index": -2},
    "repeated": {"merge_repeated": False},
}


@pytest.mark.parametrize("name", DECODED)
def test_ctc_decode(name):
    def decoded(given):
        texts, scores = ops.ctc_decode(*given, **DECODED[name])
        return ops.cast(texts[0], "float32"), scores

    x, lengths = keras.Input((6, 4)), keras.Input((), dtype="int32")
    model = keras.Model([x, lengths], list(L.Lambda(decoded)([x, lengths])))
    rows, sizes = rows_of_scores(), np.array([6, 4, 5], np.int32)
    converted = to_onnx(model, sample=[rows, sizes])
    behind = np.where(np.arange(6)[:, None] < sizes[:, None, None], rows, np.inf)
    for given in (rows, behind):
        texts, scores = run(converted, given, sizes)
        expected = model([rows, sizes])
        np.testing.assert_array_equal(texts, expected[0])
        np.testing.assert_allclose(scores, expected[1], rtol=1e-6)


def test_no_text_at_all():
    """Of blank characters alone TensorFlow has texts of no characters."""
    read = tf.nn.ctc_greedy_decoder

    def lengths_of(x):
        texts, score = read(tf.transpose(x, [1, 0, 2]), tf.fill([tf.shape(x)[0]], 6), blank_index=0)
        return tf.cast(texts[0].dense_shape[1:], tf.float32) + score

    x = keras.Input((6, 4))
    model = keras.Model(x, L.Lambda(lengths_of)(x))
    rows = np.repeat(rows_of_scores()[2:], 3, axis=0)
    np.testing.assert_allclose(run(to_onnx(model), rows)[0], model(rows), rtol=1e-6)
    np.testing.assert_allclose(model(rows), [[-18]] * 3)
