"""Dense networks."""

import keras

from zoo.cases import stack

L = keras.layers

stack(
    "mlp",
    (20,),
    lambda: [
        L.Dense(64, activation="relu", name="h1"),
        L.Dense(32, activation="tanh", name="h2"),
        L.Dense(5, activation="softmax", name="head"),
    ],
)
stack("mlp logits", (20,), lambda: [L.Dense(64, activation="relu"), L.Dense(5)])
stack("mlp binary", (20,), lambda: [L.Dense(16, activation="relu"), L.Dense(1, activation="sigmoid")])
stack("mlp softmax layer", (20,), lambda: [L.Dense(16), L.ReLU(), L.Dense(4), L.Softmax()])
stack(
    "mlp activation layers",
    (20,),
    lambda: [L.Dense(16), L.Activation("relu"), L.Dense(4), L.Activation("softmax")],
)
stack("dense batch norm", (20,), lambda: [L.Dense(16), L.BatchNormalization(), L.ReLU(), L.Dense(4)])
stack("lambda layer", (8,), lambda: [L.Dense(8), L.Lambda(lambda t: t * 2.0 + 1.0), L.Dense(2)])
