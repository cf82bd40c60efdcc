"""Convolutions in one, two and three dimensions, transposed, separable and depthwise."""

import keras

from zoo.cases import case, stack

L = keras.layers

stack(
    "cnn",
    (28, 28, 1),
    lambda: [
        L.Conv2D(8, 3, activation="relu", name="c1"),
        L.MaxPooling2D(),
        L.Conv2D(16, 3, padding="same", strides=2, name="c2"),
        L.ReLU(),
        L.Flatten(),
        L.Dropout(0.5),
        L.Dense(10, activation="softmax"),
    ],
)
stack(
    "conv batch norm relu",
    (16, 16, 3),
    lambda: [
        L.Conv2D(8, 3, use_bias=False, name="conv"),
        L.BatchNormalization(name="bn"),
        L.ReLU(),
        L.GlobalAveragePooling2D(),
        L.Dense(4),
    ],
)
stack(
    "batch norm relu conv",
    (16, 16, 3),
    lambda: [L.BatchNormalization(), L.ReLU(), L.Conv2D(8, 3), L.GlobalAveragePooling2D(), L.Dense(4)],
)
stack(
    "conv relu batch norm",
    (16, 16, 3),
    lambda: [
        L.Conv2D(8, 3, activation="relu"),
        L.BatchNormalization(),
        L.Conv2D(8, 3),
        L.GlobalAveragePooling2D(),
        L.Dense(4),
    ],
)
stack(
    "conv dilated grouped",
    (20, 20, 4),
    lambda: [
        L.Conv2D(8, 3, dilation_rate=2, padding="same", activation="relu"),
        L.Conv2D(8, 3, groups=2, activation="relu"),
        L.GlobalAveragePooling2D(),
        L.Dense(4),
    ],
)
stack(
    "conv dynamic size",
    (None, None, 3),
    lambda: [
        L.Conv2D(8, 3, activation="relu", padding="same"),
        L.MaxPooling2D(),
        L.Conv2D(8, 3, strides=2, padding="same"),
        L.GlobalAveragePooling2D(),
        L.Dense(4),
    ],
    dynamic=(24, 20),
)
stack(
    "conv1d",
    (64, 6),
    lambda: [
        L.Conv1D(8, 5, activation="relu"),
        L.MaxPooling1D(),
        L.Conv1D(16, 3, padding="same", strides=2, activation="relu"),
        L.GlobalAveragePooling1D(),
        L.Dense(3, activation="softmax"),
    ],
)
stack(
    "conv1d causal dilated",
    (64, 6),
    lambda: [
        L.Conv1D(8, 3, padding="causal", dilation_rate=2, activation="relu"),
        L.AveragePooling1D(2),
        L.Flatten(),
        L.Dense(3),
    ],
)
stack(
    "conv1d dynamic length",
    (None, 6),
    lambda: [L.Conv1D(8, 3, padding="same", activation="relu"), L.GlobalMaxPooling1D(), L.Dense(3)],
    dynamic=(40,),
)
stack(
    "conv3d",
    (8, 8, 8, 2),
    lambda: [L.Conv3D(4, 3, activation="relu"), L.MaxPooling3D(), L.Flatten(), L.Dense(3)],
)
stack(
    "conv transpose",
    (8, 8, 3),
    lambda: [
        L.Conv2DTranspose(4, 3, strides=2),
        L.ReLU(),
        L.Conv2DTranspose(2, 2, strides=1, padding="same"),
        L.Flatten(),
        L.Dense(3),
    ],
)
stack(
    "conv1d transpose",
    (8, 3),
    lambda: [L.Conv1DTranspose(4, 3, strides=2, padding="same"), L.ReLU(), L.Flatten(), L.Dense(3)],
)
stack(
    "separable and depthwise",
    (20, 20, 4),
    lambda: [
        L.SeparableConv2D(8, 3, activation="relu"),
        L.DepthwiseConv2D(3, depth_multiplier=2, padding="same"),
        L.ReLU(),
        L.GlobalAveragePooling2D(),
        L.Dense(4),
    ],
)
stack(
    "separable and depthwise 1d",
    (20, 4),
    lambda: [
        L.SeparableConv1D(8, 3, activation="relu"),
        L.DepthwiseConv1D(3),
        L.GlobalAveragePooling1D(),
        L.Dense(4),
    ],
)


@case("unet transposed")
def _():
    image = keras.Input((32, 32, 3))
    wide = L.Conv2D(8, 3, padding="same", activation="relu")(image)
    deep = L.Conv2D(16, 3, padding="same", activation="relu")(L.MaxPooling2D()(wide))
    up = L.Conv2DTranspose(8, 3, strides=2, padding="same")(deep)
    return keras.Model(image, L.Conv2D(2, 1, activation="softmax")(L.Concatenate()([up, wide])))


@case("unet upsampled")
def _():
    image = keras.Input((32, 32, 3))
    wide = L.Conv2D(8, 3, padding="same", activation="relu")(image)
    small = L.MaxPooling2D()(wide)
    nearest, bilinear = L.UpSampling2D(2)(small), L.UpSampling2D(2, interpolation="bilinear")(small)
    return keras.Model(image, L.Conv2D(2, 1)(L.Concatenate()([nearest, bilinear, wide])))
