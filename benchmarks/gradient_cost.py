"""What a gradient costs, beside a prediction and beside TensorFlow: medians of interleaved runs, as ratios.

`make benchmark` runs it. Absolute times depend on the machine; the ratios are the result.
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

MODELS: dict[str, tuple[Callable[[], keras.Model], int]] = {
    "gunpoint": (lambda: keras.models.load_model(gunpoint.KERAS_FILE), 64),
    "digits": (lambda: keras.models.load_model(digits.KERAS_FILE), 64),
    "emotion": (lambda: keras.models.load_model(emotion.keras_file(), compile=False), 32),
    "MobileNetV2": (lambda: keras.applications.MobileNetV2(weights=None), 8),
    "ResNet50": (lambda: keras.applications.ResNet50(weights=None), 8),
    "LSTM, 100 steps": (lambda: keras.Sequential([keras.Input((100, 16)), keras.layers.LSTM(64)]), 32),
}


def main() -> None:
    """Prints two rows per model: for a single input, and for many at once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    options = parser.parse_args()
    print(
        f"{'model':18} {'rows':>4}  gradient / prediction   TensorFlow gradient / ours   TensorFlow prediction / ours"
    )
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
            print(f"{name:18} {rows:4}  {ours:21.2f}   {theirs:26.2f}   {predictions:28.2f}", flush=True)


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
            start = time.perf_counter()
            run()
            if repeat >= 2:
                times[key].append(time.perf_counter() - start)
    return {key: statistics.median(values) for key, values in times.items()}


if __name__ == "__main__":
    main()
