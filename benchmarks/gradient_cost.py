"""Measures the time of a gradient, relative to a prediction and to TensorFlow: ratios of medians of interleaved runs.

`make benchmark` runs it. Absolute times depend on the machine; the ratios are the result. Ratios above 1 mean that
TensorFlow is slower.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import onnx
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from onnxattr.converters.keras import to_onnx

from models import digits, emotion, gunpoint
from onnxattr import vjp
from onnxattr.session import Session

L = keras.layers


def inception_time() -> keras.Model:
    """A network for series: long kernels beside max-pools of stride 1 (Ismail Fawaz et al., 2019, arXiv 1909.04939)."""
    x = series = keras.Input((512, 1))
    for _ in range(4):
        narrow = L.Conv1D(32, 1, use_bias=False)(x)
        parts = [L.Conv1D(32, size, padding="same", use_bias=False)(narrow) for size in (40, 20, 10)]
        parts.append(L.Conv1D(32, 1, use_bias=False)(L.MaxPooling1D(3, 1, padding="same")(x)))
        x = L.ReLU()(L.BatchNormalization()(L.Concatenate()(parts)))
    return keras.Model(series, L.Dense(5)(L.GlobalAveragePooling1D()(x)))


def transformer() -> keras.Model:
    """Four encoder layers of width 128 over 128 places (Vaswani et al., 2017, arXiv 1706.03762)."""
    x = tokens = keras.Input((128, 128))
    for _ in range(4):
        normal = L.LayerNormalization()(x)
        x = x + L.MultiHeadAttention(4, 32)(normal, normal)
        x = x + L.Dense(128)(L.Dense(512, activation="gelu")(L.LayerNormalization()(x)))
    return keras.Model(tokens, L.Dense(5)(L.GlobalAveragePooling1D()(x)))


MODELS: dict[str, tuple[Callable[[], keras.Model], int]] = {
    "gunpoint": (lambda: keras.models.load_model(gunpoint.KERAS_FILE), 64),
    "digits": (lambda: keras.models.load_model(digits.KERAS_FILE), 64),
    "emotion": (lambda: keras.models.load_model(emotion.keras_file(), compile=False), 32),
    "MobileNetV2": (lambda: keras.applications.MobileNetV2(weights=None), 8),
    "ResNet50": (lambda: keras.applications.ResNet50(weights=None), 8),
    "DenseNet121": (lambda: keras.applications.DenseNet121(weights=None, input_shape=(224, 224, 3)), 4),
    "EfficientNetB0": (lambda: keras.applications.EfficientNetB0(weights=None), 4),
    "InceptionTime": (inception_time, 16),
    "transformer": (transformer, 8),
    "GRU, 100 steps": (lambda: keras.Sequential([keras.Input((100, 16)), L.GRU(64)]), 32),
    "LSTM, 100 steps": (lambda: keras.Sequential([keras.Input((100, 16)), L.LSTM(64)]), 32),
}


def main() -> None:
    """Prints two rows per model: for a single input, and for many at once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    options = parser.parse_args()
    titles = "gradient / prediction   TensorFlow gradient / onnxattr   TensorFlow prediction / onnxattr"
    print(f"{'model':18} {'rows':>4}  {titles}")
    for name in options.models:
        build, many = MODELS[name]
        model = build()
        onnx_model = to_onnx(model)
        for rows in (1, many):
            medians = measure(contenders(model, onnx_model, rows), options.repeats)
            ours, theirs = (
                medians["gradient"] / medians["predict"],
                medians["tf gradient"] / medians["gradient"],
            )
            predictions = medians["tf predict"] / medians["predict"]
            print(f"{name:18} {rows:4}  {ours:21.2f}   {theirs:30.2f}   {predictions:32.2f}", flush=True)


def contenders(model: keras.Model, onnx_model: onnx.ModelProto, rows: int) -> dict[str, Callable[[], object]]:
    """The four computations that are timed, on the same input."""
    name, output = onnx_model.graph.input[0].name, onnx_model.graph.output[0].name
    shape = [dim.dim_value for dim in onnx_model.graph.input[0].type.tensor_type.shape.dim][1:]
    x = np.random.default_rng(0).uniform(-1, 1, size=(rows, *shape)).astype(np.float32)
    predict, gradient = Session(onnx_model), Session(vjp(onnx_model))
    cotangent = np.zeros_like(predict.run({name: x})[0])
    cotangent[:, 0] = 1
    feeds = {name: x, f"{output}_cotangent": cotangent}
    tensor, weights = tf.constant(x), tf.constant(cotangent)

    @tf.function
    def tf_gradient() -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(tensor)
            score = tf.reduce_sum(model(tensor, training=False) * weights)
        return tape.gradient(score, tensor)

    @tf.function
    def tf_predict() -> tf.Tensor:
        return model(tensor, training=False)

    return {
        "predict": lambda: predict.run({name: x}),
        "gradient": lambda: gradient.run(feeds),
        "tf predict": lambda: tf_predict().numpy(),
        "tf gradient": lambda: tf_gradient().numpy(),
    }


def measure(runs: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each, run in turn."""
    times: dict[str, list[float]] = {key: [] for key in runs}
    for repeat in range(repeats + 2):
        for key, run in runs.items():
            time.sleep(0.02)  # the threads of the one before come to rest
            start = time.perf_counter()
            run()
            if repeat >= 2:
                times[key].append(time.perf_counter() - start)
    return {key: statistics.median(values) for key, values in times.items()}


if __name__ == "__main__":
    main()
