"""A small Keras model with another one inside, and weights for Keras models."""

import keras
import numpy as np

L = keras.layers


def seeded(model):
    """The model with weights that all matter, variances included."""
    rng = np.random.default_rng(3)
    for variable in model.weights:
        low, high = (0.5, 1.5) if "variance" in variable.name or variable.name == "gamma" else (-0.5, 0.5)
        variable.assign(rng.uniform(low, high, variable.shape))
    return model


def with_a_backbone():
    """Images (N, 8, 8, 3) to four probabilities, by way of a nested model."""
    backbone = keras.Sequential(
        [
            keras.Input((8, 8, 4)), L.Conv2D(5, 3, name="inner_conv"), L.ReLU(name="inner_relu"),
            L.MaxPooling2D(2, name="inner_pool"),
        ],
        name="backbone",
    )  # fmt: skip
    image = keras.Input((8, 8, 3), name="image")
    x = L.ZeroPadding2D(1, name="pad")(image)
    x = L.Conv2D(4, 3, name="conv")(x)
    x = L.BatchNormalization(name="bn")(x)
    x = L.ReLU(name="relu")(x)
    x = backbone(x)
    x = L.GlobalAveragePooling2D(name="mean")(x)
    x = L.Dropout(0.5, name="drop")(x)
    x = L.Dense(6, activation="relu", name="hidden")(x)
    x = L.Dense(4, name="logits")(x)
    return seeded(keras.Model(image, L.Softmax(name="probabilities")(x)))


def image_model(*layers, size=12):
    return keras.Sequential([L.Input((size, size, 3)), *layers])
