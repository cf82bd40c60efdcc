"""Maps of converted Keras models beside those of TensorFlow's tape."""

import numpy as np
import tensorflow as tf
from onnxattr.converters.keras import to_onnx

from onnxattr.attributions import GradientInput


def taped(function, rows):
    """Outputs, random weights on them, and inputs times gradients of their weighted sum, in the dtype of the rows."""
    with tf.GradientTape() as tape:
        given = tf.constant(rows)
        tape.watch(given)
        outputs = function(given)
        weights = np.random.default_rng(1).normal(size=outputs.shape).astype(rows.dtype)
        score = tf.reduce_sum(outputs * weights)
    return outputs, weights, rows * tape.gradient(score, given).numpy()


def check_maps(model, rows):
    """Inputs times gradients of a weighted sum of a model's outputs are TensorFlow's, to 1e-6 of the largest."""
    _, weights, expected = taped(model, rows)
    maps = GradientInput(to_onnx(model), reducer=None)(rows, weights)
    np.testing.assert_allclose(maps, expected, atol=1e-6 * np.abs(expected).max())
