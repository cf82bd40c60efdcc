"""Keras models that together use every layer and activation that the converter is expected to handle.

Weights are random, and the statistics of normalisations are moved off 0 and 1 so that a wrong fold cannot hide.
`CASES` maps a name to a `Case`; keras.applications are among them, marked slow.
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

L = keras.layers
Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


@dataclass(frozen=True)
class Case:
    """One model of the zoo.

    Attributes:
        build: Makes the model.
        draw: Makes the array of one input from a generator and a shape.
        dynamic: Sizes for the dynamic axes after the batch.
        tolerance: Allowed difference to Keras, relative to the largest output.
        slow: Whether it takes many seconds or gigabytes.
        signature: Input shapes of a model that does not know them, without the batch.
    """

    build: Callable[[], keras.Model]
    draw: Draw
    dynamic: tuple[int, ...] = ()
    tolerance: float = 1e-5
    slow: bool = False
    signature: tuple[tuple[int, ...], ...] = ()

    def model(self) -> keras.Model:
        """The model with random weights; the same each time."""
        keras.utils.clear_session()
        keras.utils.set_random_seed(0)
        return randomise(self.build())

    def inputs(self, model: keras.Model, batch: int) -> list[np.ndarray]:
        """Random inputs in the order in which Keras flattens them; the same each time."""
        generator = np.random.default_rng(1)
        if self.signature:
            return [self.draw(generator, (batch, *shape)) for shape in self.signature]
        arrays = []
        for tensor in keras.tree.flatten(getattr(model, "_inputs_struct", model.inputs)):
            sizes = iter(self.dynamic)
            shape = (batch, *(next(sizes) if size is None else size for size in tensor.shape[1:]))
            arrays.append(self.draw(generator, shape).astype(tensor.dtype))
        return arrays


def randomise(model: keras.Model) -> keras.Model:
    """Move normalisation statistics, biases and PReLU slopes off their initial values."""
    generator = np.random.default_rng(0)
    draws = {
        "gamma": lambda shape: generator.uniform(0.8, 1.2, shape),
        "beta": lambda shape: generator.normal(0, 0.1, shape),
        "moving_mean": lambda shape: generator.normal(0, 0.1, shape),
        "moving_variance": lambda shape: generator.uniform(0.7, 1.4, shape),
        "bias": lambda shape: generator.normal(0, 0.05, shape),
        "alpha": lambda shape: generator.uniform(0.05, 0.4, shape),
    }
    for weight in model.weights:
        draw = draws.get(weight.path.rsplit("/", 1)[-1])
        if draw is not None:
            weight.assign(draw(tuple(weight.shape)))
    return model


def normal(scale: float = 1.0) -> Draw:
    return lambda generator, shape: generator.normal(0, scale, shape)


def uniform(low: float, high: float) -> Draw:
    return lambda generator, shape: generator.uniform(low, high, shape)


def identifiers(count: int) -> Draw:
    return lambda generator, shape: generator.integers(0, count, shape)


CASES: dict[str, Case] = {}


def add(name: str, build: Callable[[], keras.Model], draw: Draw | None = None, **options) -> None:
    CASES[name] = Case(build, draw or normal(), **options)


def stack(
    name: str, shape: tuple, make: Callable[[], list], draw: Draw | None = None, dtype=None, **options
) -> None:
    """Add a Sequential model of the layers that `make` returns."""
    add(name, lambda: keras.Sequential([L.Input(shape, dtype=dtype), *make()]), draw, **options)


def case(name: str, draw: Draw | None = None, **options):
    """Decorator: add the model that a function builds."""
    return lambda build: add(name, build, draw, **options) or build


# Dense networks -------------------------------------------------------------------------------------------------
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

# Convolutions ---------------------------------------------------------------------------------------------------
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


# Recurrent ------------------------------------------------------------------------------------------------------
for _name, _make in {
    "lstm": lambda: [L.LSTM(8)],
    "lstm stacked": lambda: [L.LSTM(8, return_sequences=True), L.LSTM(6)],
    "lstm unrolled": lambda: [L.LSTM(8, unroll=True)],
    "lstm masked": lambda: [L.Masking(0.0), L.LSTM(8)],
    "gru": lambda: [L.GRU(8)],
    "gru reset before": lambda: [L.GRU(8, reset_after=False)],
    "gru unrolled": lambda: [L.GRU(8, unroll=True)],
    "simple rnn": lambda: [L.SimpleRNN(8)],
    "bidirectional lstm": lambda: [L.Bidirectional(L.LSTM(8))],
    "bidirectional gru": lambda: [
        L.Bidirectional(L.GRU(8, return_sequences=True)),
        L.GlobalAveragePooling1D(),
    ],
    "time distributed": lambda: [L.TimeDistributed(L.Dense(7, activation="relu")), L.Flatten()],
}.items():
    stack(_name, (6, 5), lambda make=_make: [*make(), L.Dense(3)])
stack("lstm dynamic length", (None, 5), lambda: [L.LSTM(8), L.Dense(3)], dynamic=(9,))
stack("conv lstm", (4, 8, 8, 2), lambda: [L.ConvLSTM2D(4, 3), L.GlobalAveragePooling2D(), L.Dense(3)])

# Text and attention ---------------------------------------------------------------------------------------------
stack(
    "text average",
    (20,),
    lambda: [
        L.Embedding(100, 8),
        L.GlobalAveragePooling1D(),
        L.Dense(16, activation="relu"),
        L.Dense(2, activation="softmax"),
    ],
    identifiers(100),
    dtype="int32",
)
stack(
    "text masked average",
    (20,),
    lambda: [L.Embedding(100, 8, mask_zero=True), L.GlobalAveragePooling1D(), L.Dense(2)],
    identifiers(5),
    dtype="int32",
)
stack(
    "text conv",
    (20,),
    lambda: [L.Embedding(100, 8), L.Conv1D(8, 3, activation="relu"), L.GlobalMaxPooling1D(), L.Dense(2)],
    identifiers(100),
    dtype="int32",
)


@case("transformer block")
def _():
    tokens = keras.Input((16, 24))
    attended = L.MultiHeadAttention(4, 6, name="mha")(tokens, tokens)
    x = L.LayerNormalization(epsilon=1e-6, name="ln1")(tokens + attended)
    hidden = L.Dense(24, name="ffn2")(L.Dense(48, activation="gelu", name="ffn1")(x))
    x = L.LayerNormalization(epsilon=1e-6, name="ln2")(x + hidden)
    return keras.Model(tokens, L.Dense(3, activation="softmax")(L.GlobalAveragePooling1D()(x)))


@case("transformer text", identifiers(50))
def _():
    ids = keras.Input((16,), dtype="int32")
    x = L.Embedding(50, 24)(ids)
    places = L.Embedding(16, 24)(ops.arange(16))
    x = L.Add()([x, ops.broadcast_to(places, (1, 16, 24)) + 0.0 * x])
    x = L.Add()([x, L.MultiHeadAttention(2, 12)(x, x, use_causal_mask=True)])
    x = L.Dense(24, activation="relu")(L.LayerNormalization()(x))
    return keras.Model(ids, L.Dense(2)(L.GlobalAveragePooling1D()(x)))


@case("vision transformer")
def _():
    image = keras.Input((32, 32, 3))
    x = L.Reshape((16, 24))(L.Conv2D(24, 8, strides=8)(image))
    x = L.Add()([x, L.MultiHeadAttention(4, 6)(L.LayerNormalization()(x), x)])
    x = L.Dense(24, activation="gelu")(L.LayerNormalization()(x))
    return keras.Model(image, L.Dense(5)(x[:, 0]))


@case("attention layers")
def _():
    x = keras.Input((8, 6))
    both = L.Concatenate()([L.Attention()([x, x]), L.AdditiveAttention()([x, x])])
    return keras.Model(x, L.Dense(3)(L.Flatten()(both)))


# Inputs, outputs, nesting ---------------------------------------------------------------------------------------
@case("two inputs")
def _():
    table, image = keras.Input((8,), name="table"), keras.Input((12, 12, 1), name="image")
    seen = L.Flatten()(L.Conv2D(4, 3, activation="relu")(image))
    joined = L.Concatenate()([L.Dense(8, activation="relu")(table), seen])
    return keras.Model([table, image], L.Dense(3)(joined))


@case("dict inputs")
def _():
    first, second = keras.Input((8,), name="zebra"), keras.Input((4,), name="ant")
    return keras.Model({"zebra": first, "ant": second}, L.Dense(3)(L.Concatenate()([first, second])))


@case("list outputs")
def _():
    x = keras.Input((8,), name="x")
    hidden = L.Dense(8, activation="relu")(x)
    return keras.Model(
        x, [L.Dense(3, activation="softmax", name="kind")(hidden), L.Dense(1, name="size")(hidden)]
    )


@case("dict outputs")
def _():
    x = keras.Input((8,), name="x")
    hidden = L.Dense(8, activation="relu")(x)
    return keras.Model(x, {"kind": L.Dense(3, activation="softmax")(hidden), "area": L.Dense(1)(hidden)})


class Residual(keras.Model):
    """A subclassed model."""

    def __init__(self):
        super().__init__()
        self.first = L.Dense(16, activation="relu", name="first")
        self.blocks = [L.Dense(16, activation="relu", name=f"block{i}") for i in range(2)]
        self.last = L.Dense(3, name="last")

    def call(self, x, training=False):
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        return self.last(x)


@case("subclassed", signature=((8,),))
def _():
    model = Residual()
    model(np.zeros((1, 8), "float32"))
    return model


@case("nested")
def _():
    backbone = keras.Sequential(
        [L.Input((12, 12, 1)), L.Conv2D(4, 3, activation="relu", name="inner_conv"), L.Flatten()],
        name="backbone",
    )
    image = keras.Input((12, 12, 1))
    return keras.Model(image, L.Dense(3, name="head")(backbone(image)), name="outer")


@case("shared layer")
def _():
    x = keras.Input((8,))
    shared = L.Dense(8, activation="relu", name="shared")
    return keras.Model(x, L.Dense(2)(shared(shared(x))))


# Activations ----------------------------------------------------------------------------------------------------
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


# Precisions; float16 rounds at 5e-4 of a value ------------------------------------------------------------------
def _dense_of(dtype: str) -> keras.Model:
    x = keras.Input((8,), dtype=dtype)
    return keras.Model(x, L.Dense(2, dtype=dtype)(L.Dense(8, activation="relu", dtype=dtype)(x)))


add("float16", lambda: _dense_of("float16"), tolerance=2e-3)
add("float64", lambda: _dense_of("float64"), tolerance=1e-12)


@case("mixed precision", tolerance=2e-3)
def _():
    x = keras.Input((8,))
    hidden = L.Dense(8, activation="relu", dtype="mixed_float16")(x)
    return keras.Model(x, L.Dense(2, dtype="float32")(hidden))


# keras.applications with random weights: range of their pixels --------------------------------------------------
_APPLICATIONS = {
    "MobileNetV2": (-1, 1),
    "ResNet50": (-1, 1),
    "VGG16": (-1, 1),
    "EfficientNetB0": (0, 255),
    "DenseNet121": (-1, 1),
    "InceptionV3": (-1, 1),
    "Xception": (-1, 1),
    "NASNetMobile": (-1, 1),
    "ConvNeXtTiny": (0, 255),
    "MobileNetV3Small": (0, 255),
    "EfficientNetV2B0": (0, 255),
}
for _name, _pixels in _APPLICATIONS.items():
    add(
        _name,
        lambda name=_name: getattr(keras.applications, name)(weights=None),
        uniform(*_pixels),
        dynamic=(224, 224),
        slow=True,
    )
