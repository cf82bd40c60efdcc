"""The networks that no package has, for Keras; random weights."""

from __future__ import annotations

import keras
import numpy as np

L = keras.layers


def lite0() -> keras.Model:
    """EfficientNet-Lite0: inverted bottlenecks with ReLU6 (Tan and Le, 2019, arXiv 1905.11946)."""

    def block(x, channels, size, stride, activation=True, depthwise=False):
        options = {"strides": stride, "padding": "same", "use_bias": False}
        convolution = L.DepthwiseConv2D(size, **options) if depthwise else L.Conv2D(channels, size, **options)
        x = L.BatchNormalization(epsilon=1e-3)(convolution(x))
        return L.ReLU(6.0)(x) if activation else x

    image = keras.Input((224, 224, 3))
    x, channels = block(image, 32, 3, 2), 32
    stages = [(1, 3, 1, 1, 16), (6, 3, 2, 2, 24), (6, 5, 2, 2, 40), (6, 3, 2, 3, 80)]
    stages += [(6, 5, 1, 3, 112), (6, 5, 2, 4, 192), (6, 3, 1, 1, 320)]
    for expansion, size, stride, repeats, width in stages:
        for index in range(repeats):
            y = block(x, channels * expansion, 1, 1) if expansion > 1 else x
            y = block(y, 0, size, stride if index == 0 else 1, depthwise=True)
            y = block(y, width, 1, 1, activation=False)
            x, channels = (L.Add()([x, y]) if index else y), width
    return keras.Model(image, L.Dense(1000)(L.GlobalAveragePooling2D()(block(x, 1280, 1, 1))))


def vit_tiny() -> keras.Model:
    """A vision transformer of the size "tiny" (Dosovitskiy et al., 2020, arXiv 2010.11929), mean of its tokens."""
    image = keras.Input((224, 224, 3))
    x = L.Reshape((196, 192))(L.Conv2D(192, 16, 16)(image))
    x = x + L.Embedding(196, 192)(keras.ops.arange(196)[None])
    for _ in range(12):
        normal = L.LayerNormalization(epsilon=1e-6)(x)
        x = x + L.MultiHeadAttention(3, 64)(normal, normal)
        x = x + L.Dense(192)(L.Dense(768, activation="gelu")(L.LayerNormalization(epsilon=1e-6)(x)))
    return keras.Model(image, L.Dense(1000)(L.GlobalAveragePooling1D()(x)))


def inception_time() -> keras.Model:
    """A network for series: long kernels beside max-pools of stride 1 (Ismail Fawaz et al., 2019, arXiv 1909.04939)."""
    x = series = keras.Input((512, 1))
    for _ in range(4):
        narrow = L.Conv1D(32, 1, use_bias=False)(x)
        parts = [L.Conv1D(32, size, padding="same", use_bias=False)(narrow) for size in (40, 20, 10)]
        parts.append(L.Conv1D(32, 1, use_bias=False)(L.MaxPooling1D(3, 1, padding="same")(x)))
        x = L.ReLU()(L.BatchNormalization()(L.Concatenate()(parts)))
    return keras.Model(series, L.Dense(5)(L.GlobalAveragePooling1D()(x)))


def overlapping_pools() -> keras.Model:
    """Three convolutions, each before a max-pool whose windows overlap."""
    x = image = keras.Input((64, 64, 3))
    for channels in (32, 64, 128):
        x = L.Conv2D(channels, 3, padding="same", activation="relu")(x)
        x = L.MaxPooling2D(3, 2, "same")(x)
    return keras.Model(image, L.Dense(10)(L.Dense(128, activation="relu")(L.Flatten()(x))))


def lstm() -> keras.Model:
    """Two layers of 64 cells over 100 steps."""
    return keras.Sequential(
        [keras.Input((100, 16)), L.LSTM(64, return_sequences=True), L.LSTM(64), L.Dense(10)]
    )


def wide_mlp() -> keras.Model:
    """Three layers over 20,000 inputs, as over bags of words or gene expressions."""
    layers = [L.Dense(512, activation="relu"), L.Dense(256, activation="relu"), L.Dense(2)]
    return keras.Sequential([keras.Input((20_000,)), *layers])


def transformer() -> keras.Model:
    """Four encoder layers of width 128 over 128 places (Vaswani et al., 2017, arXiv 1706.03762)."""
    x = tokens = keras.Input((128, 128))
    for _ in range(4):
        normal = L.LayerNormalization()(x)
        x = x + L.MultiHeadAttention(4, 32)(normal, normal)
        x = x + L.Dense(128)(L.Dense(512, activation="gelu")(L.LayerNormalization()(x)))
    return keras.Model(tokens, L.Dense(5)(L.GlobalAveragePooling1D()(x)))


def application(name: str, side: int = 224) -> keras.Model:
    """A network of keras.applications before its softmax, for images of that side."""
    make = getattr(keras.applications, name)
    return make(weights=None, classifier_activation=None, input_shape=(side, side, 3))


def calibrated(model: keras.Model) -> keras.Model:
    """The model, its batch normalisations knowing random inputs: else values of deep networks shrink to 1e-10."""
    layers = [layer for layer in model.layers if isinstance(layer, L.BatchNormalization)]
    if layers:
        inputs = np.random.default_rng(0).uniform(-1, 1, (4, *model.input_shape[1:])).astype(np.float32)
        momenta = [layer.momentum for layer in layers]
        for layer in layers:
            layer.momentum = 0.0
        model(inputs, training=True)
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    return model
