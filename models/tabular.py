"""A tabular classifier: benign or malignant from 30 measurements of cell nuclei.

The data is scikit-learn's breast_cancer. `python models/tabular.py` writes models/tabular.keras and
models/tabular.onnx. The model takes the measurements as they are: standardising them is its first layer.
"""

from pathlib import Path

import numpy as np

LABELS = ["malignant", "benign"]
KERAS_FILE = Path(__file__).with_suffix(".keras")
ONNX_FILE = Path(__file__).with_suffix(".onnx")
HELD_OUT = 150


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Load the measurements, shuffled the same way each time.

    Returns:
        Training measurements (419, 30) float32, their labels (419,) int64, the same for 150 held-out rows.
    """
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    x, y = x[order].astype(np.float32), y[order].astype(np.int64)
    return x[:-HELD_OUT], y[:-HELD_OUT], x[-HELD_OUT:], y[-HELD_OUT:]


def feature_names() -> list[str]:
    """Return the names of the 30 measurements."""
    from sklearn.datasets import load_breast_cancer

    return [str(name) for name in load_breast_cancer().feature_names]


def train():
    """Train the network; returns the Keras model."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    x, y, x_held_out, y_held_out = data()
    standardise = layers.Normalization(name="standardise")
    standardise.adapt(x)
    model = keras.Sequential(name="tabular")
    model.add(keras.Input((30,), name="measurements"))
    model.add(standardise)
    model.add(layers.Dense(32, activation="relu", name="dense1"))
    model.add(layers.Dense(16, activation="relu", name="dense2"))
    model.add(layers.Dense(2, name="logits"))
    model.add(layers.Softmax(name="probabilities"))
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, batch_size=32, epochs=25, verbose=0)
    print("loss and accuracy on the held-out rows:", model.evaluate(x_held_out, y_held_out, verbose=0))
    return model


if __name__ == "__main__":
    from onnxattr.converters.keras import to_onnx

    model = train()
    model.compiled, model.optimizer = False, None  # its state would triple the file
    model.save(KERAS_FILE)
    to_onnx(model, ONNX_FILE)
