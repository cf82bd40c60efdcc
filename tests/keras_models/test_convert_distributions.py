"""Keras models whose outputs or layers are distributions of tensorflow_probability."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("tf_keras")
tfp = pytest.importorskip("tensorflow_probability")

from onnxattr.converters.keras import to_onnx  # noqa: E402
from support.converted import run  # noqa: E402
from support.taped import check_maps  # noqa: E402

from onnxattr.errors import ConversionError  # noqa: E402

L, T, D = keras.layers, tfp.layers, tfp.distributions
ROWS = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)


def normal(given):
    return D.Normal(given[..., :1], tf.nn.softplus(given[..., 1:]))


#: The layers behind a Dense layer, and its width.
HEADS = {
    "mean": (2, [T.DistributionLambda(normal, convert_to_tensor_fn=D.Distribution.mean)]),
    "spread": (4, [T.IndependentNormal(2, convert_to_tensor_fn=D.Distribution.stddev)]),
    "quantile": (2, [T.DistributionLambda(normal, convert_to_tensor_fn=lambda y: y.quantile(0.9))]),
    "mixture": (15, [T.MixtureNormal(3, [2], convert_to_tensor_fn=D.Distribution.mean)]),
    "mixture whose parts are drawn": (
        9,
        [T.MixtureLogistic(3, [1], convert_to_tensor_fn=D.Distribution.mean)],
    ),
    "inside": (4, [T.IndependentNormal(2, convert_to_tensor_fn=D.Distribution.mean), L.Dense(3, "tanh")]),
}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.filterwarnings("ignore:The object being serialized")
def test_head(head):
    width, layers = HEADS[head]
    model = keras.Sequential([L.Input((5,)), L.Dense(width), *layers])
    np.testing.assert_allclose(
        run(to_onnx(model), ROWS)[0], model.predict(ROWS, verbose=0), rtol=1e-5, atol=1e-6
    )
    check_maps(model, ROWS)


@pytest.mark.filterwarnings("ignore:The object being serialized")
def test_a_drawn_one_is_said():
    model = keras.Sequential([L.Input((5,)), L.Dense(2), T.DistributionLambda(normal, name="drawn")])
    with pytest.raises(ConversionError, match=r"Random numbers are drawn in .'drawn'.*convert_to_tensor_fn"):
        to_onnx(model)
