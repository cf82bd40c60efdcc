"""Activation functions and activation layers."""

import keras

from zoo.cases import normal, stack

L = keras.layers

_FUNCTIONS = (
    "relu relu6 leaky_relu elu selu swish silu gelu hard_sigmoid hard_silu softplus softsign mish tanh sigmoid "
    "exponential log_softmax softmax celu hard_tanh log_sigmoid soft_shrink hard_shrink squareplus tanh_shrink "
    "sparse_plus"
)
for _name in _FUNCTIONS.split():
    stack(
        f"activation {_name}",
        (8,),
        lambda name=_name: [L.Dense(8), L.Activation(name), L.Dense(2)],
        normal(2.0),
    )

for _name, _make in {
    "ReLU to 6": lambda: L.ReLU(max_value=6),
    "ReLU with slope": lambda: L.ReLU(negative_slope=0.1),
    "ReLU with all": lambda: L.ReLU(max_value=6, negative_slope=0.1, threshold=0.5),
    "ReLU with threshold": lambda: L.ReLU(threshold=1.0),
    "LeakyReLU": lambda: L.LeakyReLU(0.2),
    "PReLU": lambda: L.PReLU(),
    "ELU": lambda: L.ELU(0.5),
    "Softmax": lambda: L.Softmax(),
    "approximate GELU": lambda: L.Activation(lambda t: keras.activations.gelu(t, approximate=True)),
}.items():
    stack(f"layer {_name}", (8,), lambda make=_make: [L.Dense(8), make(), L.Dense(2)], normal(3.0))
stack(
    "conv PReLU shared",
    (12, 12, 3),
    lambda: [L.Conv2D(4, 3), L.PReLU(shared_axes=[1, 2]), L.Flatten(), L.Dense(2)],
)
