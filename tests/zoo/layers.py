"""Normalisation, shapes, merging, pooling, preprocessing, and operations outside layers."""

import keras
from keras import ops

from zoo.cases import case, stack, uniform

L = keras.layers

# Normalisations -------------------------------------------------------------------------------------------------
for _name, _make in {
    "layer": lambda: L.LayerNormalization(),
    "root mean square": lambda: L.RMSNormalization(),
    "group": lambda: L.GroupNormalization(groups=2),
    "unit": lambda: L.UnitNormalization(),
    "batch": lambda: L.BatchNormalization(),
    "spectral": lambda: L.SpectralNormalization(L.Dense(4)),
}.items():
    stack(f"{_name} normalisation", (8, 8, 4), lambda make=_make: [make(), L.ReLU(), L.Flatten(), L.Dense(2)])

# Shapes, merging, pooling, preprocessing ------------------------------------------------------------------------
stack(
    "shape layers",
    (12, 12, 3),
    lambda: [
        L.ZeroPadding2D(2),
        L.Cropping2D(1),
        L.Permute((2, 1, 3)),
        L.Conv2D(4, 3, activation="relu"),
        L.Reshape((-1, 4)),
        L.Flatten(),
        L.RepeatVector(2),
        L.Flatten(),
        L.Dense(2),
    ],
)
stack(
    "shape layers 1d",
    (12, 3),
    lambda: [L.ZeroPadding1D(2), L.Cropping1D(1), L.UpSampling1D(2), L.Flatten(), L.Dense(2)],
)


@case("merge layers")
def _():
    x = keras.Input((8,))
    pair = [L.Dense(6)(x), L.Dense(6, activation="relu")(x)]
    kinds = (L.Add, L.Subtract, L.Multiply, L.Average, L.Maximum, L.Minimum, L.Concatenate)
    merged = [kind()(pair) for kind in kinds] + [L.Dot(axes=1)(pair)]
    return keras.Model(x, L.Dense(2)(L.Concatenate()(merged)))


@case("pooling")
def _():
    x = keras.Input((13, 13, 4))
    windows = [
        L.MaxPooling2D(2),
        L.MaxPooling2D(3, strides=2, padding="same"),
        L.AveragePooling2D(2),
        L.AveragePooling2D(3, strides=2, padding="same"),
        L.GlobalAveragePooling2D(keepdims=True),
    ]
    pooled = [L.Flatten()(layer(x)) for layer in windows]
    pooled += [L.GlobalAveragePooling2D()(x), L.GlobalMaxPooling2D()(x)]
    return keras.Model(x, L.Dense(2)(L.Concatenate()(pooled)))


stack(
    "preprocessing",
    (12, 12, 3),
    lambda: [
        L.Rescaling(1 / 127.5, offset=-1),
        L.Normalization(axis=-1, mean=[1.0, 2.0, 3.0], variance=[4.0, 5.0, 6.0]),
        L.Conv2D(4, 3, activation="relu"),
        L.Flatten(),
        L.Dense(2),
    ],
    uniform(0, 255),
)
stack(
    "resizing and cropping",
    (20, 20, 3),
    lambda: [L.Resizing(16, 16), L.CenterCrop(12, 12), L.Conv2D(4, 3), L.Flatten(), L.Dense(2)],
    uniform(0, 255),
)
stack(
    "noise and dropout",
    (12, 12, 3),
    lambda: [
        L.GaussianNoise(0.1),
        L.Conv2D(4, 3, activation="relu"),
        L.SpatialDropout2D(0.3),
        L.GaussianDropout(0.2),
        L.AlphaDropout(0.1),
        L.ActivityRegularization(0.1),
        L.Flatten(),
        L.Dropout(0.5),
        L.Dense(2),
    ],
)
stack(
    "einsum dense",
    (6, 8),
    lambda: [
        L.EinsumDense("abc,cd->abd", output_shape=(6, 5), bias_axes="d", activation="relu"),
        L.Flatten(),
        L.Dense(2),
    ],
)


@case("keras operations")
def _():
    source = keras.Input((6, 8))
    x = ops.softmax(ops.einsum("bij,bkj->bik", source, source) / 3.0, axis=-1)
    x = ops.matmul(x, source)
    x = ops.mean(x, axis=1) + ops.max(x, axis=1) + ops.logsumexp(x, axis=1)
    x = ops.clip(x, -1.5, 2.0) * ops.sqrt(ops.abs(x) + 1e-3)
    return keras.Model(source, L.Dense(2)(ops.where(x > 0, x, 0.3 * x)))
